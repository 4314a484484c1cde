//! What every handle shares: the hub of the actors, the executors and what they take.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dashmap::DashMap;
use tokio::runtime::Handle;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use super::checks::AllChecks;
use super::executor::Executors;
use super::hidden::Heard;
use super::hooks::Hooks;
use super::place::Seat;
use super::shutdown::{ShutdownError, ShutdownReport};
use crate::actors::Hub;
use crate::kernel::{Scope, TaskId};

#[derive(Debug)]
pub(crate) struct Core {
    pub(super) hub: Arc<Hub>,
    /// Where the actors run.
    pub(super) runtime: Handle,
    /// Who has which place (see `place`).
    pub(super) places: DashMap<Seat, Arc<CancellationToken>>,
    pub(super) executors: Executors,
    pub(super) checks: AllChecks,
    pub(super) hooks: Hooks,
    /// Whether a task whose kind has no executor here is refused.
    pub(super) refuses_missing: bool,
    /// Which failures of a scope's hidden tasks were told, of those that are kept.
    pub(super) hidden_heard: DashMap<Scope, Arc<Heard>>,
    /// Whether tasks are taken from bodies only.
    pub(super) is_draining: AtomicBool,
    pub(super) is_shutting_down: AtomicBool,
    pub(super) shutdown: SetOnce<Result<ShutdownReport, ShutdownError>>,
}

impl Core {
    pub(super) fn new(
        (hub, runtime): (Arc<Hub>, Handle),
        (executors, checks): (Executors, AllChecks),
        hooks: Hooks,
        refuses_missing: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            hub,
            runtime,
            places: DashMap::new(),
            executors,
            checks,
            hooks,
            refuses_missing,
            hidden_heard: DashMap::new(),
            is_draining: AtomicBool::new(false),
            is_shutting_down: AtomicBool::new(false),
            shutdown: SetOnce::new(),
        })
    }

    /// Awaits what needs timers or spawns, also where no runtime is: the manager's is entered then.
    pub(super) async fn within<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        if Handle::try_current().is_ok() {
            return future.await;
        }
        poll_fn(|cx| {
            let _entered = self.runtime.enter();
            future.as_mut().poll(cx)
        })
        .await
    }

    /// The names from the root down to a task; short ids stand for tasks without a name.
    pub(super) fn path(&self, id: TaskId) -> String {
        self.hub.path(id)
    }

    /// The task that a path of a scope means: its last segment names it, earlier ones must be above
    /// it.
    pub(super) fn resolve(&self, scope: &Scope, path: &str) -> Option<TaskId> {
        let mut segments = path.split('/').rev();
        let id = self.hub.index.holder(scope, segments.next()?)?;
        let mut segments = segments.peekable();
        if segments.peek().is_none() {
            return Some(id);
        }
        let mut above = self.hub.index.get(id)?.parent;
        for segment in segments {
            let record = self.hub.index.get(above?)?;
            if record.spec.segment(record.id) != segment {
                return None;
            }
            above = record.parent;
        }
        Some(id)
    }
}
