//! The door to the manager: bounded, with a lane of its own for control.
//!
//! # Invariants
//! 1. Control (cancel, shutdown) goes ahead of reports and deadlines, in the order in which these
//!    came, and those go ahead of new work.
//! 2. Asks and notes are bounded by permits, which are given back when they are answered or
//!    durable; those of cancels when they are decided. Reports need no permit: there is at most one
//!    per attempt, and one about what its body awaits.
//! 3. A closed gate takes no ask, and answers those that it holds.
//!
//! *Not here*: any decision about the content of an input (`kernel`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, SetOnce, oneshot};

use super::mailbox::{Mailbox, Wake};
use super::permits::Permits;
use crate::engine::{Live, Pace};
use crate::kernel::{
    Accepted, End, Epoch, Hosts, Input, Note, Payload, Record, Refusal, Reply, Reuse, Seq, StopAsk,
    Target, TaskId, Ticket, Timestamp,
};

/// Most cancels that wait for their decision at once; further callers wait for their turn.
const CONTROL_MAX: usize = 64;

const CONTROL: usize = 0;
const TASKS: usize = 1;
const WORK: usize = 2;

/// The answer to a spawn: what became of it, and the task if it was not taken.
pub(crate) type SpawnReply = Result<Accepted, (Refusal, Arc<Live>)>;

/// What waits for the manager.
#[derive(Debug)]
pub(super) enum Letter {
    /// Somebody waits for the answer.
    Ask(Ask),
    /// A body says something; its permit is given back when that is durable.
    Said {
        id: TaskId,
        epoch: Epoch,
        note: Note,
    },
    /// A body began or ceased to await something; what, stands in its `Live`.
    Parked { live: Arc<Live>, epoch: Epoch },
    /// A body has ended.
    Ended {
        id: TaskId,
        epoch: Epoch,
        end: End,
        undelivered: u32,
    },
    /// A fact that needs neither answer nor permit.
    Told(Box<Input>),
    /// The timer has run out.
    Tick,
}

impl Letter {
    /// Whether it may begin another life of an id.
    pub(super) fn may_reuse(&self) -> bool {
        matches!(self, Self::Ask(Ask::Spawn { reuse, .. }) if *reuse == Reuse::Allowed)
    }

    /// The task that it asks for.
    pub(super) fn spawns(&self) -> Option<TaskId> {
        if let Self::Ask(Ask::Spawn { live, .. }) = self {
            Some(live.id)
        } else {
            None
        }
    }
}

/// A request with its way back.
#[derive(Debug)]
pub(super) enum Ask {
    Spawn {
        live: Arc<Live>,
        by: Option<(TaskId, Epoch)>,
        reuse: Reuse,
        reply: oneshot::Sender<SpawnReply>,
        permit: OwnedSemaphorePermit,
    },
    Cancel {
        target: Target,
        ask: Box<StopAsk>,
        reply: oneshot::Sender<Reply>,
        permit: OwnedSemaphorePermit,
    },
    Shutdown {
        ask: Box<StopAsk>,
        reply: oneshot::Sender<Reply>,
    },
    /// Any other request: what the kernel is asked, once its ticket is known.
    Other {
        input: Request,
        reply: oneshot::Sender<Reply>,
        permit: OwnedSemaphorePermit,
    },
}

/// A request of the kernel that still needs its ticket.
pub(super) struct Request(Box<dyn FnOnce(Ticket) -> Input + Send>);

impl Request {
    pub(super) fn with(self, ticket: Ticket) -> Input {
        (self.0)(ticket)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request")
    }
}

/// Why the gate takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// The manager was shut down.
    Closed,
    /// The manager failed too often to be started again.
    Dead,
    /// The manager was started anew before it answered: whether the request had an effect is
    /// unknown.
    Restarted,
    /// The store takes nothing at the moment.
    Sick,
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const DEAD: u8 = 2;

#[derive(Debug)]
pub(crate) struct Gate {
    letters: Mailbox<Letter, 3>,
    asks: Arc<Semaphore>,
    notes: Arc<Semaphore>,
    control: Arc<Semaphore>,
    condition: AtomicU8,
    sick: AtomicBool,
    /// Set when the gate has closed.
    closed: SetOnce<()>,
}

impl Gate {
    pub(super) fn new(asks_max: usize, notes_max: usize) -> Self {
        Self {
            letters: Mailbox::new(),
            asks: Arc::new(Semaphore::new(asks_max)),
            notes: Arc::new(Semaphore::new(notes_max)),
            control: Arc::new(Semaphore::new(CONTROL_MAX)),
            condition: AtomicU8::new(OPEN),
            sick: AtomicBool::new(false),
            closed: SetOnce::new(),
        }
    }

    /// Asks for a task and waits for the answer, which comes when its record is durable.
    pub(crate) async fn spawn(
        &self,
        live: Arc<Live>,
        by: Option<(TaskId, Epoch)>,
        reuse: Reuse,
    ) -> Result<SpawnReply, (Shut, Arc<Live>)> {
        if self.is_sick() {
            return Err((Shut::Sick, live));
        }
        let permit = match self.permit(&self.asks).await {
            Ok(permit) => permit,
            Err(shut) => return Err((shut, live)),
        };
        let (reply, answer) = oneshot::channel();
        let kept = Arc::clone(&live);
        let ask = Ask::Spawn {
            live,
            by,
            reuse,
            reply,
            permit,
        };
        self.letters.push(WORK, Letter::Ask(ask));
        self.check_after_push();
        answer.await.map_err(|_| (self.shut(), kept))
    }

    /// The turn of a cancel, if it need not wait for it.
    pub(crate) fn turn_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.control).try_acquire_owned().ok()
    }

    /// The turn of a cancel; who drops the wait for it has asked for nothing.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, Shut> {
        self.permit(&self.control).await
    }

    /// Asks for a stop, by the first poll, and waits until every task meant has settled.
    pub(crate) async fn cancel(
        &self,
        permit: OwnedSemaphorePermit,
        target: Target,
        ask: StopAsk,
    ) -> Result<Reply, Shut> {
        self.is_open()?;
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Cancel {
            target,
            ask: Box::new(ask),
            reply,
            permit,
        };
        self.letters.push(CONTROL, Letter::Ask(ask));
        self.check_after_push();
        answer.await.map_err(|_| self.shut())
    }

    /// Asks anything else, in turn with the spawns, and waits until the answer is durable.
    pub(crate) async fn ask(
        &self,
        input: impl FnOnce(Ticket) -> Input + Send + 'static,
    ) -> Result<Reply, Shut> {
        let permit = self.permit(&self.asks).await?;
        let (reply, answer) = oneshot::channel();
        let input = Request(Box::new(input));
        let ask = Ask::Other {
            input,
            reply,
            permit,
        };
        self.letters.push(WORK, Letter::Ask(ask));
        self.check_after_push();
        answer.await.map_err(|_| self.shut())
    }

    pub(crate) async fn shutdown(&self, ask: StopAsk) -> Result<Reply, Shut> {
        let (reply, answer) = oneshot::channel();
        let ask = Box::new(ask);
        self.letters
            .push(CONTROL, Letter::Ask(Ask::Shutdown { ask, reply }));
        self.check_after_push();
        answer.await.map_err(|_| self.shut())
    }

    /// Hands in what a body says; waits while too much of that is not durable yet.
    pub(crate) async fn say(&self, id: TaskId, epoch: Epoch, note: Note) -> Result<(), Shut> {
        let pass = self.pass().await?;
        let letter = Letter::Said { id, epoch, note };
        self.letters.push_and_go_on(TASKS, letter);
        pass.forget();
        self.check_after_push();
        Ok(())
    }

    /// Hands in the progress note that an attempt holds, if it still does when there is a permit.
    ///
    /// `take` is called under the lock of the attempt's pace, so that no report goes in between.
    pub(crate) async fn say_held(
        &self,
        live: &Live,
        epoch: Epoch,
        take: impl FnOnce(&mut Pace) -> Option<Payload>,
    ) -> Result<(), Shut> {
        let pass = self.pass().await?;
        let mut pace = live.pace();
        if let Some(note) = take(&mut pace) {
            let (id, note) = (live.id, Note::Progress(note));
            let letter = Letter::Said { id, epoch, note };
            self.letters.push_and_go_on(TASKS, letter);
            pass.forget();
        }
        drop(pace);
        self.check_after_push();
        Ok(())
    }

    /// The same when an attempt ends or is asked to stop, without a permit: it is one letter.
    pub(super) fn say_last(&self, live: &Live, epoch: Epoch) {
        let Some(mut pace) = live.pace_kept() else {
            return;
        };
        if let Some(note) = pace.take(epoch) {
            let (id, note) = (live.id, Note::Progress(note));
            self.tell(Input::Said { id, epoch, note });
        }
    }

    pub(super) fn report(&self, id: TaskId, epoch: Epoch, end: End, undelivered: u32) {
        let letter = Letter::Ended {
            id,
            epoch,
            end,
            undelivered,
        };
        self.letters.push(TASKS, letter);
        self.check_after_push();
    }

    /// A body began or ceased to await something. At most one such letter is under way per task.
    pub(crate) fn parked(&self, live: Arc<Live>, epoch: Epoch) {
        self.letters.push(TASKS, Letter::Parked { live, epoch });
        self.check_after_push();
    }

    pub(super) fn active(&self, id: TaskId, epoch: Epoch, at: Timestamp) {
        self.tell_and_go_on(Input::Active { id, epoch, at });
    }

    pub(super) fn stuck(&self, id: TaskId, epoch: Epoch, reason: Arc<str>) {
        self.tell(Input::Stuck { id, epoch, reason });
    }

    pub(super) fn undelivered(&self, record: Arc<Record>, count: u32) {
        self.tell(Input::Undelivered { record, count });
    }

    pub(super) fn callback_over(&self, id: TaskId, epoch: Epoch, failure: Option<Arc<str>>) {
        self.tell(Input::CallbackOver { id, epoch, failure });
    }

    pub(super) fn hooks_begun(&self, id: TaskId, turn: Seq) {
        self.tell_and_go_on(Input::HooksBegun { id, turn });
    }

    pub(super) fn hooks_over(&self, id: TaskId, turn: Seq, failures: Vec<Arc<str>>) {
        self.tell(Input::HooksOver { id, turn, failures });
    }

    pub(super) fn hook_failed(&self, record: Arc<Record>, why: Arc<str>) {
        self.tell(Input::HookFailed { record, why });
    }

    pub(super) fn hosts(&self, hosts: Hosts) {
        self.tell(Input::Hosts(hosts));
    }

    fn tell(&self, fact: Input) {
        self.letters.push(TASKS, Letter::Told(Box::new(fact)));
        self.check_after_push();
    }

    fn tell_and_go_on(&self, fact: Input) {
        let letter = Letter::Told(Box::new(fact));
        self.letters.push_and_go_on(TASKS, letter);
        self.check_after_push();
    }

    /// A deadline may be over. Who ended before it is heard first.
    pub(super) fn tick(&self) {
        self.letters.push(TASKS, Letter::Tick);
    }

    /// Takes what waits, at most so many of each lane; tells whether some are left, and gives the
    /// permits of what was said.
    pub(super) fn take(&self, max: usize, into: &mut Vec<Letter>) -> (bool, Permits) {
        let is_more = self.letters.take(max, into);
        let said = |letter: &&Letter| matches!(letter, Letter::Said { .. });
        let notes = into.iter().filter(said).count();
        (is_more, Permits::forgotten(&self.notes, notes))
    }

    pub(super) fn attach(&self, manager: ActorRef<Wake>) {
        self.letters.attach(manager);
    }

    pub(super) fn detach(&self) {
        self.letters.detach();
    }

    /// Takes nothing from now on, and drops what waits, so that its askers hear of it.
    pub(super) fn close(&self, why: Shut) {
        let condition = if why == Shut::Dead { DEAD } else { CLOSED };
        self.condition.store(condition, Ordering::SeqCst);
        self.letters.detach();
        drop(self.letters.empty());
        for permits in [&self.asks, &self.notes, &self.control] {
            permits.close();
        }
        let _is_first = self.closed.set(()).is_ok();
    }

    /// Waits until the gate has closed: nothing will be answered any more.
    pub(crate) async fn shut_down(&self) {
        self.closed.wait().await;
    }

    pub(super) fn set_sick(&self, is_sick: bool) {
        self.sick.store(is_sick, Ordering::Release);
    }

    /// Whether the store takes nothing at the moment, so that no new work is taken either.
    pub(crate) fn is_sick(&self) -> bool {
        self.sick.load(Ordering::Acquire)
    }

    /// Whether and why nothing is taken.
    pub(crate) fn is_open(&self) -> Result<(), Shut> {
        match self.condition.load(Ordering::SeqCst) {
            OPEN => Ok(()),
            DEAD => Err(Shut::Dead),
            _ => Err(Shut::Closed),
        }
    }

    /// A permit for what a body says: its letter forgets it, and who takes that gives it back.
    async fn pass(&self) -> Result<SemaphorePermit<'_>, Shut> {
        self.is_open()?;
        let pass = match self.notes.try_acquire() {
            Ok(pass) => Ok(pass),
            Err(_) => self.notes.acquire().await,
        };
        pass.map_err(|_| self.shut())
    }

    async fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Shut> {
        self.is_open()?;
        let permit = match Arc::clone(of).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => Arc::clone(of).acquire_owned().await,
        };
        permit.map_err(|_| self.shut())
    }

    /// A letter that was pushed while the gate closed is dropped, so that its asker does not wait
    /// for ever.
    fn check_after_push(&self) {
        if self.is_open().is_err() {
            drop(self.letters.empty());
        }
    }

    fn shut(&self) -> Shut {
        self.is_open().err().unwrap_or(Shut::Restarted)
    }
}
