//! Hooks that run before a task settles: which ones, in which order, and for how long.
//!
//! # Invariants
//! 1. Every hook of a task is called, whatever the others do: its own, then those of its kind, its
//!    scope and the manager, each when the one before it is over or has used up its share of the
//!    time that is left.
//! 2. A call is given up when its time is over, when the task has settled without it, and when the
//!    actors go.
//! 3. Each call runs in a tokio task of its own.
//! 4. The time of a call begins with it, however long the store took before, but for a task of a
//!    tree whose end was promised; the kernel is told.
//!
//! *Not here*: what the kernel makes of it (`kernel/supervisor/hook.rs`).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use super::hub::Hub;
use crate::engine::{Hook, HookSet, Proposal};
use crate::kernel::{
    HookCall, Hooked, Kind, Record, Scope, Spec, TaskId, Timestamp, Trace, Visibility,
};

/// Which tasks hooks of the host are for. Hidden ones have only their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Kind(Kind),
    Scope(Scope),
    Manager,
}

impl Of {
    pub(super) fn covers(&self, spec: &Spec) -> bool {
        let is_of = match self {
            Self::Kind(kind) => spec.kind.as_ref() == Some(kind),
            Self::Scope(scope) => spec.scope == *scope,
            Self::Manager => true,
        };
        is_of && spec.visibility == Visibility::Shown
    }

    /// The order in which hooks before a settlement are called.
    const fn rank(&self) -> u8 {
        match self {
            Self::Kind(_) => 0,
            Self::Scope(_) => 1,
            Self::Manager => 2,
        }
    }
}

/// The hooks of the host. They hold on to the public face, and it to the hub, until they are
/// dropped with the guard.
#[derive(Debug, Default)]
pub(super) struct HostHooks(RwLock<Arc<Vec<(Of, HookSet)>>>);

impl HostHooks {
    pub(super) fn get(&self) -> Arc<Vec<(Of, HookSet)>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, hooks: Vec<(Of, HookSet)>) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *kept, Arc::new(hooks));
        drop(kept);
        drop(before);
    }

    pub(super) fn clear(&self) {
        self.set(Vec::new());
    }
}

/// What the kernel has to know of hooks.
pub(crate) fn hooked<'a>(hooks: impl Iterator<Item = &'a Of>) -> Hooked {
    let mut hooked = Hooked::default();
    for of in hooks {
        match of {
            Of::Kind(kind) => drop(hooked.kinds.insert(kind.clone())),
            Of::Scope(scope) => drop(hooked.scopes.insert(scope.clone())),
            Of::Manager => hooked.all = true,
        }
    }
    hooked
}

impl Hub {
    /// Sets the hooks of the host, before the actors start.
    pub(crate) fn set_hooks(&self, mut hooks: Vec<(Of, HookSet)>) {
        hooks.sort_by_key(|(of, _)| of.rank());
        self.observers.set_host(&hooks);
        self.hooks.set(hooks);
    }

    /// The hooks to be called before this task settles, in order.
    fn hooks_before(&self, record: &Record) -> Vec<Arc<Hook<Proposal>>> {
        let own = self.live(record.id);
        let mut hooks = own.map_or_else(Vec::new, |live| live.hooks().before_settle);
        for (of, set) in self.hooks.get().iter() {
            if of.covers(&record.spec) {
                hooks.extend(set.before_settle.iter().cloned());
            }
        }
        hooks
    }
}

/// The calls under way, of one incarnation of the actors: with it they are given up.
#[derive(Default)]
pub(super) struct Settlements(HashMap<TaskId, DropGuard>);

impl Settlements {
    /// Calls the hooks of a task that is about to settle.
    pub(super) fn begin(&mut self, hub: &Arc<Hub>, call: HookCall) {
        let HookCall {
            id,
            turn,
            outcome,
            until,
            time,
        } = call;
        hub.gate.hooks_begun(id, turn);
        let until = time.map_or(until, |time| hub.clock.now().after(time));
        // It may have settled without them and gone, in the same commit.
        let Some(record) = hub.newest(id) else {
            return;
        };
        let given_up = CancellationToken::new();
        let errand = Errand {
            hub: Arc::clone(hub),
            hooks: hub.hooks_before(&record),
            proposal: Proposal { record, outcome },
            until,
            given_up: given_up.clone(),
        };
        tokio::spawn(async move {
            let failures = errand.run().await;
            errand.hub.gate.hooks_over(id, turn, failures);
        });
        self.0.insert(id, given_up.drop_guard());
    }

    /// The task has settled: what still runs is given up.
    pub(super) fn over(&mut self, id: TaskId) {
        if !self.0.is_empty() {
            self.0.remove(&id);
        }
    }
}

struct Errand {
    hub: Arc<Hub>,
    hooks: Vec<Arc<Hook<Proposal>>>,
    proposal: Proposal,
    until: Timestamp,
    given_up: CancellationToken,
}

/// Why a call was lost, unless the runtime ends.
fn failure(lost: &JoinError) -> Option<String> {
    let why = "before_settle: it panicked where it was called";
    lost.is_panic().then(|| why.to_owned())
}

impl Errand {
    /// Calls all, and tells which failed and why.
    async fn run(&self) -> Vec<Arc<str>> {
        let mut failures = Vec::new();
        let mut slow = Vec::new();
        for (at, hook) in self.hooks.iter().enumerate() {
            let mut call = self.begin(hook);
            let left = u32::try_from(self.hooks.len() - at).unwrap_or(u32::MAX);
            match timeout(self.time_left() / left, &mut call).await {
                Ok(Ok(result)) => failures.extend(result.err()),
                Ok(Err(lost)) => failures.extend(failure(&lost)),
                Err(_) => slow.push(call),
            }
        }
        for call in slow {
            match call.await {
                Ok(result) => failures.extend(result.err()),
                Err(lost) => failures.extend(failure(&lost)),
            }
        }
        failures.into_iter().map(Into::into).collect()
    }

    fn begin(&self, hook: &Arc<Hook<Proposal>>) -> JoinHandle<Result<(), String>> {
        let (hook, proposal) = (Arc::clone(hook), self.proposal.clone());
        let (until, given_up) = (self.hub.clock.instant(self.until), self.given_up.clone());
        let record = &proposal.record;
        let span = span_of(&hook.title, record.id, &record.spec);
        let call = async move {
            let time = async move {
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = given_up.cancelled() => {}
                }
            };
            hook.call(proposal, time).await
        };
        tokio::spawn(call.instrument(span))
    }

    fn time_left(&self) -> Duration {
        self.until.since(self.hub.clock.now())
    }
}

/// The span of a call, with the names that the span of an attempt has.
pub(super) fn span_of(hook: &str, id: TaskId, spec: &Spec) -> tracing::Span {
    tracing::info_span!(
        parent: None,
        "hook",
        hook,
        task.id = %id,
        task.kind = spec.kind.as_ref().map(Kind::as_str),
        task.traceparent = spec.trace.as_ref().map(Trace::traceparent),
    )
}
