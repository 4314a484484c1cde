//! `understory run`: a plan becomes a tree of tasks, each with a process as its body.
//!
//! # Invariants
//! 1. No process starts before all tasks of the plan are accepted, so whom one sends to exists:
//!    they wait for their executor, which is registered then.
//! 2. It returns when every task has settled and no process is left.
//! 3. What is in a file is looked at, and no process of an earlier run is left, before recovery
//!    decides anything on it. A run that cannot go on leaves its file as it was.
//! 4. When it returns, what was recorded is in the file itself and not in its log, unless another
//!    process has the file open.
//!
//! *Not here*: the life of one process (`body`), what people see (`draw`).

mod accept;
mod body;
mod calls;
mod crew;
mod doors;
mod history;
pub(crate) mod input;
mod news;
mod past;
mod reach;
mod show;
mod stage;
mod stop;
mod throttle;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use understory::{Manager, Since};

use crate::draw::Screen;
use crate::orphans;
use crate::plan::Plan;
use crate::process::Keeper;
use crate::records::{Choice, RecordsError};
use crate::socket::Socket;
use body::ProcessExecutor;
use calls::FrontDesk;
pub(crate) use calls::filter;
use crew::Crew;
use doors::Doors;
use history::History;
use show::{News, Show};
use stage::Stage;
use stop::{Signals, Stopper};
use throttle::Throttle;

pub(crate) use stage::Beginning;

/// All tasks completed.
const CODE_COMPLETED: u8 = 0;
/// A task failed, timed out, was interrupted, or was cancelled by another task's end; or what they
/// wrote could not be shown.
const CODE_FAILED: u8 = 1;
/// The person at the keyboard cancelled.
const CODE_CANCELLED: u8 = 130;

/// How long is waited for processes that cannot die, after everything has settled.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Tasks that are over and can still be asked for, beside those of the plan.
const SETTLED_KEPT: usize = 10_000;

/// How a plan is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where the records are.
    pub(crate) records: Choice,
    pub(crate) beginning: Beginning,
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
    #[error("cannot prepare the run: {0}")]
    Kind(#[from] understory::InvalidText),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("task {name:?} was not accepted: {error}")]
    Spawn {
        name: String,
        error: understory::SpawnError,
    },
}

/// Runs a plan to its end and returns the exit code.
pub(crate) fn run(plan: Plan, options: Options) -> Result<u8, RunError> {
    orphans::check()?;
    let stage = Stage::prepare(&plan, &options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(supervise(plan, stage, options));
    // A process that cannot die must not keep its supervisor.
    runtime.shutdown_background();
    result
}

async fn supervise(plan: Plan, stage: Stage, options: Options) -> Result<u8, RunError> {
    // Before anything starts, so that no signal finds the default action.
    let signals = Signals::catch()?;
    let keeper = Keeper::new()?;
    let socket = Socket::open()?;
    let throttle = Throttle::new();
    let Stage {
        store,
        file,
        mut past,
        claim: _claim,
    } = stage;
    let crew = Arc::new(Crew::new(&plan, &past, options.grace));
    let doors = Arc::new(Doors::open());
    let history = History::of(file.as_deref());
    let executor = ProcessExecutor::new(&crew, &keeper, socket.desk(), &throttle, &doors, &history);
    accept::rehearse(&plan, &mut past, &crew).await?;
    let manager = store.manage(&plan).await?;
    let feed = history.told_by(manager.subscribe(Since::Seq(past.seq)).await?);
    let stopper = Stopper {
        manager: manager.clone(),
        keeper: Arc::clone(&keeper),
        doors: Arc::clone(&doors),
        socket_directory: socket.directory().to_owned(),
    };
    // A stop that is asked for now stops all of the plan, once it is accepted.
    let entered = doors.enter().await;
    let mut news = News::new(feed, stopper.listen(signals));
    let screen = screen(&options, &crew, file.as_deref());
    let mut show = Show::new(&manager, (&crew, &past), throttle, screen);
    let accepting = accept::accept_all(&plan, &past, &crew, &manager);
    let accepted = show.meanwhile(&mut news, accepting).await;
    drop(entered);
    if let Some(Err(error)) = accepted {
        give_up(&manager, &history, options.beginning).await;
        return Err(error);
    }
    let user_desk = attend_user(&executor, &manager, &socket, file.as_deref());
    if accepted.is_some() {
        let kinds = crew.kinds().into_iter().chain(past.kinds());
        // What was stopped before it began is not begun.
        for kind in kinds.filter(|_| !news.stops.any()) {
            manager.register_executor(kind, executor.clone())?;
        }
        show.follow(&mut news, &doors).await;
    }
    end(&manager, &history).await;
    socket.say_goodbye().await;
    user_desk.abort();
    // Bodies that were abandoned hold processes that did not die of SIGKILL yet.
    keeper.kill_all();
    if timeout(LEAVE_PATIENCE, keeper.all_ended()).await.is_err() {
        show.warn("some processes cannot be killed; they are left to the system");
    }
    let are_completed = show.finish(file.as_deref());
    Ok(if are_completed && show.has_lost() {
        CODE_FAILED
    } else if are_completed {
        CODE_COMPLETED
    } else if news.stops.any() {
        CODE_CANCELLED
    } else {
        CODE_FAILED
    })
}

/// What the run is shown on, with where its records are.
fn screen(options: &Options, crew: &Crew, file: Option<&Path>) -> Screen {
    let mut screen = if options.is_json {
        Screen::json()
    } else {
        Screen::for_people(&crew.places())
    };
    if let Some(file) = file {
        screen.keep_in(file);
    }
    if let Some(words) = stop::unheard() {
        screen.warn(words);
    }
    screen
}

/// Ends a run whose tasks were not all accepted.
async fn give_up(manager: &Manager, history: &History, beginning: Beginning) {
    if beginning == Beginning::Resumed {
        // It may go on with another plan.
        let _held = history.hold().await;
        drop(manager.leave().await);
    } else {
        end(manager, history).await;
    }
}

/// Ends the manager, while nobody has the file open beside it.
async fn end(manager: &Manager, history: &History) {
    let _held = history.hold().await;
    drop(manager.shutdown(Duration::ZERO).await);
}

/// Serves whoever started the run, until it is aborted.
fn attend_user(
    executor: &ProcessExecutor,
    manager: &Manager,
    socket: &Socket,
    file: Option<&Path>,
) -> JoinHandle<Infallible> {
    let (executor, manager) = (executor.clone(), manager.clone());
    let voice = socket.desk().admit_user(file);
    tokio::spawn(async move { FrontDesk::of_user(&executor, &manager).attend(voice).await })
}
