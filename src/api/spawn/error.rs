//! Why a task was not taken.
//!
//! *Not here*: asking for it (`spawn`).

use serde_json::Value;

use super::super::checks::Mismatch;
use crate::kernel::{ClassFull, InvalidText, Kind, Refusal, TaskId};

/// Why a task was not taken. Except for [`SpawnError::Unknown`], nothing happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// A name or other text is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// It cannot be taken as it was asked; asking the same again will fail again.
    #[error("{}", describe(.0))]
    Refused(Refusal),
    /// A limit class is full and refuses; try again when a task of that class has ended.
    #[error("the limit of {} is full: {} of {} in use, {} waiting; wait for one to end or raise it",
        .0.class, .0.in_use, .0.size, .0.waiting)]
    LimitReached(ClassFull),
    /// No executor is registered for the kind in this scope; the input comes back.
    #[error("no executor for kind {kind} is registered; register it on the builder")]
    NoExecutor {
        /// The kind.
        kind: Kind,
        /// The input that was to be run.
        input: Value,
    },
    /// The kind does not take this input, which comes back: see
    /// [`Builder::checks`](crate::Builder::checks).
    #[error("kind {kind} does not take this input: {why}")]
    InvalidInput {
        /// The kind.
        kind: Kind,
        /// What is wrong with it, and where.
        why: Mismatch,
        /// The input.
        input: Value,
    },
    /// The manager takes no work now: it was shut down, has failed, or its store takes nothing.
    #[error("the manager takes no work: {0}")]
    Unavailable(&'static str),
    /// The manager was started anew before it answered, so the task may or may not exist. Ask for
    /// its id, or ask again with the same key.
    #[error("the manager was started anew before it answered; ask whether task {0} exists")]
    Unknown(TaskId),
}

impl From<Refusal> for SpawnError {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::LimitReached(full) = refusal {
            return Self::LimitReached(full);
        }
        Self::Refused(refusal)
    }
}

fn describe(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Closing => "the manager shuts down".to_owned(),
        Refusal::ProducerOnly => "this process takes tasks of executors only".to_owned(),
        Refusal::Stale => "the attempt that asks is over".to_owned(),
        Refusal::DuplicateId(id) => format!("the id {id} is that of another task"),
        Refusal::NameTaken(name, holder) => {
            format!("the name {name} is held by task {holder}; choose another or wait for its end")
        }
        Refusal::KeyConflict(task, wish) => {
            format!("the key is bound to task {task}, which differs in its {wish}")
        }
        Refusal::UnknownParent(parent) => format!("no parent {parent} is known"),
        Refusal::ParentClosing(parent) => format!("parent {parent} takes no more children"),
        Refusal::ParentRetries(parent) => format!(
            "parent {parent} is between two attempts; ask again when the next one has started"
        ),
        Refusal::ParentElsewhere(parent, scope) => format!("parent {parent} is in scope {scope}"),
        Refusal::UnknownDependency(task) => format!("no task {task} is known to come after"),
        Refusal::DependencyAbove(task) => format!("{task} is above the task and waits for it"),
        Refusal::UnknownLimit(name) => {
            format!("no limit {name} is configured; add it with Builder::limit")
        }
        Refusal::ScopeClosed(scope) => {
            format!("scope {scope} is closed; reopen it or use another scope")
        }
        Refusal::RunCancelled(run) => {
            format!("run {run} was cancelled and takes no more tasks; use another run")
        }
        Refusal::LimitReached(full) => format!("the limit of {} is full", full.class),
        Refusal::Bound(what, max) if what.ends_with("of an input") => {
            format!("at most {max} {what} are taken; ask with a smaller one")
        }
        Refusal::Bound(what, max) => {
            format!("at most {max} {what} are allowed, and that many there are; ask for fewer")
        }
    }
}
