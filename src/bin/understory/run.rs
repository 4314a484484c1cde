//! `understory run`: a plan becomes a tree of tasks, each with a process as its body.
//!
//! # Invariants
//! 1. No process starts before all tasks of the plan are accepted, so whom one sends to exists.
//! 2. The run is over when every task has settled; it leaves when no process is left either.
//! 3. The first request to stop asks all tasks and waits for their grace, the second kills.
//!
//! *Not here*: the life of one process (`body`), what people see (`draw`).

mod accept;
mod body;
mod calls;
mod crew;
mod news;
mod throttle;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};
use understory::{
    Cancel, Class, Event, FeedItem, Manager, Since, State, Subscription, TaskId, What,
};

use crate::draw::{DRAW_PERIOD, Screen};
use crate::plan::Plan;
use crate::process::Keeper;
use crate::socket::Socket;
use body::ProcessExecutor;
use crew::Crew;
use throttle::Throttle;

/// All tasks completed.
const CODE_COMPLETED: u8 = 0;
/// A task failed, timed out, was interrupted, or was cancelled by another task's end.
const CODE_FAILED: u8 = 1;
/// The person at the keyboard cancelled.
const CODE_CANCELLED: u8 = 130;

/// How long is waited for processes that cannot die, after everything has settled.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Events kept for the screen, beside some for each task.
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
    let stops = Stops::listen()?;
    let keeper = Keeper::new()?;
    let socket = Socket::open()?;
    let throttle = Throttle::new();
    let crew = Arc::new(Crew::new(&plan, options.grace));
    let executor = ProcessExecutor::new(&crew, &keeper, socket, &throttle);
    let manager = build(&plan, &crew, &executor)?;
    let feed = manager.subscribe(Since::Now).await?;
    let screen = if options.is_json {
        Screen::json()
    } else {
        Screen::for_people(&crew.places())
    };
    let mut show = Show {
        pending: crew.ids().collect(),
        manager: manager.clone(),
        crew: Arc::clone(&crew),
        throttle,
        screen,
        started: Instant::now(),
    };
    if let Err(error) = accept::accept_all(&plan, &crew, &manager).await {
        drop(manager.shutdown(Duration::ZERO).await);
        return Err(error);
    }
    crew.open_gate();
    let stop = show.until_settled(feed, stops, &keeper).await;
    drop(manager.shutdown(Duration::ZERO).await);
    // Bodies that were abandoned hold processes that did not die of SIGKILL yet.
    keeper.kill_all();
    if timeout(LEAVE_PATIENCE, keeper.all_ended()).await.is_err() {
        show.screen
            .say("some processes cannot be killed; they are left to the system");
    }
    Ok(show.finish(stop))
}

fn build(
    plan: &Plan,
    crew: &Crew,
    executor: &ProcessExecutor,
) -> Result<Manager, understory::BuildError> {
    let count = plan.tasks.len();
    let mut builder = Manager::builder()
        .live_max(count + 1)
        .children_max(count + 1)
        .feed_events_max(EVENTS_KEPT + count * EVENTS_KEPT_PER_TASK);
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

/// Whether the person at the keyboard asked for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserStop {
    No,
    Asked,
}

/// Shows the news until all is over.
struct Show {
    /// Tasks that have not settled.
    pending: HashSet<TaskId>,
    manager: Manager,
    crew: Arc<Crew>,
    throttle: Throttle,
    screen: Screen,
    started: Instant,
}

impl Show {
    async fn until_settled(
        &mut self,
        mut feed: Subscription,
        mut stops: Stops,
        keeper: &Keeper,
    ) -> UserStop {
        let mut user = UserStop::No;
        let mut ticks = interval(DRAW_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.pending.is_empty() {
            // Requests to stop go before the news, however much there is of it.
            tokio::select! {
                biased;
                () = stops.recv() => {
                    self.stop(user, keeper);
                    user = UserStop::Asked;
                }
                _ = ticks.tick() => self.screen.tick(),
                item = feed.next() => match item {
                    Some(item) => self.take(item),
                    // The manager has failed for good; what is known is what was told.
                    None => break,
                },
            }
        }
        user
    }

    fn stop(&mut self, user: UserStop, keeper: &Keeper) {
        match user {
            UserStop::No => {
                self.screen
                    .say("stopping: all tasks are asked to end; once more kills them");
                let manager = self.manager.clone();
                tokio::spawn(async move {
                    let cancel = Cancel::because("cancelled by the user");
                    // What became of each task is told by its events.
                    drop(manager.cancel_all(cancel).await);
                });
            }
            UserStop::Asked => {
                self.screen.say("killing all tasks");
                keeper.kill_all();
            }
        }
    }

    fn take(&mut self, item: FeedItem) {
        match item {
            FeedItem::Event(event) => self.take_event(&event),
            FeedItem::Snapshot { .. } => {}
            FeedItem::Lagged { missed, .. } => {
                self.throttle.release_all();
                self.screen.say(&format!("{missed} events were missed"));
                let line = serde_json::json!({ "event": "lagged", "missed": missed });
                self.screen.show_json(&line.to_string());
                let manager = &self.manager;
                self.pending.retain(|id| match manager.get(*id) {
                    Some(record) => !record.state.is_terminal(),
                    None => true,
                });
            }
        }
    }

    fn take_event(&mut self, event: &Event) {
        if matches!(event.what, What::Output(_)) {
            self.throttle.release();
        }
        if self.screen.is_json() {
            self.screen.show_json(&event.to_json().to_string());
        } else if let Some(sight) = news::sight(event, &self.crew, &self.manager) {
            self.screen.show(sight);
        }
        if matches!(event.what, What::Settled { .. }) {
            self.pending.remove(&event.task);
        }
    }

    /// Shows the end and returns the exit code.
    fn finish(&mut self, user: UserStop) -> u8 {
        let ids = self.crew.ids();
        let states: Vec<Option<State>> = ids
            .map(|id| self.manager.get(id).map(|record| record.state))
            .collect();
        self.screen
            .finish(&news::summary(&states, self.started.elapsed()));
        if states.iter().all(|state| *state == Some(State::Completed)) {
            CODE_COMPLETED
        } else if user == UserStop::Asked {
            CODE_CANCELLED
        } else {
            CODE_FAILED
        }
    }
}

/// The signals by which a person or the system asks for an end.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stops {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
