//! The host's word on whether bodies that run are alive.
//!
//! # Invariants
//! 1. Each question is asked in a tokio task of its own, under `catch_unwind`, for at most five
//!    seconds. One that fails says nothing, and holds up no other task.
//! 2. At most [`QUESTIONS_MAX`] questions of one round are open at a time, and one round follows
//!    the other.
//!
//! *Not here*: what follows for the task (`kernel`), the limits of a task (`deadlines`).

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::config::Builder;
use super::core::Core;
use super::handle::TaskRef;
use crate::engine::cut;
use crate::kernel::{Body, Epoch, Record, State, TaskId, Timestamp};

/// How many questions of one round are open at a time.
const QUESTIONS_MAX: usize = 64;

/// A body that runs, and that the host is asked about.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its task.
    pub task: TaskRef,
    /// The record of the task: it is running, or waiting while its body is parked.
    pub record: Arc<Record>,
    /// How long ago the body gave its last sign of life.
    pub silent_for: Duration,
}

/// What the host says of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Liveness {
    /// Nothing: the limits of the task decide.
    #[default]
    Unknown,
    /// It is alive, which counts as a sign of life: a body that waits for a human, say.
    Alive,
    /// It is not, for this reason: the attempt is asked to stop as by a time limit.
    Stuck(String),
}

impl Builder {
    /// Asks about each body that runs whether it is alive, once in each interval, and also before
    /// one is ended as [idle](crate::TaskBuilder::idle_timeout).
    ///
    /// [`Liveness::Alive`] counts as a sign of life. [`Liveness::Stuck`] ends the attempt as timed
    /// out by [`Limit::Liveness`](crate::Limit::Liveness), after which another may follow. A probe
    /// that panics or takes more than five seconds is logged and says nothing; all other tasks are
    /// asked about as before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// use understory::{Limit, Liveness, Manager, Probe, WaitError};
    ///
    /// let probe = |probe: Probe| async move {
    ///     match probe.record.spec.labels.get("heartbeat").map(|value| &**value) {
    ///         Some("lost") => Liveness::Stuck("its agent does not answer".into()),
    ///         _ => Liveness::Unknown,
    ///     }
    /// };
    /// let manager = Manager::builder().liveness(Duration::from_secs(60), probe).build()?;
    /// let task = manager.scope("s").task("agent").label("heartbeat", "lost");
    /// let task = task.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
    /// let ended = task.await;
    /// assert!(matches!(ended, Err(WaitError::TimedOut { limit: Limit::Liveness, .. })));
    /// # Ok(()) }
    /// ```
    pub fn liveness<F, Fut>(mut self, every: Duration, probe: F) -> Self
    where
        F: Fn(Probe) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Liveness> + Send + 'static,
    {
        self.hooks_mut().on_probe(every, probe);
        self
    }
}

/// Begins to ask, if the host wants to be asked.
pub(super) fn install(core: &Arc<Core>) {
    let Some(every) = core.hooks.probe_interval() else {
        return;
    };
    let weak = Arc::downgrade(core);
    core.hub.ask_when_idle(move |id, epoch| {
        if let Some(core) = weak.upgrade() {
            tokio::spawn(async move {
                ask(&core, id, Some(epoch)).await;
                core.hub.tell_activity(id, epoch);
            });
        }
    });
    tokio::spawn(rounds(Arc::downgrade(core), every));
}

/// Asks about all bodies, again and again, for as long as there is a manager.
async fn rounds(core: Weak<Core>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(core) = core.upgrade() else { return };
        if core.is_shutting_down.load(Ordering::Acquire) {
            return;
        }
        let lives: Vec<_> = core.hub.lives.iter().map(|live| *live.key()).collect();
        let mut open = JoinSet::new();
        for id in lives.into_iter().filter(|id| running(&core, *id).is_some()) {
            if open.len() >= QUESTIONS_MAX {
                let _asked = open.join_next().await;
            }
            let core = Arc::clone(&core);
            open.spawn(async move { ask(&core, id, None).await });
        }
        while open.join_next().await.is_some() {}
    }
}

/// The record of a task whose body runs.
fn running(core: &Core, id: TaskId) -> Option<Arc<Record>> {
    let record = core.hub.index.get(id)?;
    let runs = matches!(record.state, State::Running | State::Waiting);
    (runs && record.body == Body::Live).then_some(record)
}

/// Asks about one body, if it still runs, and tells what is said.
async fn ask(core: &Arc<Core>, id: TaskId, run: Option<Epoch>) {
    let Some(record) = running(core, id) else {
        return;
    };
    let (Some(live), epoch) = (core.hub.live(id), record.epoch) else {
        return;
    };
    if run.is_some_and(|run| run != epoch) {
        return;
    }
    let active = Timestamp::from_micros(live.activity());
    let probe = Probe {
        task: TaskRef::new(Arc::clone(core), id),
        record,
        silent_for: core.hub.clock.now().since(active),
    };
    drop(live);
    match core.hooks.probe(probe).await {
        Ok(Liveness::Unknown) => {}
        Ok(Liveness::Alive) => core.hub.is_alive(id, epoch),
        Ok(Liveness::Stuck(reason)) => core.hub.is_stuck(id, epoch, cut(reason).into()),
        Err(why) => tracing::warn!(task = %id, why, "the probe of liveness failed"),
    }
}
