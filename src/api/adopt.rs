//! Adopting an operation that runs already: the task ends as that does.
//!
//! # Invariants
//! 1. An attempt adopts at most one operation, before its body returns.
//! 2. Its cancel is called at most once: when the attempt is asked to stop, or when the operation
//!    is dropped before its end, as the body failed or was dropped.
//!
//! *Not here*: polling the operation (`engine/attempt.rs`).

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::SetOnce;

use super::context::{self, Context};
use super::spawn::encode;
use crate::engine::{CancelCall, Failure, call_back};
use crate::kernel::Stop;

/// How long a cancel of an adopted operation may take.
const CANCEL_MAX: Duration = Duration::from_secs(5);

/// Why an operation was not adopted; it was dropped, and its cancel was not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The attempt has adopted one already.
    #[error("this attempt has adopted an operation already")]
    Twice,
    /// The attempt is over.
    #[error("this attempt is over")]
    Over,
}

/// The cancel of an adopted operation, until it is called or no longer needed.
struct Adopted {
    cancel: Mutex<Option<CancelCall>>,
    over: SetOnce<()>,
}

impl Adopted {
    fn take(&self) -> Option<CancelCall> {
        let mut cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        let _is_first = self.over.set(()).is_ok();
        cancel.take()
    }

    async fn call(&self, why: Option<Arc<Stop>>) {
        let Some(cancel) = self.take() else {
            return;
        };
        if let Some(failure) = call_back(cancel, why, CANCEL_MAX, std::future::pending()).await {
            tracing::warn!(failure, "an adopted operation could not be cancelled");
        }
    }
}

/// Lives as long as the operation is polled: what is dropped before its end is cancelled.
struct Watch(Arc<Adopted>);

impl Drop for Watch {
    fn drop(&mut self) {
        let adopted = Arc::clone(&self.0);
        // Without a runtime no operation runs any more.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { adopted.call(None).await });
        }
    }
}

impl Context {
    /// Hands an operation that runs already to this task: when the body has returned `Ok`, the task
    /// goes on until the operation ends, and its value or failure is the task's.
    ///
    /// `cancel` is called at most once, in a tokio task of its own, for 5 s at most: with the
    /// request when this attempt is asked to stop, without one when the body fails, panics or is
    /// dropped. After that the operation still has the rest of the grace to end by itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("upload")
    ///     .spawn(|ctx| async move {
    ///         let running = tokio::spawn(async { 42 }); // it has been started
    ///         let stopper = running.abort_handle();
    ///         let done = async move { Ok::<_, Failure>(running.await?) };
    ///         ctx.adopt(done, move |_| async move {
    ///             stopper.abort();
    ///             Ok(())
    ///         })?;
    ///         Ok(0) // the value of the task is that of the operation
    ///     })
    ///     .await?;
    /// assert_eq!(task.await?, 42);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`AdoptError`] when there is one already, or the attempt is over.
    pub fn adopt<T, O, C, Fut>(&self, operation: O, cancel: C) -> Result<(), AdoptError>
    where
        T: Serialize + Send + 'static,
        O: Future<Output = Result<T, Failure>> + Send + 'static,
        C: FnOnce(Option<Arc<Stop>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        if !self.is_current() {
            return Err(AdoptError::Over);
        }
        let adopted = Arc::new(Adopted {
            cancel: Mutex::new(None),
            over: SetOnce::new(),
        });
        let watch = Watch(Arc::clone(&adopted));
        let polled = context::within(self.clone(), async move {
            let result = operation.await;
            drop(watch.0.take());
            encode(result)
        });
        if self.attempt.wish.adopt(polled).is_err() {
            return Err(AdoptError::Twice);
        }
        let call: CancelCall = Box::new(move |why| Box::pin(cancel(why)));
        *adopted
            .cancel
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(call);
        let signal = Arc::clone(&self.attempt.signal);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::select! {
                    biased;
                    () = adopted.over.wait() => {}
                    stop = signal.asked() => adopted.call(Some(stop)).await,
                }
            });
        }
        Ok(())
    }
}
