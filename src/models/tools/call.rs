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
use crate::kernel::Record;

pub(super) async fn dispatch(name: &str, args: Value, rights: &Rights) -> Result<Value, ToolError> {
    let args = Args::new(args)?;
    match name {
        "task_spawn" => start::spawn(args, rights).await,
        "task_send" => talk::send(args, rights).await,
        "task_wait" => look::wait(args, rights).await,
        "task_list" => look::list(args, rights).await,
        "task_read" => look::read(args, rights).await,
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
    // Its own record may be gone.
    let above = record.parent.map(|id| rights.manager.task(id).path());
    let segments = above.into_iter().filter(|above| !above.is_empty());
    let segments = segments.chain([record.spec.segment(record.id)]);
    let mut row = json!({
        "id": record.id.to_string(),
        "path": segments.collect::<Vec<_>>().join("/"),
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
    let open = record.open_questions();
    let open: Map<_, _> = open
        .map(|(key, question)| (key.to_string(), question.asked.to_value()))
        .collect();
    if !open.is_empty() {
        row["questions"] = open.into();
    }
    if !record.budgets.is_empty() {
        row["budgets"] = shape["budgets"].clone();
    }
    row
}
