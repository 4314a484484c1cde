//! Who may speak, and as whom: the tokens of the attempts that run, and the user of the run.
//!
//! # Invariants
//! 1. A request counts as one of a task only with the token of an attempt that runs now and, on
//!    Linux, only from a process below the shim of that very attempt. So a token that another task
//!    has read or guessed is worth nothing.
//! 2. A request without a token counts as one of the user only from a process that is not below
//!    this run. Only Linux tells; elsewhere such a request is refused.
//! 3. Each caller has at most [`CALLS_MAX`] requests under way, and all tasks together
//!    [`CALLS_OF_TASKS_MAX`]. Beside these each caller has a reserve for what waits for nobody: so
//!    it can act however many wait, its own requests among them. Only what it began itself can fill
//!    its reserve: a cancel is under way for the grace of others, and each request until its
//!    answer is read.
//! 4. A request is under way until it is carried out and its answer is heard or nobody hears it.
//!
//! *Not here*: what a request may reach (`run`), the stream it comes by (`socket`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, getpid};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use uuid::Uuid;

use super::protocol::{Said, Verb};
use crate::orphans;

/// Requests of one caller that are under way, beside its reserve.
pub(super) const CALLS_MAX: usize = 32;
/// Requests of all tasks that are under way, beside their reserves.
const CALLS_OF_TASKS_MAX: usize = 512;
/// Requests of one caller that need no other place if they wait for nobody.
pub(super) const RESERVE: usize = 4;
/// Answers of one request that wait to be written.
const ANSWERS_MAX: usize = 8;
/// The task behind a token is not there, for whatever reason.
const TASK_ENDED: &str = "the task that this process belongs to does not run any more";
/// How long a token may be shown before it is known where its process is.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// A request, to be carried out by whoever has the rights of the caller.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) reply: Reply,
}

/// Takes what the caller is told. It has its place until the request is carried out.
#[derive(Debug)]
pub(crate) struct Reply {
    said: mpsc::Sender<Said>,
    _place: Arc<Place>,
}

/// The caller does not listen any more.
#[derive(Debug)]
pub(crate) struct CallerGone;

impl Reply {
    /// Tells one of several things; waits while the caller does not read.
    ///
    /// # Errors
    /// [`CallerGone`]; nothing more needs to be told.
    pub(crate) async fn item(&self, item: Value) -> Result<(), CallerGone> {
        let told = self.said.send(Said::Item(item)).await;
        told.map_err(|_| CallerGone)
    }

    /// Tells the end of it.
    pub(crate) async fn end(&self, result: Result<Value, String>) {
        let said = match result {
            Ok(value) => Said::Done(value),
            Err(reason) => Said::Refused(reason),
        };
        // A caller that has gone needs no answer.
        let _ = self.said.send(said).await;
    }

    /// Waits until the caller does not listen any more.
    pub(crate) async fn caller_gone(&self) {
        self.said.closed().await;
    }
}

/// Where a caller's requests go, and how it is known.
#[derive(Clone, Debug)]
struct Entry {
    calls: mpsc::Sender<Call>,
    room: Room,
    /// What is told of a request that is not answered, as nobody is there to do so.
    over: Arc<str>,
    /// The process that all of the caller's processes are below, once it runs.
    top: watch::Receiver<Option<Pid>>,
}

/// The places for the requests of one caller.
#[derive(Clone, Debug)]
struct Room {
    reserve: Arc<Semaphore>,
    own: Arc<Semaphore>,
    /// That of all tasks; the user has one of its own.
    common: Arc<Semaphore>,
}

/// Room for one request.
type Place = Vec<OwnedSemaphorePermit>;

impl Room {
    fn new(common: Arc<Semaphore>) -> Self {
        Self {
            reserve: Arc::new(Semaphore::new(RESERVE)),
            own: Arc::new(Semaphore::new(CALLS_MAX)),
            common,
        }
    }

    /// # Errors
    /// What has to end before.
    fn place(&self, verb: &Verb) -> Result<Place, String> {
        let one = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_owned();
        if !verb.waits_for_others()
            && let Ok(place) = one(&self.reserve)
        {
            return Ok(vec![place]);
        }
        let own = one(&self.own).map_err(|_| {
            format!("{CALLS_MAX} requests of this caller are under way; let some of them end first")
        })?;
        let common = one(&self.common).map_err(|_| {
            format!("{CALLS_OF_TASKS_MAX} requests of tasks are under way; try again later")
        })?;
        Ok(vec![own, common])
    }
}

#[derive(Debug, Default)]
struct Table {
    tasks: HashMap<String, Entry>,
    user: Option<Entry>,
}

/// Gives out the right to speak.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    path: PathBuf,
    /// The process that all of the run is below.
    run: Pid,
    table: Arc<Mutex<Table>>,
    room_of_tasks: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            run: getpid(),
            table: Arc::default(),
            room_of_tasks: Arc::new(Semaphore::new(CALLS_OF_TASKS_MAX)),
        }
    }

    /// Where the socket is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets one attempt of a task speak, until the [`Voice`] is dropped.
    pub(crate) fn admit(&self) -> Voice {
        let token = Uuid::new_v4().simple().to_string();
        let room = Room::new(Arc::clone(&self.room_of_tasks));
        let (entry, mut voice) = self.open(room, TASK_ENDED);
        self.table().tasks.insert(token.clone(), entry);
        voice.token = token;
        voice
    }

    /// Lets the user of the run with this file speak, from outside of it, until the [`Voice`] is
    /// dropped.
    pub(crate) fn admit_user(&self, file: Option<&Path>) -> Voice {
        let over = file.map_or_else(
            || "the run has ended".to_owned(),
            |file| {
                let file = file.display();
                format!("the run has ended; `understory events --db {file}` tells what happened")
            },
        );
        let (entry, voice) = self.open(Room::new(Arc::new(Semaphore::new(CALLS_MAX))), &over);
        self.table().user = Some(entry);
        voice
    }

    fn open(&self, room: Room, over: &str) -> (Entry, Voice) {
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let (top, top_known) = watch::channel(None);
        let entry = Entry {
            calls: sender,
            room,
            over: over.into(),
            top: top_known,
        };
        let voice = Voice {
            token: String::new(),
            calls,
            top,
            desk: self.clone(),
        };
        (entry, voice)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose request it is.
    ///
    /// # Errors
    /// Why it is nobody's, in the words for who asks.
    pub(super) async fn identify(
        &self,
        token: Option<&str>,
        peer: Option<i32>,
    ) -> Result<Caller, String> {
        let peer = peer.and_then(Pid::from_raw);
        if let Some(token) = token {
            let entry = self.table().tasks.get(token).cloned();
            let entry = entry.ok_or(TASK_ENDED)?;
            check_home(&entry, peer).await?;
            return Ok(Caller(entry));
        }
        check_outside(peer, self.run)?;
        let entry = self.table().user.clone();
        let entry = entry.ok_or_else(|| "this run takes no requests from outside".to_owned())?;
        Ok(Caller(entry))
    }
}

/// The process must be below the shim of the attempt whose token it shows.
async fn check_home(entry: &Entry, peer: Option<Pid>) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let mut top = entry.top.clone();
    // The process may be quicker than what we are told of its start.
    let known = timeout(START_PATIENCE, top.wait_for(Option::is_some)).await;
    let top = known.ok().and_then(Result::ok).and_then(|top| *top);
    let is_home = peer
        .zip(top)
        .and_then(|(peer, top)| orphans::is_below(peer, top));
    if is_home == Some(true) {
        return Ok(());
    }
    Err("this process does not belong to the task whose token it shows".to_owned())
}

/// A process of the run must show its token.
fn check_outside(peer: Option<Pid>, run: Pid) -> Result<(), String> {
    match peer.and_then(|peer| orphans::is_below(peer, run)) {
        Some(false) => Ok(()),
        Some(true) => Err(format!(
            "this process belongs to a task and shows no token; {} stands in its environment",
            super::TOKEN_VARIABLE
        )),
        None => Err("nobody can tell where this process belongs; it has no token".to_owned()),
    }
}

/// Somebody who may speak.
#[derive(Debug)]
pub(super) struct Caller(Entry);

impl Caller {
    /// What is told when a request is not answered.
    pub(super) fn over(&self) -> Arc<str> {
        Arc::clone(&self.0.over)
    }

    /// Hands the request over; the answers come by the receiver, which has its place, too.
    pub(super) async fn call(
        self,
        verb: Verb,
    ) -> Result<(mpsc::Receiver<Said>, Arc<Place>), String> {
        let place = Arc::new(self.0.room.place(&verb)?);
        let (said, answers) = mpsc::channel(ANSWERS_MAX);
        let reply = Reply {
            said,
            _place: Arc::clone(&place),
        };
        let sent = self.0.calls.send(Call { verb, reply }).await;
        sent.map_err(|_| self.0.over.to_string())?;
        Ok((answers, place))
    }
}

/// The right to speak, and what is said.
#[derive(Debug)]
pub(crate) struct Voice {
    /// Empty for the user of the run, who has none.
    token: String,
    calls: mpsc::Receiver<Call>,
    top: watch::Sender<Option<Pid>>,
    desk: Desk,
}

impl Voice {
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Says below which process all of the caller's processes are.
    pub(crate) fn comes_from(&self, top: Option<Pid>) {
        self.top.send_replace(top);
    }

    /// The next request.
    ///
    /// # Cancel safety
    /// No request is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Call {
        match self.calls.recv().await {
            Some(call) => call,
            // The sender stands in the table until this voice is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let mut table = self.desk.table();
        if table.tasks.remove(&self.token).is_none() {
            table.user = None;
        }
    }
}

#[cfg(test)]
mod tests;
