//! Callbacks of the host that decide nothing about a task: isolated and limited in time.
//!
//! # Invariants
//! 1. A callback runs in a tokio task of its own, under `catch_unwind`, for at most [`HOOK_MAX`].
//! 2. What it does, or fails to do, holds up nobody but who asked for its answer.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::authority::CancelAsk;
use super::executor::BoxFuture;
use super::liveness::{Liveness, Probe};
use super::wake::Wake;
use crate::engine::{catch, catch_call, dispose};
use crate::kernel::{ClassFull, Scope, TaskId};

/// How long a callback may take.
pub(super) const HOOK_MAX: Duration = Duration::from_secs(5);

/// A task that a full limit refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The id that it would have had.
    pub id: TaskId,
    /// The scope that it was asked for in.
    pub scope: Scope,
    /// Which limit, and how much of it is in use.
    pub full: ClassFull,
}

type Hook<A, T> = Arc<dyn Fn(A) -> BoxFuture<T> + Send + Sync>;

/// The callbacks of one manager.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    limit_reached: Option<Hook<LimitReached, ()>>,
    wake: Option<Hook<Wake, ()>>,
    probe: Option<(Duration, Hook<Probe, Liveness>)>,
    cancel: Option<Hook<CancelAsk, bool>>,
}

impl Hooks {
    pub(super) fn on_limit<F, Fut>(&mut self, hook: F)
    where
        F: Fn(LimitReached) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.limit_reached = Some(boxed(hook));
    }

    pub(super) fn on_wake<F, Fut>(&mut self, hook: F)
    where
        F: Fn(Wake) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.wake = Some(boxed(hook));
    }

    pub(super) fn on_probe<F, Fut>(&mut self, every: Duration, hook: F)
    where
        F: Fn(Probe) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Liveness> + Send + 'static,
    {
        self.probe = Some((every, boxed(hook)));
    }

    /// How often it is asked whether bodies are alive, if it is.
    pub(super) fn probe_interval(&self) -> Option<Duration> {
        self.probe.as_ref().map(|(every, _)| *every)
    }

    /// Asks whether a body is alive; why there is no answer, if so.
    pub(super) async fn probe(&self, probe: Probe) -> Result<Liveness, String> {
        match &self.probe {
            Some((_, hook)) => call(Arc::clone(hook), probe).await,
            None => Ok(Liveness::Unknown),
        }
    }

    pub(super) fn on_cancel<F, Fut>(&mut self, policy: F)
    where
        F: Fn(CancelAsk) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.cancel = Some(boxed(policy));
    }

    pub(super) fn judges_cancels(&self) -> bool {
        self.cancel.is_some()
    }

    /// Whether a cancel is let through; why nobody could tell, if so.
    pub(super) async fn allows_cancel(&self, asked: CancelAsk) -> Result<bool, String> {
        match self.cancel.clone() {
            Some(policy) => call(policy, asked).await,
            None => Ok(true),
        }
    }

    pub(super) fn hears_wakes(&self) -> bool {
        self.wake.is_some()
    }

    /// Tells of a wake; why it could not be told, if so.
    pub(super) async fn wake(&self, wake: Wake) -> Result<(), String> {
        match self.wake.clone() {
            Some(hook) => call(hook, wake).await,
            None => Ok(()),
        }
    }

    /// Tells of a refusal, and does not wait for what the host makes of it.
    pub(super) fn limit_reached(&self, reached: LimitReached) {
        let (Some(hook), Ok(runtime)) = (self.limit_reached.clone(), Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            if let Err(why) = call(hook, reached).await {
                tracing::warn!(why, "the hook for reached limits failed");
            }
        });
    }
}

fn boxed<A, T, F, Fut>(hook: F) -> Hook<A, T>
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    Arc::new(move |asked| Box::pin(hook(asked)))
}

/// Calls a callback: its answer, or why there is none.
async fn call<A, T>(hook: Hook<A, T>, asked: A) -> Result<T, String> {
    let mut answer = catch_call(|| hook(asked))?;
    let answered = timeout(HOOK_MAX, catch(answer.as_mut())).await;
    // Its destructors are the host's, too.
    let dropped = dispose(answer);
    let answered = answered.unwrap_or_else(|_| Err("it took too long".to_owned()))?;
    dropped.map(|()| answered)
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("limit_reached", &self.limit_reached.is_some())
            .field("wake", &self.wake.is_some())
            .field("probe", &self.probe_interval())
            .field("cancel", &self.cancel.is_some())
            .finish()
    }
}
