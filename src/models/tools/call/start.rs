//! Starting tasks.
//!
//! # Invariants
//! 1. A task that was accepted is answered with its id, whatever comes after.
//!
//! *Not here*: which kinds there are (the executors of the manager).

use std::time::Duration;

use serde_json::{Value, json};

use super::super::args::Args;
use super::super::{Caller, Rights, ToolError, refusals};
use super::row;
use crate::api::TaskBuilder;
use crate::kernel::OnParentEnd;

pub(super) async fn spawn(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let kind = args.need_text("kind")?;
    let input = args.need("input")?;
    let mut task = below(args.text("parent")?, rights).await?;
    if let Some(name) = args.text("name")? {
        task = task.name(&name);
    }
    task = wishes(task, &mut args)?;
    let wait = args.time("wait_ms")?;
    args.end()?;
    let spawned = task.spawn_kind(&kind, input).await;
    let handle = match spawned {
        Ok(handle) => handle,
        Err(error) => return Err(refusals::of_spawn(&error, rights).await),
    };
    let mut seen = None;
    if let Some(wait) = wait {
        let one = [handle.task()];
        let waited = rights
            .manager
            .wait(&one)
            .or_suspended()
            .or_asking()
            .timeout(wait)
            .any()
            .await;
        // It is there, also when nobody could wait for it: an error would have it started twice.
        let waited = waited.unwrap_or_default();
        let lists = [waited.done, waited.suspended, waited.asking];
        seen = lists.into_iter().flatten().next();
    }
    let record = seen.or_else(|| handle.record());
    let id = || json!({ "id": handle.id().to_string() });
    Ok(record.map_or_else(id, |record| row(rights, &record)))
}

/// A task to be, below the one that was named, else below the caller.
async fn below(parent: Option<String>, rights: &Rights) -> Result<TaskBuilder, ToolError> {
    let task = match &rights.caller {
        Caller::Task(context) => context.unnamed(),
        Caller::Scope(_) => rights.scope_ref().unnamed().root(),
    };
    let own = rights.caller_id().map(|caller| caller.to_string());
    match parent {
        Some(text) if own.as_ref() != Some(&text) => {
            Ok(task.parent(rights.find(&text).await?.id()))
        }
        Some(_) | None => Ok(task),
    }
}

/// What is asked of the task to be.
fn wishes(mut task: TaskBuilder, args: &mut Args) -> Result<TaskBuilder, ToolError> {
    let policies = [
        ("wait", OnParentEnd::Wait),
        ("cancel", OnParentEnd::Cancel),
        ("detach", OnParentEnd::Detach),
    ];
    if let Some(policy) = args.choice("on_parent_close", &policies)? {
        task = task.on_parent_end(policy);
    }
    for limit in args.texts("limits")?.unwrap_or_default() {
        task = task.limit(&limit);
    }
    for (counter, limit) in args.numbers("budget")?.unwrap_or_default() {
        task = task.budget(&counter, limit);
    }
    if let Some(timeout) = args.number("timeout_ms")? {
        task = task.timeout(Duration::from_millis(timeout));
    }
    if let Some(key) = args.text("key")? {
        task = task.key(&key);
    }
    Ok(task)
}
