//! The state machine of a task: one total function from state and trigger to state.
//!
//! # Invariants
//! 1. A state changes nowhere else.
//! 2. A terminal state never changes.
//!
//! *Not here*: what follows from a change (`supervisor`), the facts beside the state
//! (`supervisor/task.rs`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum State {
    /// Accepted, not running: it waits for dependencies, its parent, a slot or a delay.
    Pending,
    /// Its body runs.
    Running,
    /// It awaits a child or an answer, or its body is over and its children or a hook are not.
    Waiting,
    /// Its body is over for now and `resume` continues it.
    Suspended,
    /// It was asked to stop, by a cancel or a timeout, and has not settled yet.
    CancelRequested,
    /// Terminal: the body returned a value.
    Completed,
    /// Terminal: the body returned an error or panicked, and no attempt is left.
    Failed,
    /// Terminal: a time limit ended it.
    TimedOut,
    /// Terminal: it was cancelled.
    Cancelled,
    /// Terminal: its process died or drained and the outcome cannot be known.
    Interrupted,
}

impl State {
    /// Every state, in the order of the table in `ARCHITECTURE.md`.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Suspended,
        Self::CancelRequested,
        Self::Completed,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// Whether the task is settled.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Interrupted
        )
    }

    /// Whether the task ended without its value and without a cancel: it failed, timed out or was
    /// interrupted.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Interrupted)
    }

    /// The name used on every wire and page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Suspended => "suspended",
            Self::CancelRequested => "cancel_requested",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The only place where a task's state changes.
    ///
    /// `None` means that this trigger cannot happen in this state: the caller treats it as stale
    /// and changes nothing.
    #[must_use]
    pub const fn next(self, trigger: Trigger) -> Option<Self> {
        use State as S;
        use Trigger as T;
        match (self, trigger) {
            (S::Pending, T::Start) | (S::Waiting, T::Unpark) => Some(S::Running),
            (S::Running, T::Park)
            | (S::Pending | S::Running | S::Waiting | S::Suspended, T::AwaitChildren) => {
                Some(S::Waiting)
            }
            (S::Running | S::Waiting, T::Suspend) => Some(S::Suspended),
            (S::Suspended, T::Resume)
            | (S::Running | S::Waiting | S::CancelRequested, T::Retry) => Some(S::Pending),
            (S::CancelRequested, T::AwaitChildren)
            | (
                S::Pending | S::Running | S::Waiting | S::Suspended | S::CancelRequested,
                T::AskStop,
            ) => Some(S::CancelRequested),
            (S::Running | S::Waiting | S::CancelRequested, T::Complete) => Some(S::Completed),
            (S::Pending | S::Running | S::Waiting | S::CancelRequested, T::Fail) => Some(S::Failed),
            (S::Pending | S::Suspended | S::CancelRequested, T::TimeOut) => Some(S::TimedOut),
            (S::Pending | S::Suspended | S::CancelRequested, T::Cancel) => Some(S::Cancelled),
            (
                S::Pending | S::Running | S::Waiting | S::Suspended | S::CancelRequested,
                T::Interrupt,
            ) => Some(S::Interrupted),
            (
                S::Pending | S::Running | S::Waiting | S::Suspended | S::CancelRequested,
                T::Start
                | T::Park
                | T::Unpark
                | T::Suspend
                | T::Resume
                | T::Retry
                | T::Complete
                | T::Fail
                | T::TimeOut
                | T::Cancel,
            )
            | (S::Completed | S::Failed | S::TimedOut | S::Cancelled | S::Interrupted, _) => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can move a task from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// It is ready and admitted.
    Start,
    /// Its body awaits a child or an answer.
    Park,
    /// Its body goes on.
    Unpark,
    /// Its body is over, or lost with its process, and children live or a hook runs.
    AwaitChildren,
    /// Its body ended by suspending.
    Suspend,
    /// Somebody resumed it.
    Resume,
    /// Its attempt ended badly and another one is due.
    Retry,
    /// A cancel or a timeout asks it to stop.
    AskStop,
    /// It settles with a value.
    Complete,
    /// It settles with a failure.
    Fail,
    /// It settles by a time limit.
    TimeOut,
    /// It settles by a cancel.
    Cancel,
    /// It settles with an unknown outcome.
    Interrupt,
}

impl Trigger {
    /// Every trigger, for exhaustive proofs.
    pub const ALL: [Self; 13] = [
        Self::Start,
        Self::Park,
        Self::Unpark,
        Self::AwaitChildren,
        Self::Suspend,
        Self::Resume,
        Self::Retry,
        Self::AskStop,
        Self::Complete,
        Self::Fail,
        Self::TimeOut,
        Self::Cancel,
        Self::Interrupt,
    ];
}
