//! Polling and dropping what users gave us, without letting a panic out.
//!
//! Two panics at once (a destructor that panics while another panic unwinds) abort the process by
//! the language's rule; nothing here can change that.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::failure::cut;

/// A panic payload whose destructor panics is dropped again with the new payload, at most this
/// often.
const PAYLOAD_DROPS_MAX: u32 = 8;

/// Polls `future` to its end; a panic becomes its message.
pub(crate) async fn catch<T>(
    mut future: Pin<&mut (dyn Future<Output = T> + Send)>,
) -> Result<T, String> {
    poll_fn(|cx| catch_poll(future.as_mut(), cx)).await
}

/// Polls `future` once; a panic is its end and becomes its message.
pub(super) fn catch_poll<T>(
    future: Pin<&mut (dyn Future<Output = T> + Send)>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, String>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => Poll::Ready(Err(message_of(payload))),
    }
}

/// Calls `make`; a panic becomes its message.
pub(crate) fn catch_call<T>(make: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(make)).map_err(message_of)
}

/// Drops a user's value; a panic of its destructor becomes its message.
pub(crate) fn dispose<T>(value: T) -> Result<(), String> {
    catch_call(move || drop(value))
}

/// The text of a panic, and the end of its payload.
fn message_of(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a payload that is not a text".to_owned());
    let mut payload = payload;
    for _ in 0..PAYLOAD_DROPS_MAX {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return cut(text),
            Err(next) => payload = next,
        }
    }
    // A destructor that panics for ever is leaked rather than obeyed.
    std::mem::forget(payload);
    cut(text)
}
