//! What goes into the kernel and what comes out, as data.
//!
//! # Invariants
//! 1. Every ticket that goes in comes out with exactly one answer, in the same or a later step.
//! 2. Effects are in the order in which they must be carried out.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::admission::ClassFull;
use super::super::bounds::Hosts;
use super::super::event::Event;
use super::super::id::{ClassName, Epoch, Key, Name, Scope, Seq, TaskId};
use super::super::message::{KeptMessage, MessageId, MessageRefusal, Messages};
use super::super::question::Interrupt;
use super::super::record::{Fault, Record, Requester, Stop, Wait};
use super::super::spec::{Payload, Reuse, Spec};
use super::super::state::State;
use super::super::time::Timestamp;
use super::control::{Control, Controlled};
use super::external::{ExternalRefusal, ExternalWord};
use super::hook::HookCall;
pub use super::target::{CancelReport, StopAsk, Target};

/// Links a request to its answer; chosen by the caller of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One thing that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody asks for a task.
    Spawn {
        /// For the answer.
        ticket: Ticket,
        /// The id it shall have.
        id: TaskId,
        /// What is asked.
        spec: Arc<Spec>,
        /// The attempt that asks, when a body does.
        by: Option<(TaskId, Epoch)>,
        /// Whether the id may be that of a settled task.
        reuse: Reuse,
    },
    /// Somebody asks for a stop.
    Cancel {
        /// For the answer, which comes when every task meant has settled.
        ticket: Ticket,
        /// Which tasks.
        target: Target,
        /// Why, by whom, with which grace.
        ask: StopAsk,
    },
    /// A body has stopped.
    Report {
        /// Its task.
        id: TaskId,
        /// Its epoch.
        epoch: Epoch,
        /// How it ended.
        end: End,
        /// Messages left unread.
        undelivered: u32,
    },
    /// A body began or ceased to await something.
    Parked {
        /// Its task.
        id: TaskId,
        /// Its epoch.
        epoch: Epoch,
        /// Counts up with each change, so that a late one is told from a new one.
        turn: u64,
        /// What it awaits; `None` when it goes on.
        on: Option<Wait>,
    },
    /// A body says something.
    Said {
        /// Its task.
        id: TaskId,
        /// Its epoch.
        epoch: Epoch,
        /// What it says.
        note: Note,
    },
    /// The answer to [`Effect::CheckIdle`].
    Active {
        /// The task.
        id: TaskId,
        /// The epoch that was asked about.
        epoch: Epoch,
        /// When it was last active.
        at: Timestamp,
    },
    /// The host finds a body stuck.
    Stuck {
        /// Its task.
        id: TaskId,
        /// The epoch that it looked at.
        epoch: Epoch,
        /// Why.
        reason: Arc<str>,
    },
    /// A closed inbox of a settled task had messages left.
    Undelivered {
        /// Its settled record.
        record: Arc<Record>,
        /// How many.
        count: u32,
    },
    /// Somebody resumes a suspended task.
    Resume {
        /// For the answer.
        ticket: Ticket,
        /// The task.
        id: TaskId,
        /// What the body gets.
        data: Payload,
        /// Whether it may wait for a slot; otherwise a full class refuses.
        may_wait: bool,
    },
    /// Somebody asks something of limits, budgets, scopes or kept records.
    Control {
        /// For the answer.
        ticket: Ticket,
        /// What is asked.
        ask: Control,
    },
    /// A body asks others something; asking again with the same key is the same question.
    Ask {
        /// For the answer of the kernel: the answer that was given before, if one was.
        ticket: Ticket,
        /// Its task.
        id: TaskId,
        /// Its epoch.
        epoch: Epoch,
        /// The key of the question.
        key: Key,
        /// The question.
        question: Payload,
    },
    /// Somebody answers a question.
    Respond {
        /// For the answer.
        ticket: Ticket,
        /// The task that asked.
        id: TaskId,
        /// The key of the question.
        key: Key,
        /// The answer to the question.
        value: Payload,
        /// Who answers.
        by: Requester,
    },
    /// Somebody sends a durable message.
    Message {
        /// For the answer.
        ticket: Ticket,
        /// The task.
        id: TaskId,
        /// The message.
        message: KeptMessage,
    },
    /// A body is done with a durable message.
    Acknowledge {
        /// For the answer.
        ticket: Ticket,
        /// Its task.
        id: TaskId,
        /// Its epoch.
        epoch: Epoch,
        /// The message.
        message: MessageId,
    },
    /// Somebody interrupts a running body.
    Interrupt {
        /// For the answer.
        ticket: Ticket,
        /// The task.
        id: TaskId,
        /// Why.
        reason: Arc<str>,
        /// Who interrupts.
        by: Requester,
    },
    /// Refuse new tasks and cancel all.
    Shutdown {
        /// For the answer, which comes when nothing lives.
        ticket: Ticket,
        /// By whom, with which grace.
        ask: StopAsk,
    },
    /// The holder of an external task says something.
    External {
        /// For the answer.
        ticket: Ticket,
        /// The task.
        id: TaskId,
        /// Which life of it is meant.
        incarnation: u32,
        /// What is said.
        word: ExternalWord,
    },
    /// The callback that cancels an external task is over.
    CallbackOver {
        /// The task.
        id: TaskId,
        /// The run.
        epoch: Epoch,
        /// Why it failed, if it did.
        failure: Option<Arc<str>>,
    },
    /// The hooks of a task that is about to settle are called now.
    HooksBegun {
        /// The task.
        id: TaskId,
        /// That of the call.
        turn: Seq,
    },
    /// The hooks that ran before a task settles are over.
    HooksOver {
        /// The task.
        id: TaskId,
        /// Which call is meant.
        turn: Seq,
        /// Why those failed that did.
        failures: Vec<Arc<str>>,
    },
    /// A hook failed that keeps nothing waiting.
    HookFailed {
        /// Its task, as it was recorded last.
        record: Arc<Record>,
        /// Which and why.
        why: Arc<str>,
    },
    /// The executors registered here have changed.
    Hosts(Hosts),
    /// The time of [`super::Supervisor::next_tick`] has come.
    Tick,
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a value.
    Done(Payload),
    /// With an error, a panic, or without a word.
    Failed(Fault),
    /// It wants to be resumed later.
    Suspended(Payload),
    /// It was dropped, as it was told to stop by force.
    Aborted,
}

/// What a body can say while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// How far it is; the newest one stays in the record.
    Progress(Payload),
    /// A piece of output.
    Output(Payload),
    /// A piece of output that the process keeps for its event.
    OutputKept {
        /// Its size as JSON.
        bytes: usize,
        /// How its JSON begins.
        head: Arc<str>,
        /// What the process keeps it under.
        ticket: u64,
    },
    /// An event of its own type.
    Emitted(Arc<str>, Payload),
}

/// What a batch of inputs led to.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Changed records; of several with one id the last one counts.
    pub records: Vec<Arc<Record>>,
    /// Settled records that are no longer kept.
    pub removed: Vec<TaskId>,
    /// The scopes that are closed, when that has changed.
    pub closed: Option<BTreeSet<Scope>>,
    /// New events, in the order of their numbers.
    pub events: Vec<Arc<Event>>,
    /// What to do after all of the above is durable (K4).
    pub effects: Vec<Effect>,
}

impl Step {
    /// Whether nothing has to be made durable.
    pub fn is_read_only(&self) -> bool {
        self.records.is_empty()
            && self.removed.is_empty()
            && self.events.is_empty()
            && self.closed.is_none()
    }
}

/// Something to do outside.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell the asker.
    Answer {
        /// Whose request.
        ticket: Ticket,
        /// The answer.
        reply: Reply,
    },
    /// Run a body.
    Start {
        /// The task.
        id: TaskId,
        /// The epoch of this run.
        epoch: Epoch,
        /// The number of the attempt, from 1 on.
        attempt: u32,
        /// Whether a failure of this attempt is final.
        is_last: bool,
        /// What it was resumed with.
        resume: Option<Payload>,
        /// The durable messages that no run has acknowledged: they are delivered again.
        messages: Option<Arc<Messages>>,
    },
    /// Ask the body to stop.
    Signal {
        /// The task.
        id: TaskId,
        /// The run.
        epoch: Epoch,
        /// Why.
        stop: Arc<Stop>,
    },
    /// Drop the body.
    Abort {
        /// The task.
        id: TaskId,
        /// The run.
        epoch: Epoch,
    },
    /// Answer with [`Input::Active`].
    CheckIdle {
        /// The task.
        id: TaskId,
        /// The run.
        epoch: Epoch,
    },
    /// A question of the task was answered: wake the body that may wait for it.
    Answered(TaskId),
    /// Put a durable message into the inbox, if this run did not get it at its start.
    Deliver {
        /// The task.
        id: TaskId,
        /// The message.
        message: Box<KeptMessage>,
    },
    /// Tell the body that it was interrupted.
    Interrupt {
        /// The task.
        id: TaskId,
        /// The run.
        epoch: Epoch,
        /// Why and by whom.
        interrupt: Arc<Interrupt>,
    },
    /// Run the hooks of a task that is about to settle, and answer with [`Input::HooksBegun`]
    /// and [`Input::HooksOver`].
    BeforeSettle(HookCall),
    /// The task has settled: close its inbox.
    Close(TaskId),
    /// The task has settled and stopped: nothing of it is needed any more.
    Forget(TaskId),
}

// A cancel has one for each task of a tree, so what few of them carry is boxed.
const _: () = assert!(size_of::<Effect>() <= 88);

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To a spawn.
    Spawned(Result<Accepted, Refusal>),
    /// To a cancel or a shutdown.
    Cancelled(Box<CancelReport>),
    /// To a cancel of a task that was never accepted, or whose record is no longer kept.
    Unknown(TaskId),
    /// To a word about an external task.
    External(Result<(), ExternalRefusal>),
    /// To a resume.
    Resumed(Result<(), ResumeRefusal>),
    /// To a [`Input::Control`].
    Controlled(Controlled),
    /// To a question: the answer that was given before, if one was.
    Asked(Result<Option<Payload>, AskRefusal>),
    /// To an answer.
    Responded(Result<(), RespondRefusal>),
    /// To a durable message.
    Message(Result<(), MessageRefusal>),
    /// To an acknowledgement.
    Acknowledged(Result<(), AskRefusal>),
    /// To an interrupt.
    Interrupted(Result<(), InterruptRefusal>),
}

/// A task that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is new.
    New(TaskId),
    /// This one was asked for before: with the same key or id and the same spec, or it is in the
    /// same flight.
    Existing(TaskId),
}

/// Why a task was not taken. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The manager shuts down.
    Closing,
    /// This process takes tasks of executors only, and runs nothing.
    ProducerOnly,
    /// The body that asks is not the current run of its task.
    Stale,
    /// The id is that of a task which was asked differently, or has settled.
    DuplicateId(TaskId),
    /// The name is held by this live task.
    NameTaken(Name, TaskId),
    /// The key is bound to this task, which was asked differently: in this wish, like `timeout` or
    /// `label run`.
    KeyConflict(TaskId, String),
    /// No such parent is known.
    UnknownParent(TaskId),
    /// The parent takes no more children: it was asked to stop, or its body is over.
    ParentClosing(TaskId),
    /// The parent is between two attempts: it takes children again when the next one starts.
    ParentRetries(TaskId),
    /// The parent belongs to another scope.
    ParentElsewhere(TaskId, Scope),
    /// No such dependency is known.
    UnknownDependency(TaskId),
    /// The dependency is above the task, or cannot settle before one that is: both would wait for
    /// ever.
    DependencyAbove(TaskId),
    /// No limit class of that name is configured.
    UnknownLimit(ClassName),
    /// The scope is closed.
    ScopeClosed(Scope),
    /// The run that it says it belongs to was cancelled.
    RunCancelled(Arc<str>),
    /// A limit class is full and refuses.
    LimitReached(ClassFull),
    /// A bound of the manager: which, and its value.
    Bound(&'static str, usize),
}

/// Why a task was not resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeRefusal {
    /// No such task is known.
    Unknown(TaskId),
    /// It is not suspended but in this state.
    NotSuspended(State),
    /// Somebody else resumed it, and it has not started yet.
    AlreadyResumed(TaskId),
    /// A limit class is full, and the caller did not want it to wait.
    Full(ClassFull),
}

/// Why a question was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskRefusal {
    /// The run that asks is not the current one of its task.
    Stale,
    /// The task was asked to stop.
    Stopping,
    /// It has asked as many questions as it may: this many.
    TooMany(usize),
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RespondRefusal {
    /// No such task is known.
    Unknown(TaskId),
    /// The task has asked nothing by this key.
    NoSuchQuestion,
    /// Somebody else has answered.
    AlreadyAnswered,
    /// The task has ended, or was cancelled, or its body is over: nobody reads an answer.
    Ended(State),
}

/// Why a body was not interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptRefusal {
    /// No such task is known.
    Unknown(TaskId),
    /// No body of it runs, or it was asked to stop, which goes first.
    NotRunning(State),
}
