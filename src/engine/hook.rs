//! Hooks of the host about tasks: shared, isolated, and given up when their time is over.
//!
//! # Invariants
//! 1. Neither a call nor the end of a hook lets a panic out; the last one who drops a hook does not
//!    run its destructor.
//!
//! *Not here*: which hook hears of what (`actors`), what users write (`api/task_hooks.rs`).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::failure::Failure;
use super::unwind::{catch, catch_call, dispose};
use crate::kernel::{Event, Outcome, Record};

/// One call of a hook.
type Calling = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;
type Call<A> = Box<dyn Fn(A) -> Calling + Send + Sync>;

/// A hook that hears of an `A`.
pub(crate) struct Hook<A: 'static> {
    /// Which one, in the words of the event that tells of its failure.
    pub(crate) title: String,
    /// There until it is dropped.
    call: Option<Call<A>>,
}

/// Of which events of its tasks an observer hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Of all.
    Events,
    /// Of those that tell of an end.
    Ends,
}

/// How a task is going to end.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) record: Arc<Record>,
    pub(crate) outcome: Arc<Outcome>,
}

/// The hooks of one task, or of those of a kind, a scope, a manager.
#[derive(Clone, Debug, Default)]
pub(crate) struct HookSet {
    pub(crate) before_settle: Vec<Arc<Hook<Proposal>>>,
    pub(crate) observers: Vec<(Hears, Arc<Hook<Arc<Event>>>)>,
}

impl HookSet {
    pub(super) const fn is_empty(&self) -> bool {
        self.before_settle.is_empty() && self.observers.is_empty()
    }
}

impl<A: 'static> Hook<A> {
    pub(crate) fn new(
        title: String,
        call: impl Fn(A) -> Calling + Send + Sync + 'static,
    ) -> Arc<Self> {
        let call: Call<A> = Box::new(call);
        let call = Some(call);
        Arc::new(Self { title, call })
    }

    /// Calls it until it is over, or its `time` is: which hook failed and why, if it did.
    pub(crate) async fn call(
        &self,
        about: A,
        time: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let Some(call) = &self.call else {
            return Ok(());
        };
        let title = &self.title;
        let told = |why: String| format!("{title}: {why}");
        let mut answer = catch_call(|| call(about)).map_err(told)?;
        let answered = tokio::select! {
            // First, so that one that needs no time is over however little it has.
            biased;
            answered = catch(answer.as_mut()) => answered,
            () = time => Err("it took too long".to_owned()),
        };
        // Its destructors are the host's, too.
        let dropped = dispose(answer);
        match answered.map_err(told)? {
            Ok(()) => dropped.map_err(told),
            Err(failure) => Err(told(failure.into_fault().message.to_string())),
        }
    }
}

impl<A: 'static> Drop for Hook<A> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let title = std::mem::take(&mut self.title);
        let end = move || {
            if let Err(panic) = dispose(call) {
                tracing::warn!(hook = title, panic, "a hook panicked when dropped");
            }
        };
        // Outside a runtime it is a caller's own thread, which may wait for the destructor.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { end() })),
            Err(_) => end(),
        }
    }
}

impl<A: 'static> fmt::Debug for Hook<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.title).finish()
    }
}
