//! Why a call did nothing, in words for who made it.
//!
//! # Invariants
//! 1. A text says what a model can do with the tools it has; never what a host would change.
//!
//! *Not here*: texts for hosts (the `Display` of each error of `api`).

use serde_json::json;

use super::{Rights, ToolError};
use crate::api::{
    InterruptError, Mismatch, RespondError, ResumeError, SendError, SpawnError, TaskRef, WaitError,
};
use crate::kernel::{ClassFull, LimitName, Refusal, State};

pub(super) fn unavailable() -> ToolError {
    ToolError::new(
        "unavailable",
        "no tasks are managed now; go on without them",
    )
}

pub(super) async fn of_spawn(error: &SpawnError, rights: &Rights) -> ToolError {
    match error {
        SpawnError::Invalid(error) => ToolError::invalid(error.to_string()),
        SpawnError::Refused(Refusal::UnknownLimit(name)) => {
            unknown_limit(name.as_str(), rights).await
        }
        SpawnError::Refused(refusal) => of_refusal(refusal),
        SpawnError::LimitReached(full) => limit_reached(full),
        SpawnError::NoExecutor { kind, .. } => {
            let message = format!("nothing here does work of kind {kind}; use another kind");
            ToolError::new("unknown_kind", message)
        }
        SpawnError::InvalidInput { why, .. } => mismatch("invalid_input", "the input", why),
        SpawnError::Unavailable(_) => unavailable(),
        SpawnError::Unknown(task) => {
            let message = format!("whether it was taken is unknown; task_read of {task} tells");
            ToolError {
                details: Some(json!({ "task": task.to_string() })),
                ..ToolError::new("unavailable", message)
            }
        }
    }
}

/// A wait that could not be.
pub(super) fn of_wait(error: &WaitError, rights: &Rights) -> ToolError {
    match error {
        WaitError::Subscribers(_) => ToolError::new(
            "too_many_waits",
            "too many wait at once now; task_read shows how a task stands, or try again later",
        ),
        WaitError::Gone(task) if rights.manager.get(*task).is_none() => {
            ToolError::not_found(&task.to_string())
        }
        WaitError::Gone(_)
        | WaitError::Failed { .. }
        | WaitError::Cancelled { .. }
        | WaitError::TimedOut { .. }
        | WaitError::Interrupted { .. }
        | WaitError::Decode { .. } => unavailable(),
    }
}

/// Something that tasks of a kind do not take.
fn mismatch(code: &'static str, what: &str, why: &Mismatch) -> ToolError {
    let message = format!("{what} is not what is expected: {why}");
    ToolError {
        details: Some(json!({ "path": why.path(), "reason": why.reason() })),
        ..ToolError::new(code, message)
    }
}

fn limit_reached(full: &ClassFull) -> ToolError {
    let message = format!(
        "{} is full: {} of {} in use, {} waiting; spawn it again when a task of it has ended, \
         which task_wait tells",
        full.class, full.in_use, full.size, full.waiting
    );
    ToolError {
        details: Some(json!({
            "limit": full.class.name(),
            "limit_of": full.class.sort(),
            "in_use": full.in_use,
            "size": full.size,
            "waiting": full.waiting,
        })),
        ..ToolError::new("limit_reached", message)
    }
}

async fn unknown_limit(name: &str, rights: &Rights) -> ToolError {
    let classes = rights.scope_ref().capacity().await.unwrap_or_default();
    let mut known = Vec::new();
    for class in classes {
        if let LimitName::Named(name) = class.class {
            known.push(name.to_string());
        }
    }
    let message = if known.is_empty() {
        format!("there is no limit {name:?}, nor any other; leave limits out")
    } else {
        let known = known.join(", ");
        format!("there is no limit {name:?}; there are: {known}. Name one of them, or none")
    };
    ToolError {
        details: Some(json!({ "limit": name, "limits": known })),
        ..ToolError::new("unknown_limit", message)
    }
}

fn of_refusal(refusal: &Refusal) -> ToolError {
    let message = match refusal {
        Refusal::Closing | Refusal::ProducerOnly => return unavailable(),
        Refusal::Stale => "you were stopped, and start nothing more; come to an end".to_owned(),
        Refusal::DuplicateId(task) => format!("task {task} was asked for already"),
        Refusal::NameTaken(name, holder) => {
            format!("task {holder} has the name {name}; choose another name or wait for its end")
        }
        Refusal::KeyConflict(task, wish) => format!(
            "task {task} was asked for with that key and differs in its {wish}; use another key, \
             or ask the same for the same task"
        ),
        Refusal::UnknownParent(parent) => {
            format!("no task {parent} is known; leave parent out or name a live task")
        }
        Refusal::ParentClosing(parent) => format!(
            "task {parent} takes no more tasks below it; leave parent out or name another task"
        ),
        Refusal::ParentRetries(parent) => format!(
            "task {parent} is between two attempts and takes tasks again with the next one; ask \
             again then, leave parent out or name another task"
        ),
        Refusal::ParentElsewhere(parent, _) => {
            format!("task {parent} was moved elsewhere; leave parent out or name another task")
        }
        Refusal::UnknownDependency(task) => format!("no task {task} is known to come after"),
        Refusal::DependencyAbove(task) => format!("{task} is above the task and waits for it"),
        Refusal::UnknownLimit(name) => format!("there is no limit {name}; name another, or none"),
        Refusal::ScopeClosed(_) => "this conversation was closed and takes no tasks".to_owned(),
        Refusal::RunCancelled(_) => "this run was cancelled and takes no more tasks".to_owned(),
        Refusal::LimitReached(full) => return limit_reached(full),
        Refusal::Bound(what, max) => format!(
            "at most {max} {what} are allowed, and that many there are; ask for fewer, or wait \
             until tasks have ended"
        ),
    };
    ToolError::new("refused", message)
}

/// A message that nobody took.
pub(super) fn of_send(error: &SendError, task: &TaskRef, to: &str) -> ToolError {
    let id = task.id();
    let (code, message) = match error {
        SendError::NoSuchTask { .. } => return ToolError::not_found(to),
        SendError::Ended { .. } => {
            let state = task.state();
            let status = state.map(State::as_str);
            let message = if state.is_some_and(State::is_terminal) {
                format!("task {id} has ended and reads no more; task_read shows how")
            } else {
                format!("task {id} is at its end and reads no more; task_wait tells how it ends")
            };
            return ToolError {
                details: Some(json!({ "id": id.to_string(), "status": status })),
                ..ToolError::new("ended", message)
            };
        }
        SendError::Full { capacity, .. } => (
            "inbox_full",
            format!("{capacity} messages wait for task {id}; send it again when it has read"),
        ),
        SendError::Mismatch { why, .. } => {
            return mismatch("invalid_message", "the message", why);
        }
        SendError::Denied { .. } => ("refused", format!("you may see task {id}, not talk to it")),
        SendError::NoInbox { .. } => ("refused", format!("task {id} reads no messages")),
        SendError::TooLarge { bytes_max, .. } => (
            "refused",
            format!("the message has more than {bytes_max} bytes of JSON; send less"),
        ),
        SendError::Gone { .. } | SendError::Unknown { .. } => ("unavailable", error.to_string()),
        SendError::Encode(error) => (
            "refused",
            format!("the message cannot be written as JSON: {error}"),
        ),
    };
    ToolError::new(code, message)
}

/// A suspended task that does not go on.
pub(super) fn of_resume(error: &ResumeError, id: &str) -> ToolError {
    let message = match error {
        ResumeError::Unknown(_) => return ToolError::not_found(id),
        ResumeError::NotSuspended { state } => {
            return ToolError {
                details: Some(json!({ "status": state.as_str() })),
                ..ToolError::new(
                    "not_suspended",
                    "it waits for nothing; task_read shows its state",
                )
            };
        }
        ResumeError::Denied(task) => format!("you may see task {task}, not resume it"),
        ResumeError::AlreadyResumed(task) => format!("task {task} goes on already"),
        ResumeError::LimitReached(full) => return limit_reached(full),
        ResumeError::TooLarge { bytes_max, .. } => {
            format!("the data has more than {bytes_max} bytes of JSON; give less")
        }
        ResumeError::Encode(error) => format!("the data cannot be written as JSON: {error}"),
        ResumeError::Gone => return unavailable(),
        ResumeError::Restarted => "whether it goes on is unknown; task_read tells".to_owned(),
    };
    ToolError::new("refused", message)
}

/// An answer that nobody took.
pub(super) fn of_respond(error: &RespondError, task: &TaskRef, id: &str) -> ToolError {
    let (code, message) = match error {
        RespondError::Unknown(_) => return ToolError::not_found(id),
        RespondError::NoSuchQuestion { key } => return no_such_question(task, key),
        RespondError::AlreadyAnswered { key } => (
            "already_answered",
            format!("somebody has answered {key:?}; the first answer counts"),
        ),
        RespondError::Ended { state } => {
            let message = if state.is_terminal() {
                "it has ended and waits for no answer; task_read shows how"
            } else {
                "it is being stopped and waits for no answer"
            };
            return ToolError {
                details: Some(json!({ "status": state.as_str() })),
                ..ToolError::new("ended", message)
            };
        }
        RespondError::Mismatch { why, .. } => {
            return mismatch("invalid_answer", "the answer", why);
        }
        RespondError::TooLarge { bytes_max, .. } => (
            "refused",
            format!("the answer has more than {bytes_max} bytes of JSON; say less"),
        ),
        RespondError::Encode(error) => (
            "refused",
            format!("the answer cannot be written as JSON: {error}"),
        ),
        RespondError::Gone => return unavailable(),
        RespondError::Restarted => (
            "refused",
            "whether the answer was taken is unknown; task_read tells".to_owned(),
        ),
    };
    ToolError::new(code, message)
}

fn no_such_question(task: &TaskRef, key: &str) -> ToolError {
    let record = task.record();
    let open: Vec<String> = record
        .iter()
        .flat_map(|record| record.open_questions())
        .map(|(key, _)| key.to_string())
        .collect();
    let message = if open.is_empty() {
        format!("it has asked nothing by {key:?}, and no question of it is open")
    } else {
        let open = open.join(", ");
        format!("it has asked nothing by {key:?}; its open questions are: {open}")
    };
    ToolError {
        details: Some(json!({ "key": key, "open": open })),
        ..ToolError::new("no_such_question", message)
    }
}

/// A task that is not interrupted.
pub(super) fn of_interrupt(error: &InterruptError, id: &str) -> ToolError {
    match error {
        InterruptError::Unknown(_) => ToolError::not_found(id),
        InterruptError::NotRunning { state } => {
            let message = match state {
                State::Pending => "it has not started; task_send leaves it a message",
                State::Suspended => "it is suspended; task_resume lets it go on",
                State::Running | State::Waiting => "its work is done, it waits for those below it",
                State::CancelRequested => "it was asked to stop, which goes first",
                State::Completed
                | State::Failed
                | State::TimedOut
                | State::Cancelled
                | State::Interrupted => "it has ended; task_read shows how",
            };
            ToolError {
                details: Some(json!({ "status": state.as_str() })),
                ..ToolError::new("not_running", message)
            }
        }
        InterruptError::Gone => unavailable(),
        InterruptError::Restarted => {
            let message = "it was started again meanwhile; task_read shows its state";
            ToolError::new("refused", message)
        }
    }
}
