//! Callbacks that cancel what runs elsewhere: isolated, and limited in time.
//!
//! *Not here*: when one is called, and what follows from it (`actors`, `api/adopt.rs`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use super::unwind::{catch, catch_call, dispose};
use crate::kernel::Stop;

/// A call that cancels something, and says whether it could.
pub(crate) type CancelCall = Box<dyn FnOnce(Option<Arc<Stop>>) -> Cancelling + Send>;
type Cancelling = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Calls it, until it returns, `limit` is over or `forced` comes: why it failed, if it did.
pub(crate) async fn call_back(
    call: CancelCall,
    why: Option<Arc<Stop>>,
    limit: Duration,
    forced: impl Future<Output = ()>,
) -> Option<String> {
    let mut answer = match catch_call(move || call(why)) {
        Ok(answer) => answer,
        Err(panic) => return Some(panic),
    };
    let late = || Err("it took too long".to_owned());
    let answered = tokio::select! {
        biased;
        answered = catch(answer.as_mut()) => answered,
        () = forced => late(),
        () = tokio::time::sleep(limit) => late(),
    };
    // Its destructors are the user's, too.
    let dropped = dispose(answer);
    match answered {
        Ok(Ok(())) => dropped.err(),
        Ok(Err(failure)) => Some(failure.into_fault().message.to_string()),
        Err(why) => Some(why),
    }
}
