//! Which tasks a request to stop means, how fast it is, and what is told of its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::id::{Scope, TaskId};
use super::super::record::{Cause, Requester, Stop};
use super::super::time::Timestamp;

/// Which tasks a cancel means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This task; its children as their `on_parent_end` says.
    One(TaskId),
    /// This task and everything below it.
    Tree(TaskId),
    /// As `One`, if this scope may cancel the task.
    OneFor(Scope, TaskId),
    /// As `Tree`, if this scope may cancel the task.
    TreeFor(Scope, TaskId),
    /// Every task that this scope may cancel, with everything below it.
    Visible(Scope),
    /// Every tree that nobody refers to and that has none of these tasks.
    Unreferenced(BTreeSet<TaskId>),
    /// Every task of a scope.
    Scope(Scope),
    /// Every task with this label `run`, with everything below it; late ones are refused.
    Run(Arc<str>),
    /// Every task.
    All,
}

impl Target {
    /// The task that is meant, alone or with everything below it.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::One(id) | Self::Tree(id) | Self::OneFor(_, id) | Self::TreeFor(_, id) => {
                Some(*id)
            }
            Self::Visible(_)
            | Self::Unreferenced(_)
            | Self::Scope(_)
            | Self::Run(_)
            | Self::All => None,
        }
    }
}

/// Why, by whom and how fast to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopAsk {
    /// Why, in words.
    pub reason: Arc<str>,
    /// Who asks.
    pub by: Requester,
    /// Time until force; `None` leaves it to each task.
    pub grace: Option<Duration>,
    /// Whether tasks settle at once, with force and without waiting for their bodies.
    pub now: bool,
}

/// What became of the tasks that a cancel meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CancelReport {
    /// Settled as cancelled, their bodies stopped.
    pub cancelled: Vec<TaskId>,
    /// Settled otherwise: before the request, or by their own word during the grace.
    pub already_ended: Vec<TaskId>,
    /// Settled, but a body did not stop in time and may still run; it is fenced and keeps its slot.
    pub abandoned: Vec<TaskId>,
}

impl CancelReport {
    /// How many tasks it is about.
    pub fn len(&self) -> usize {
        self.cancelled.len() + self.already_ended.len() + self.abandoned.len()
    }

    /// Whether no task was meant.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl StopAsk {
    /// Time until force, as far as the request says.
    pub(super) fn grace(&self) -> Option<Duration> {
        if self.now {
            return Some(Duration::ZERO);
        }
        self.grace
    }

    /// The request as it is kept in a record.
    pub(super) fn decide(&self, cause: Cause, at: Timestamp, grace: Duration) -> Stop {
        let (reason, by) = (Arc::clone(&self.reason), self.by.clone());
        Stop {
            cause,
            reason,
            by,
            at,
            grace_until: at.after(grace),
        }
    }
}
