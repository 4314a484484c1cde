//! What each tool does.
//!
//! *Not here*: the shapes of the arguments (`schemas`, `args`), why one did nothing (`refusals`).

mod look;
mod start;
mod stop;
mod talk;

use serde_json::{Map, Value, json};

use super::args::Args;
use super::{Rights, ToolError};
use crate::kernel::{Key, Record};

pub(super) async fn dispatch(name: &str, args: Value, rights: &Rights) -> Result<Value, ToolError> {
    let args = Args::new(args)?;
    match name {
        "task_spawn" => start::spawn(args, rights).await,
        "task_send" => talk::send(args, rights).await,
        "task_wait" => look::wait(args, rights).await,
        "task_list" => look::list(args, rights),
        "task_read" => look::read(args, rights),
        "task_respond" => talk::respond(args, rights).await,
        "task_interrupt" => talk::interrupt(args, rights).await,
        "task_cancel" => stop::cancel(args, rights).await,
        "task_suspend" => talk::suspend(args, rights),
        "task_resume" => talk::resume(args, rights).await,
        _ => {
            let names: Vec<_> = super::definitions().iter().map(|tool| tool.name).collect();
            let message = format!("there is no tool {name:?}; there are: {}", names.join(", "));
            Err(ToolError::new("unknown_tool", message))
        }
    }
}

/// A task as a model sees it.
fn row(rights: &Rights, record: &Record) -> Value {
    let shape = record.to_json();
    let mut row = json!({
        "id": record.id.to_string(),
        "path": rights.manager.task(record.id).path(),
        "status": record.state.as_str(),
        "attempt": record.attempt,
        "created_at_us": record.created_at.as_micros(),
        "children": rights.manager.children(record.id).len(),
    });
    for field in ["kind", "wait", "progress", "outcome"] {
        if !shape[field].is_null() {
            row[field] = shape[field].clone();
        }
    }
    let open: Map<_, _> = open_questions(record)
        .map(|(key, asked)| (key.to_string(), asked))
        .collect();
    if !open.is_empty() {
        row["questions"] = open.into();
    }
    if !record.budgets.is_empty() {
        row["budgets"] = shape["budgets"].clone();
    }
    row
}

/// The questions of a task that nobody has answered.
pub(super) fn open_questions(record: &Record) -> impl Iterator<Item = (&Key, Value)> {
    let all = record
        .questions
        .as_deref()
        .into_iter()
        .flat_map(|all| all.iter());
    let open = all.filter(|(_, question)| question.answer.is_none());
    open.map(|(key, question)| (key, question.asked.to_value()))
}

fn has_open_questions(record: &Record) -> bool {
    !record.state.is_terminal() && open_questions(record).next().is_some()
}
