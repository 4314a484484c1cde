//! Where the bodies of one incarnation of the manager run, and that they end with it.
//!
//! # Invariants
//! 1. A team ends with its manager: what runs in it is dropped at its next `.await`, and nobody
//!    joins it any more. Task actors are linked to the manager, so ractor sees to that; plain tokio
//!    tasks are ended by the manager's state when it is dropped, or the guard that waits for this.
//! 2. Nothing else depends on where a body runs: it is the same future, with the same report.
//! 3. Nobody leaves, or takes another errand, before its body has been dropped and its end was
//!    reported.
//!
//! *Not here*: how an attempt is run (`task`, `engine`), who waits for one (`reserve`), plain tasks
//! (`roster`).

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use ractor::{Actor, ActorCell, ActorRef};
use tokio::task::unconstrained;

use super::reserve::Reserve;
use super::roster::Roster;
use super::task::{Errand, TaskActor};
use crate::kernel::TaskId;

/// Where bodies run: [`Builder::body_host`](crate::Builder::body_host).
///
/// Up to 64 of those whose bodies are over wait for the next attempts, so two bodies one after the
/// other may see the same `tokio::task::id`, and the second one be polled once more for a waker
/// that the first one left somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyHost {
    /// Each attempt of a task has an actor of `ractor` to itself while it runs, linked to the
    /// manager.
    #[default]
    Actor,
    /// Each attempt of a task has a plain tokio task to itself while it runs, which ends with its
    /// manager all the same.
    TokioTask,
}

impl BodyHost {
    /// What a manager begins with.
    pub(super) fn usual() -> Self {
        // So that the tests of the public face can be run a second time.
        #[cfg(feature = "testing")]
        if std::env::var("UNDERSTORY_BODY_HOST").is_ok_and(|it| it == "tokio-task") {
            return Self::TokioTask;
        }
        Self::default()
    }
}

/// Those who run bodies for one manager actor.
pub(super) enum Team {
    /// Actors that are linked to this one, and those of them that have nothing to run.
    Actors(OnceLock<ActorCell>, Arc<Reserve<ActorRef<Box<Errand>>>>),
    /// Tasks of tokio.
    Tasks(Arc<Roster<Box<Errand>>>),
}

impl Team {
    pub(super) fn new(host: BodyHost) -> Self {
        match host {
            BodyHost::Actor => Self::Actors(OnceLock::new(), Arc::default()),
            BodyHost::TokioTask => Self::Tasks(Arc::default()),
        }
    }

    /// The manager is there: its team ends with it.
    pub(super) fn lead_by(&self, manager: ActorCell) {
        match self {
            Self::Actors(leader, _) => {
                let _is_first = leader.set(manager).is_ok();
            }
            Self::Tasks(_) => {}
        }
    }

    /// Runs what there is to run of this task. An errand that cannot begin, as the manager is going
    /// down, is dropped, which reports its attempt lost.
    pub(super) fn run(&self, task: TaskId, errand: Errand) {
        match self {
            Self::Actors(leader, reserve) => {
                let Some(leader) = leader.get() else {
                    tracing::error!(%task, "an attempt before its manager; it is lost");
                    return;
                };
                let Some(errand) = reserve.hand(Box::new(errand)) else {
                    return;
                };
                let reserve = Arc::clone(reserve);
                let (actor, leader) = (TaskActor { reserve }, leader.clone());
                begin(async move {
                    let started = Actor::spawn_linked(None, actor, errand, leader).await;
                    if let Err(error) = started {
                        tracing::warn!(%task, %error, "its actor could not start");
                    }
                });
            }
            Self::Tasks(roster) => roster.run(Box::new(errand)),
        }
    }

    /// The manager has gone: whoever is still there is dropped at its next `.await`.
    pub(super) fn end(&self) {
        match self {
            Self::Actors(..) => {}
            Self::Tasks(roster) => roster.end(),
        }
    }
}

/// Starts an actor at once: nothing of that waits, so one poll is enough. Should something of it
/// come to wait, a task of its own does.
fn begin(start: impl Future<Output = ()> + Send + 'static) {
    // The turn that starts many actors must not be held up by what tokio lets one turn do.
    let mut start = Box::pin(unconstrained(start));
    let mut nobody = Context::from_waker(Waker::noop());
    if start.as_mut().poll(&mut nobody).is_pending() {
        drop(tokio::spawn(start));
    }
}
