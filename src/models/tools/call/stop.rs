//! Stopping tasks.

use serde_json::{Value, json};

use super::super::args::Args;
use super::super::{Rights, ToolError, refusals};
use crate::api::{Cancel, CancelError};
use crate::kernel::{Target, TaskId};

#[derive(Clone, Copy)]
enum Reach {
    Task,
    Tree,
}

pub(super) async fn cancel(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let reaches = [("task", Reach::Task), ("tree", Reach::Tree)];
    let reach = args.choice("scope", &reaches)?.unwrap_or(Reach::Tree);
    let mut cancel = Cancel::because(&args.need_text("reason")?);
    if let Some(grace) = args.time("grace_ms")? {
        cancel = cancel.grace(grace);
    }
    args.end()?;
    let own = rights.caller_id().filter(|_| id == "self");
    if let Some(own) = own {
        // It is the caller's own end, so it cannot wait for it.
        let task = rights.manager.task(own);
        let target = match reach {
            Reach::Task => Target::One(own),
            Reach::Tree => Target::Tree(own),
        };
        let asked = task.cancel_unwaited(target, cancel).await;
        asked.map_err(|error| why_not(&error, &id))?;
        return Ok(json!({ "requested": [own.to_string()], "already_done": [] }));
    }
    let task = rights.find(&id).await?;
    let report = match reach {
        Reach::Task => task.cancel(cancel).await,
        Reach::Tree => task.cancel_tree(cancel).await,
    };
    let report = report.map_err(|error| why_not(&error, &id))?;
    let texts = |ids: &[TaskId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(json!({
        "requested": texts(&report.cancelled),
        "already_done": texts(&report.already_ended),
        "abandoned": texts(&report.abandoned),
    }))
}

fn why_not(error: &CancelError, id: &str) -> ToolError {
    if matches!(error, CancelError::Unknown(_)) {
        return ToolError::not_found(id);
    }
    if matches!(error, CancelError::Denied(_)) {
        return ToolError::new("refused", "you may not cancel it; ask who is above you");
    }
    refusals::unavailable()
}
