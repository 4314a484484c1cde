//! Speaking to tasks: messages, answers, interrupts, and going on after a suspension.
//!
//! # Invariants
//! 1. A caller speaks to its parent and root and does nothing else to them.

use serde_json::{Value, json};

use super::super::args::Args;
use super::super::{Caller, Rights, ToolError, refusals};
use super::row;
use crate::api::{SendMode, TaskRef};
use crate::kernel::TaskId;

/// Whom a message is for.
struct Addressee {
    task: TaskRef,
    is_above: bool,
}

pub(super) async fn send(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let to = args.need_text("to")?;
    let body = args.need("body")?;
    let modes = [
        ("queue", SendMode::Queue),
        ("trigger", SendMode::Trigger),
        ("interrupt", SendMode::Interrupt),
    ];
    let mode = args.choice("mode", &modes)?.unwrap_or_default();
    args.end()?;
    let Addressee { task, is_above } = addressee(&to, rights).await?;
    if is_above && mode == SendMode::Interrupt {
        let message = format!("your {to} is not yours to interrupt; use mode queue or trigger");
        return Err(ToolError::new("refused", message));
    }
    match task.send_as(mode, body).await {
        Ok(receipt) => Ok(json!({
            "task": task.id().to_string(),
            "message_id": receipt.id.to_string(),
            "message_number": receipt.number,
            "inbox_depth": receipt.waiting,
        })),
        Err(error) => Err(refusals::of_send(&error, &task, &to)),
    }
}

/// A task below the caller, or its parent or root.
async fn addressee(to: &str, rights: &Rights) -> Result<Addressee, ToolError> {
    let own = rights.caller_id().and_then(|id| rights.manager.get(id));
    let above: Option<TaskId> = match (to, own) {
        ("parent", Some(own)) => own.parent,
        ("root", Some(own)) => Some(own.root).filter(|root| *root != own.id),
        ("parent" | "root", None) => None,
        _ => {
            let (task, is_above) = (rights.find(to).await?, false);
            return Ok(Addressee { task, is_above });
        }
    };
    let task = above.map(|id| rights.manager.task(id)).ok_or_else(|| {
        let message = format!("you have no {to}: nothing is above you");
        ToolError::new("not_found", message)
    })?;
    let is_above = true;
    Ok(Addressee { task, is_above })
}

pub(super) async fn respond(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let key = args.need_text("key")?;
    let value = args.need("value")?;
    args.end()?;
    let task = rights.find(&id).await?;
    match task.respond(&key, value).await {
        Ok(()) => shown(&task, &id, rights),
        Err(error) => Err(refusals::of_respond(&error, &task, &id)),
    }
}

pub(super) async fn interrupt(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let reason = args.need_text("reason")?;
    args.end()?;
    let task = rights.find(&id).await?;
    let before = task.state();
    if let Err(error) = task.interrupt(reason).await {
        return Err(refusals::of_interrupt(&error, &id));
    }
    let mut answer = shown(&task, &id, rights)?;
    answer["previous_status"] = before.map(crate::kernel::State::as_str).into();
    Ok(answer)
}

/// Lets the caller's own task be suspended when its body returns.
pub(super) fn suspend(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let payload = args.need("payload")?;
    args.end()?;
    let Caller::Task(context) = &rights.caller else {
        let message = "you are no task, so there is nothing to suspend; end your turn instead";
        return Err(ToolError::new("refused", message));
    };
    if context.is_cancelled() {
        let message = "you were asked to stop and cannot be suspended; come to an end";
        return Err(ToolError::new("refused", message));
    }
    if !context.can_suspend() {
        let message = "your task cannot be suspended; come to an end and say what is missing";
        return Err(ToolError::new("refused", message));
    }
    let wish = context.suspend(payload);
    if !wish.is_suspension() {
        return Err(ToolError::new("refused", wish.message()));
    }
    Ok(json!({ "id": context.id().to_string(), "suspends": "when your turn ends" }))
}

pub(super) async fn resume(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let data = args.value("data").unwrap_or(Value::Null);
    args.end()?;
    let task = rights.find(&id).await?;
    match task.resume(data).await {
        Ok(()) => shown(&task, &id, rights),
        Err(error) => Err(refusals::of_resume(&error, &id)),
    }
}

fn shown(task: &TaskRef, id: &str, rights: &Rights) -> Result<Value, ToolError> {
    let record = task.record().ok_or_else(|| ToolError::not_found(id))?;
    Ok(row(rights, &record))
}
