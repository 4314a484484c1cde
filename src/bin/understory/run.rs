//! `understory run`: a plan becomes a tree of tasks, each with a process as its body.
//!
//! # Invariants
//! 1. No process starts before all tasks of the plan are accepted, so whom one sends to exists.
//! 2. It returns when every task has settled and no process is left.
//!
//! *Not here*: the life of one process (`body`), what people see (`draw`).

mod accept;
mod body;
mod calls;
mod crew;
mod news;
mod reach;
mod show;
mod stop;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use understory::store::MemoryStore;
use understory::{Class, Manager, Since};

use crate::draw::Screen;
use crate::plan::{DEPTH_MAX, Plan};
use crate::process::Keeper;
use crate::socket::Socket;
use body::ProcessExecutor;
use calls::FrontDesk;
use crew::Crew;
use show::Show;
use stop::{Signals, Stopper};
use throttle::Throttle;

/// All tasks completed.
const CODE_COMPLETED: u8 = 0;
/// A task failed, timed out, was interrupted, or was cancelled by another task's end.
const CODE_FAILED: u8 = 1;
/// The person at the keyboard cancelled.
const CODE_CANCELLED: u8 = 130;

/// How long is waited for processes that cannot die, after everything has settled.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Tasks that may join and live at once, unless the plan says otherwise.
const SPAWNED_LIVE_MAX: usize = 10_000;
/// Tasks that are over and can still be asked for, beside those of the plan.
const SETTLED_KEPT: usize = 10_000;
/// Events kept until they are shown, beside some for each task.
const EVENTS_KEPT: usize = 1_024;
const EVENTS_KEPT_PER_TASK: usize = 16;

/// How a plan is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Time between SIGTERM and SIGKILL for tasks without one of their own.
    pub(crate) grace: Duration,
    pub(crate) is_json: bool,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("cannot prepare the run: {0}")]
    System(#[from] std::io::Error),
    #[error("cannot prepare the run: {0}")]
    Build(#[from] understory::BuildError),
    #[error("cannot prepare the run: {0}")]
    Subscribe(#[from] understory::SubscribeError),
    #[error("task {name:?} was not accepted: {error}")]
    Spawn {
        name: String,
        error: understory::SpawnError,
    },
}

/// Runs a plan to its end and returns the exit code.
pub(crate) fn run(plan: Plan, options: Options) -> Result<u8, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(supervise(plan, options));
    // A process that cannot die must not keep its supervisor.
    runtime.shutdown_background();
    result
}

async fn supervise(plan: Plan, options: Options) -> Result<u8, RunError> {
    // Before anything starts, so that no signal finds the default action.
    let signals = Signals::catch()?;
    let keeper = Keeper::new()?;
    let socket = Socket::open()?;
    let throttle = Throttle::new();
    let crew = Arc::new(Crew::new(&plan, options.grace));
    let executor = ProcessExecutor::new(&crew, &keeper, socket.desk(), &throttle);
    let manager = build(&plan, &crew, &executor)?;
    let feed = manager.subscribe(Since::Now).await?;
    let screen = if options.is_json {
        Screen::json()
    } else {
        Screen::for_people(&crew.places())
    };
    let mut show = Show::new(&manager, &crew, throttle, screen);
    if let Err(error) = accept::accept_all(&plan, &crew, &manager).await {
        drop(manager.shutdown(Duration::ZERO).await);
        return Err(error);
    }
    let stopper = Stopper {
        manager: manager.clone(),
        keeper: Arc::clone(&keeper),
        socket_directory: socket.directory().to_owned(),
    };
    let mut stops = stopper.listen(signals);
    let (voice, user_manager) = (socket.desk().admit_user(), manager.clone());
    let user_desk = tokio::spawn(async move {
        FrontDesk::of_user(&executor, &user_manager)
            .attend(voice)
            .await
    });
    crew.open_gate();
    show.follow(feed, &mut stops).await;
    drop(manager.shutdown(Duration::ZERO).await);
    socket.say_goodbye().await;
    user_desk.abort();
    // Bodies that were abandoned hold processes that did not die of SIGKILL yet.
    keeper.kill_all();
    if timeout(LEAVE_PATIENCE, keeper.all_ended()).await.is_err() {
        show.say("some processes cannot be killed; they are left to the system");
    }
    Ok(if show.finish() {
        CODE_COMPLETED
    } else if stops.any() {
        CODE_CANCELLED
    } else {
        CODE_FAILED
    })
}

fn build(
    plan: &Plan,
    crew: &Crew,
    executor: &ProcessExecutor,
) -> Result<Manager, understory::BuildError> {
    let count = plan.tasks.len();
    let events_kept = EVENTS_KEPT + count * EVENTS_KEPT_PER_TASK;
    let bounds = &plan.bounds;
    let mut builder = Manager::builder()
        .live_max(bounds.tasks.unwrap_or(count + SPAWNED_LIVE_MAX))
        .children_max(bounds.children.unwrap_or(count + SPAWNED_LIVE_MAX))
        .depth_max(bounds.depth.unwrap_or(DEPTH_MAX))
        .settled_max(count + SETTLED_KEPT)
        .feed_events_max(events_kept)
        .store(MemoryStore::with_history(events_kept));
    if let Some(size) = plan.global_limit {
        builder = builder.global_limit(Class::queue(size.get()));
    }
    for (class, size) in &plan.limits {
        builder = builder.limit(class, Class::queue(size.get()));
    }
    for kind in crew.kinds() {
        builder = builder.executor(kind, executor.clone());
    }
    builder.build()
}
