//! The durable shape of a task: what was asked, where it stands, how it ended.
//!
//! # Invariants
//! 1. `outcome` is there exactly when `state` is terminal, and then neither changes again.
//! 2. `seq` is the number of the last event that changed this record.
//!
//! *Not here*: bytes (a store's business), the state machine (`state`).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::Budgets;
use super::filter::Date;
use super::grant::Grants;
use super::id::{Epoch, Scope, Seq, TaskId};
use super::message::Messages;
use super::question::Questions;
use super::rarely::{Ordinary, Rarely};
use super::spec::{Payload, Spec};
use super::state::State;
use super::time::Timestamp;

/// A task as stores keep it and queries show it.
///
/// It reads like one struct: what is true of few tasks stands in [`Facts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its identity.
    pub id: TaskId,
    /// What was asked.
    pub spec: Arc<Spec>,
    /// The task it hangs below now; `None` for a root, also one that was detached.
    pub parent: Option<TaskId>,
    /// The task whose body asked for it, or the parent it was given: provenance, never changed.
    pub spawned_by: Option<TaskId>,
    /// The root of its tree.
    pub root: TaskId,
    /// How many tasks are above it.
    pub depth: u32,
    /// Where it is in its life.
    pub state: State,
    /// What it waits for, while pending, waiting or suspended.
    pub wait: Option<Wait>,
    /// Which life of its id this is: 1, and one more each time that the id is used again.
    pub incarnation: u32,
    /// The fencing number of its newest run; it goes on counting through all lives of the id.
    pub epoch: Epoch,
    /// How many attempts have started; a resumed attempt counts once.
    pub attempt: u32,
    /// How often its policy has restarted it.
    pub restarts: u32,
    /// Whether a body of it may still run.
    pub body: Body,
    /// Whether it was taken above a full limit and runs without a slot of those that allow it.
    pub inline: bool,
    /// Why and by whom it was asked to stop.
    pub stop: Option<Arc<Stop>>,
    /// Its body's last word, while live children or a hook keep it from settling.
    pub conclusion: Option<Conclusion>,
    /// How it ended.
    pub outcome: Option<Arc<Outcome>>,
    /// Its newest progress note.
    pub progress: Option<Payload>,
    /// Messages that were accepted for it and never read.
    pub undelivered: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its newest attempt started.
    pub started_at: Option<Timestamp>,
    /// Since when it has waited for a slot, or to be resumed.
    pub waits_since: Option<Timestamp>,
    /// When it settled.
    pub ended_at: Option<Timestamp>,
    /// How many events it has had: the number of its newest one among its own.
    pub events: u64,
    /// The last event that changed this record.
    pub seq: Seq,
    /// Everything else.
    pub facts: Rarely<Facts>,
}

/// What is known of few tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When that was, as far as it counts for its policy.
    pub restarted_at: Vec<Timestamp>,
    /// What it and everything below it may use, and have used.
    pub budgets: Budgets,
    /// The other scopes that may see it, talk to it or cancel it; `None` when there are none.
    pub grants: Option<Arc<Grants>>,
    /// By whom it was given up first, when somebody asked for that.
    pub abandon: Option<Arc<AbandonRequest>>,
    /// What its next start hands to the body, once it was resumed.
    pub resume: Option<Payload>,
    /// What it was suspended with: from then on until the run that it is resumed for is over.
    pub suspension: Option<Payload>,
    /// What its bodies asked others, with the answers; `None` when they asked nothing.
    pub questions: Option<Arc<Questions>>,
    /// Durable messages that no body has acknowledged; `None` when there are none.
    pub messages: Option<Arc<Messages>>,
    /// What an external task is called elsewhere; set once.
    pub external_ref: Option<Arc<str>>,
    /// When it was last suspended.
    pub suspended_at: Option<Timestamp>,
}

impl Facts {
    /// What the start that follows hands to the body. One that hands it nothing ends a suspension.
    pub(super) fn take_resume(&mut self) -> Option<Payload> {
        let resume = self.resume.take();
        if resume.is_none() {
            self.suspension = None;
        }
        resume
    }
}

static ORDINARY: Facts = Facts {
    restarted_at: Vec::new(),
    budgets: Budgets::new(),
    grants: None,
    abandon: None,
    resume: None,
    suspension: None,
    questions: None,
    messages: None,
    external_ref: None,
    suspended_at: None,
};

impl Ordinary for Facts {
    fn ordinary() -> &'static Self {
        &ORDINARY
    }
}

impl Deref for Record {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for Record {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

impl Record {
    /// Who owns it.
    pub fn scope(&self) -> &Scope {
        &self.spec.scope
    }

    /// That date, once it has come.
    pub fn date(&self, date: Date) -> Option<Timestamp> {
        match date {
            Date::Created => Some(self.created_at),
            Date::Started => self.started_at,
            Date::Suspended => self.suspended_at,
            Date::Ended => self.ended_at,
        }
    }

    /// Whether it settled while a body of it may still run.
    pub fn is_abandoned(&self) -> bool {
        self.state.is_terminal() && self.body == Body::Live
    }

    /// Whether it still holds its name, key and slot: not settled, or not stopped.
    pub fn is_held(&self) -> bool {
        !self.state.is_terminal() || self.body == Body::Live
    }
}

/// Whether a body may still be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Body {
    /// None runs.
    Absent,
    /// The newest epoch's body runs.
    Live,
}

/// What a task that does not run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Wait {
    /// Pending until this many dependencies have completed.
    After(u32),
    /// Pending until its parent has started.
    ParentStart,
    /// Pending until its executor is registered here.
    Executor,
    /// Pending until its limit classes have room.
    Slot,
    /// Pending until this time: the delay before another attempt.
    Backoff(Timestamp),
    /// Waiting: its body awaits this task.
    Task(TaskId),
    /// Waiting: its body awaits something of its own that it named.
    Parked,
    /// Waiting: its body awaits an answer to one of the record's questions.
    Answer,
    /// Waiting: its body is over and children live.
    Children,
    /// Waiting: its body and children are over and a hook runs before it settles.
    Hook,
    /// Suspended with this payload.
    Resume(Payload),
}

impl Wait {
    /// What is waited for, in one word, on every wire and in filters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::After(_) => "after",
            Self::ParentStart => "parent_start",
            Self::Executor => "executor",
            Self::Slot => "slot",
            Self::Backoff(_) => "backoff",
            Self::Task(_) => "task",
            Self::Parked => "parked",
            Self::Children => "children",
            Self::Hook => "hook",
            Self::Answer => "answer",
            Self::Resume(_) => "resume",
        }
    }

    /// Every such word.
    pub const NAMES: &[&str] = &[
        "after",
        "parent_start",
        "executor",
        "slot",
        "backoff",
        "task",
        "parked",
        "answer",
        "children",
        "hook",
        "resume",
    ];
}

/// What a body's end leads to once no child lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Conclusion {
    /// The task settles so.
    Settle(Arc<Outcome>),
    /// Another attempt follows after this delay.
    Retry(Duration),
}

/// A request to stop: the first one decided, or a cancel that replaced a timeout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// What kind of request it is.
    pub cause: Cause,
    /// Why, in the words of who asked.
    pub reason: Arc<str>,
    /// Who asked.
    pub by: Requester,
    /// When it was decided.
    pub at: Timestamp,
    /// When force may follow.
    pub grace_until: Timestamp,
}

/// A request to give up on a task that is being stopped: its body is no longer waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbandonRequest {
    /// Why, in the words of who asked.
    pub reason: Arc<str>,
    /// Who asked.
    pub by: Requester,
    /// When it was decided.
    pub at: Timestamp,
}

/// What kind of request to stop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Cause {
    /// Somebody asked for a cancel.
    Asked,
    /// A task above it was cancelled as a tree.
    Ancestor(TaskId),
    /// Its parent ended.
    ParentEnded(TaskId),
    /// A task it comes after did not complete.
    Dependency(TaskId),
    /// The manager shuts down.
    Shutdown,
    /// Its run was cancelled.
    Run,
    /// A budget of it was used up; the record says which.
    Budget,
    /// A time limit was hit.
    Timeout(Limit),
}

impl Cause {
    /// Whether a time limit, not a person or another task, asked.
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether another attempt may follow: only after a limit of one attempt.
    pub const fn allows_retry(self) -> bool {
        matches!(
            self,
            Self::Timeout(Limit::Attempt | Limit::Idle | Limit::Liveness | Limit::External)
        )
    }
}

/// Which time limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Limit {
    /// The time of one attempt.
    Attempt,
    /// The time without activity.
    Idle,
    /// None of time: the host found its body stuck.
    Liveness,
    /// The time without a word about an external task.
    External,
    /// The time of the whole task, over all attempts.
    Lifetime,
    /// The time of waiting for a slot.
    Queue,
    /// The time of being suspended.
    Suspension,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 7] = [
        Self::Attempt,
        Self::Idle,
        Self::Liveness,
        Self::External,
        Self::Lifetime,
        Self::Queue,
        Self::Suspension,
    ];

    /// The name used on every wire and page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Idle => "idle",
            Self::Liveness => "liveness",
            Self::External => "external",
            Self::Lifetime => "lifetime",
            Self::Queue => "queue",
            Self::Suspension => "suspension",
        }
    }

    /// What happened, in words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Attempt => "the time of the attempt is over",
            Self::Idle => "nothing happened for too long",
            Self::Liveness => "its body was found stuck",
            Self::External => "nothing was heard of it for too long",
            Self::Lifetime => "the time of the whole task is over",
            Self::Queue => "it waited for a slot for too long",
            Self::Suspension => "it was suspended for too long",
        }
    }
}

/// Who asked for a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Requester {
    /// The program that holds the manager.
    Host,
    /// The body of this task.
    Task(TaskId),
    /// understory itself.
    Manager,
    /// A foreign token that the task was linked to.
    Token,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Outcome {
    /// Its body returned this value.
    Completed(Payload),
    /// Its last attempt failed so.
    Failed(Fault),
    /// This limit ended it; a value that came during the grace is kept.
    TimedOut {
        /// The limit.
        limit: Limit,
        /// A value that its body still returned.
        late_result: Option<Payload>,
    },
    /// It was cancelled, for the reason in the record's `stop`.
    Cancelled {
        /// A value that its body still returned.
        late_result: Option<Payload>,
    },
    /// Nobody can know; this is what is known.
    Interrupted(Arc<str>),
}

impl Outcome {
    /// How many bytes it holds of what a body wrote.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Completed(value) => value.as_json().len(),
            Self::TimedOut { late_result, .. } | Self::Cancelled { late_result } => late_result
                .as_ref()
                .map_or(0, |value| value.as_json().len()),
            Self::Failed(fault) => fault.message.len(),
            Self::Interrupted(evidence) => evidence.len(),
        }
    }

    /// The terminal state of this outcome.
    pub const fn state(&self) -> State {
        match self {
            Self::Completed(_) => State::Completed,
            Self::Failed(_) => State::Failed,
            Self::TimedOut { .. } => State::TimedOut,
            Self::Cancelled { .. } => State::Cancelled,
            Self::Interrupted(_) => State::Interrupted,
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What kind of failure it was.
    pub kind: FaultKind,
    /// What the body said, with its causes; at most 4 KiB.
    pub message: Arc<str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FaultKind::Error
            | FaultKind::Permanent
            | FaultKind::Timeout
            | FaultKind::RestartedTooOften => f.write_str(&self.message),
            FaultKind::Panic => write!(f, "panicked: {}", self.message),
            FaultKind::Lost => write!(f, "lost: {}", self.message),
        }
    }
}

/// What kind of failure ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum FaultKind {
    /// The body returned an error.
    Error,
    /// The body returned an error that no retry can mend.
    Permanent,
    /// The body panicked.
    Panic,
    /// The body went away without a word.
    Lost,
    /// A time limit ended the attempt.
    Timeout,
    /// Its policy would restart it, and has done so too often of late.
    RestartedTooOften,
}
