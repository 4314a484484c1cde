//! The lifecycle event: one fact about one task, with its number in the log.
//!
//! # Invariants
//! 1. Numbers are given in one place (`supervisor`), from 1 on, without a gap.
//! 2. There is exactly one `Settled` per life of a task's id.
//! 3. `What::NAMES` has the name of every variant.
//!
//! *Not here*: who is told (`feed`), which JSON it becomes (`api/json.rs`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::budget::Charge;
use super::grant::Grant;
use super::id::{Key, Scope, Seq, TaskId};
use super::message::MessageId;
use super::question::{Answer, Interrupt};
use super::record::{AbandonRequest, Fault, Outcome, Stop, Wait};
use super::spec::{Payload, Spec};
use super::state::State;
use super::time::Timestamp;

/// One lifecycle fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the log.
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// The task it is about.
    pub task: TaskId,
    /// Which life of that id it is about, from 1 on.
    pub incarnation: u32,
    /// Its number among the events of that task, from 1 on.
    pub task_seq: u64,
    /// The root of the task's tree.
    pub root: TaskId,
    /// What that task was asked to be: scope, name, kind, labels.
    pub spec: Arc<Spec>,
    /// The number of the attempt; zero before the first.
    pub attempt: u32,
    /// The state after the event.
    pub state: State,
    /// What happened.
    pub what: What,
}

/// What happened to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum What {
    /// It was accepted; if it cannot start at once, this is what it waits for.
    Accepted(Option<Wait>),
    /// What a pending task waits for has changed.
    Pending(Wait),
    /// An attempt started.
    Started,
    /// It waits, for this.
    Waiting(Wait),
    /// Its body goes on.
    Unparked,
    /// Its body ended by suspending, with this payload.
    Suspended(Payload),
    /// It was resumed and waits for a slot.
    Resumed,
    /// It was asked to stop.
    StopAsked(Arc<Stop>),
    /// Its body is being dropped by force, as the grace is over.
    Aborted,
    /// Somebody gave up on its body, which is no longer waited for.
    AbandonAsked(Arc<AbandonRequest>),
    /// An attempt failed and another one follows.
    AttemptFailed(Fault),
    /// Its body ended, and its policy starts it again.
    Restarting {
        /// How often it has been restarted with this one.
        restarts: u32,
        /// How the body failed; `None` when it returned a value.
        fault: Option<Fault>,
    },
    /// It reported progress.
    Progress(Payload),
    /// It wrote a piece of output.
    Output(Payload),
    /// It wrote a piece of output that is too large for an event.
    OutputKept {
        /// Its size as JSON.
        bytes: usize,
        /// How its JSON begins.
        head: Arc<str>,
        /// What the process keeps it under.
        ticket: u64,
    },
    /// It emitted an event of its own type.
    Emitted {
        /// The type that the body gave.
        label: Arc<str>,
        /// The body's payload.
        payload: Payload,
    },
    /// Its body asked others something.
    Asked {
        /// The key of the question.
        key: Key,
        /// The question.
        question: Payload,
    },
    /// A question of it was answered.
    Answered {
        /// The key of the question.
        key: Key,
        /// The answer.
        answer: Arc<Answer>,
    },
    /// It settles, and nobody has answered these questions.
    Unanswered(Arc<[Key]>),
    /// A durable message was taken for it. What it says stands in the record.
    MessageKept {
        /// The message.
        message: MessageId,
        /// The task whose body sent it; `None` for the host.
        from: Option<TaskId>,
    },
    /// Its body is done with a durable message.
    MessageAcknowledged(MessageId),
    /// Its body was interrupted. It may take note of it; nothing else follows.
    InterruptAsked(Arc<Interrupt>),
    /// An external task is called so elsewhere.
    Referred(Arc<str>),
    /// The holder of an external task let go of it.
    Unregistered,
    /// The callback that was to cancel an external task failed.
    CallbackFailed(Arc<str>),
    /// A hook of it failed: which and why. Nothing else follows.
    HookFailed(Arc<str>),
    /// It became a root of its scope, as its parent ended.
    Detached,
    /// It settled.
    Settled {
        /// How.
        outcome: Arc<Outcome>,
        /// Messages accepted for it that nobody read.
        undelivered: u32,
        /// Whether its body may still run.
        abandoned: bool,
    },
    /// Messages were left in the inbox of a task that settled without a body.
    Undelivered(u32),
    /// The body of an abandoned task has stopped; its slot and name are free.
    BodyStopped,
    /// It was moved to another scope.
    Transferred {
        /// Where it was.
        from: Scope,
        /// Where it is now.
        to: Scope,
    },
    /// Another scope got a grant of it, or another one than it had.
    Granted {
        /// Who.
        to: Scope,
        /// How far it may go.
        grant: Grant,
    },
    /// A scope lost its grant of it.
    Revoked {
        /// Who.
        from: Scope,
    },
    /// Its budget was charged, by its own body or by one below it.
    Charged(Arc<Charge>),
    /// A charge did not fit its budget: it and everything below it is stopped.
    BudgetExhausted(Arc<Charge>),
}

impl What {
    /// The type of every event, in the order of the variants.
    pub const NAMES: &[&str] = &[
        "accepted",
        "pending",
        "started",
        "waiting",
        "unparked",
        "suspended",
        "resumed",
        "stop_asked",
        "aborted",
        "abandon_asked",
        "attempt_failed",
        "restarting",
        "progress",
        "output",
        "output_kept",
        "emitted",
        "asked",
        "answered",
        "unanswered",
        "message_kept",
        "message_acknowledged",
        "interrupt_asked",
        "referred",
        "unregistered",
        "callback_failed",
        "hook_failed",
        "detached",
        "settled",
        "undelivered",
        "body_stopped",
        "transferred",
        "granted",
        "revoked",
        "charged",
        "budget_exhausted",
    ];

    /// How many bytes it holds of what others wrote: payloads, answers, reasons, failures. Names
    /// alone are short and do not count.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Suspended(payload)
            | Self::Progress(payload)
            | Self::Output(payload)
            | Self::Emitted { payload, .. }
            | Self::Asked {
                question: payload, ..
            } => payload.as_json().len(),
            Self::Answered { answer, .. } => answer.value.as_json().len(),
            Self::Unanswered(keys) => keys.iter().map(|key| key.as_str().len()).sum(),
            Self::OutputKept { head: text, .. }
            | Self::Referred(text)
            | Self::CallbackFailed(text)
            | Self::HookFailed(text) => text.len(),
            Self::StopAsked(stop) => stop.reason.len(),
            Self::AbandonAsked(ask) => ask.reason.len(),
            Self::InterruptAsked(interrupt) => interrupt.reason.len(),
            Self::AttemptFailed(fault) => fault.message.len(),
            Self::Restarting { fault, .. } => fault.as_ref().map_or(0, |fault| fault.message.len()),
            Self::Settled { outcome, .. } => outcome.payload_bytes(),
            Self::Accepted(_)
            | Self::Pending(_)
            | Self::Started
            | Self::Waiting(_)
            | Self::Unparked
            | Self::Resumed
            | Self::Aborted
            | Self::MessageKept { .. }
            | Self::MessageAcknowledged(_)
            | Self::Unregistered
            | Self::Detached
            | Self::Undelivered(_)
            | Self::BodyStopped
            | Self::Transferred { .. }
            | Self::Granted { .. }
            | Self::Revoked { .. }
            | Self::Charged(_)
            | Self::BudgetExhausted(_) => 0,
        }
    }

    /// The type of the event on every wire and in filters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Pending(_) => "pending",
            Self::Started => "started",
            Self::Waiting(_) => "waiting",
            Self::Unparked => "unparked",
            Self::Suspended(_) => "suspended",
            Self::Resumed => "resumed",
            Self::StopAsked(_) => "stop_asked",
            Self::Aborted => "aborted",
            Self::AbandonAsked(_) => "abandon_asked",
            Self::AttemptFailed(_) => "attempt_failed",
            Self::Restarting { .. } => "restarting",
            Self::Progress(_) => "progress",
            Self::Output(_) => "output",
            Self::OutputKept { .. } => "output_kept",
            Self::Emitted { .. } => "emitted",
            Self::Asked { .. } => "asked",
            Self::Answered { .. } => "answered",
            Self::Unanswered(_) => "unanswered",
            Self::MessageKept { .. } => "message_kept",
            Self::MessageAcknowledged(_) => "message_acknowledged",
            Self::InterruptAsked(_) => "interrupt_asked",
            Self::Referred(_) => "referred",
            Self::Unregistered => "unregistered",
            Self::CallbackFailed(_) => "callback_failed",
            Self::HookFailed(_) => "hook_failed",
            Self::Detached => "detached",
            Self::Settled { .. } => "settled",
            Self::Undelivered(_) => "undelivered",
            Self::BodyStopped => "body_stopped",
            Self::Transferred { .. } => "transferred",
            Self::Granted { .. } => "granted",
            Self::Revoked { .. } => "revoked",
            Self::Charged(_) => "charged",
            Self::BudgetExhausted(_) => "budget_exhausted",
        }
    }
}
