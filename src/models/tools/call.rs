//! What each tool does.
//!
//! *Not here*: the shapes of the arguments (`schemas`, `args`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::Args;
use super::{Rights, ToolError, refusals};
use crate::api::{Cancel, CancelError, TaskBuilder, TaskRef};
use crate::index::{Cursor, Page};
use crate::kernel::{Filter, Kind, OnParentEnd, Record, Seq, State, TaskId};

/// How long `task_wait` waits unless it is told.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// Most tasks that one call may name.
const TARGETS_MAX: usize = 256;
/// Rows of a list and pieces of an output unless more or fewer are asked for.
const PAGE_DEFAULT: u64 = 50;

#[derive(Clone, Copy)]
enum Mode {
    Any,
    All,
}

#[derive(Clone, Copy)]
enum Reach {
    Task,
    Tree,
}

pub(super) async fn dispatch(name: &str, args: Value, rights: &Rights) -> Result<Value, ToolError> {
    let args = Args::new(args)?;
    match name {
        "task_spawn" => spawn(args, rights).await,
        "task_send" => send(args, rights).await,
        "task_wait" => wait(args, rights).await,
        "task_list" => list(args, rights),
        "task_read" => read(args, rights),
        "task_cancel" => cancel(args, rights).await,
        "task_resume" => resume(args, rights).await,
        _ => {
            let names: Vec<_> = super::definitions().iter().map(|tool| tool.name).collect();
            let message = format!("there is no tool {name:?}; there are: {}", names.join(", "));
            Err(ToolError::new("unknown_tool", message))
        }
    }
}

async fn spawn(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let kind = args.need_text("kind")?;
    let input = args.need("input")?;
    let parent = match args.text("parent")? {
        None => rights.caller,
        Some(text)
            if rights
                .caller
                .is_some_and(|caller| caller.to_string() == text) =>
        {
            rights.caller
        }
        Some(text) => Some(rights.find(&text)?.id()),
    };
    let mut task = rights.scope_ref().unnamed().root();
    if let Some(parent) = parent {
        task = task.parent(parent);
    }
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
    if let Some(wait) = wait {
        let one = [handle.task()];
        let waited = rights
            .manager
            .wait(&one)
            .or_suspended()
            .timeout(wait)
            .any()
            .await;
        waited.map_err(|_| refusals::unavailable())?;
    }
    let id = handle.id();
    let record = rights
        .manager
        .get(id)
        .ok_or_else(|| ToolError::not_found(&id.to_string()))?;
    Ok(row(rights, &record))
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
    if let Some(timeout) = args.number("timeout_ms")? {
        task = task.timeout(Duration::from_millis(timeout));
    }
    if let Some(key) = args.text("key")? {
        task = task.key(&key);
    }
    Ok(task)
}

async fn send(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let to = args.need_text("to")?;
    let body = args.need("body")?;
    args.end()?;
    let task = addressee(&to, rights)?;
    match task.send(body).await {
        Ok(receipt) => Ok(json!({
            "task": task.id().to_string(),
            "message_number": receipt.number,
            "inbox_depth": receipt.waiting,
        })),
        Err(error) => Err(refusals::of_send(&error, &task, &to)),
    }
}

/// A task below the caller, or its parent or root, to which it may speak but nothing else.
fn addressee(to: &str, rights: &Rights) -> Result<TaskRef, ToolError> {
    let own = rights.caller.and_then(|caller| rights.manager.get(caller));
    let above = match (to, own) {
        ("parent", Some(own)) => own.parent,
        ("root", Some(own)) => Some(own.root).filter(|root| *root != own.id),
        ("parent" | "root", None) => None,
        _ => return rights.find(to),
    };
    above.map(|id| rights.manager.task(id)).ok_or_else(|| {
        ToolError::new(
            "not_found",
            format!("you have no {to}: nothing is above you"),
        )
    })
}

async fn wait(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let targets = args.texts("targets")?;
    let modes = [("any", Mode::Any), ("all", Mode::All)];
    let mode = args.choice("mode", &modes)?.unwrap_or(Mode::Any);
    let timeout = args.time("timeout_ms")?.unwrap_or(WAIT_DEFAULT);
    let after = args.number("after_seq")?.map(Seq);
    args.end()?;
    let tasks = match targets {
        Some(targets) if targets.len() > TARGETS_MAX => {
            return Err(ToolError::invalid(format!(
                "name at most {TARGETS_MAX} targets"
            )));
        }
        Some(targets) => {
            let found = targets.iter().map(|target| rights.find(target));
            found.collect::<Result<Vec<_>, _>>()?
        }
        None => everything(rights, after),
    };
    let mut wait = rights.manager.wait(&tasks).or_suspended().timeout(timeout);
    if let Some(after) = after {
        wait = wait.after(after);
    }
    let waited = match mode {
        Mode::Any => wait.any().await,
        Mode::All => wait.all().await,
    };
    let waited = waited.map_err(|_| refusals::unavailable())?;
    let rows = |records: &[Arc<Record>]| -> Vec<_> {
        records.iter().map(|record| row(rights, record)).collect()
    };
    Ok(json!({
        "done": rows(&waited.done),
        "suspended": rows(&waited.suspended),
        "pending": waited.pending.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "timed_out": waited.timed_out,
        "seq": waited.seq.0,
    }))
}

/// The live tasks that the caller sees, and with a number also those that ended after it.
fn everything(rights: &Rights, after: Option<Seq>) -> Vec<TaskRef> {
    let mut tasks = Vec::new();
    let filter = match after {
        Some(_) => Filter::all(),
        None => Filter::all().live(),
    };
    walk(rights, filter, None, |record| {
        let is_news = after.is_some_and(|after| record.seq > after);
        if is_news || !record.state.is_terminal() {
            tasks.push(rights.manager.task(record.id));
        }
        tasks.len() < TARGETS_MAX
    });
    tasks
}

/// Shows each matching task that the caller sees, oldest first, until `show` has enough; tells
/// where to go on if there may be more.
fn walk(
    rights: &Rights,
    filter: Filter,
    after: Option<Cursor>,
    mut show: impl FnMut(&Arc<Record>) -> bool,
) -> Option<TaskId> {
    let filter = filter.scope(rights.scope.clone());
    let first = Page::default().oldest_first();
    let mut page = after.map_or(first, |after| first.after(after));
    loop {
        let listing = rights.manager.list(&filter, &page);
        for record in &listing.records {
            if rights.sees(record) && !show(record) {
                return Some(record.id);
            }
        }
        page = first.after(listing.next?);
    }
}

fn list(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let prefix = args.text("prefix")?;
    let mut filter = Filter::all();
    if let Some(status) = args.text("status")? {
        if status == "live" {
            filter = filter.live();
        } else {
            let state = State::parse(&status).ok_or_else(|| {
                let states = State::ALL.map(State::as_str).join(", ");
                ToolError::invalid(format!("status must be live or one of {states}"))
            })?;
            filter = filter.state(state);
        }
    }
    if let Some(kind) = args.text("kind")? {
        let kind = Kind::new(&kind).map_err(|error| ToolError::invalid(error.to_string()))?;
        filter = filter.kind(kind);
    }
    let limit = args.number("limit")?.unwrap_or(PAGE_DEFAULT).clamp(1, 500);
    let cursor = args
        .text("cursor")?
        .map(|cursor| cursor.parse::<Cursor>())
        .transpose();
    let cursor = cursor.map_err(|error| ToolError::invalid(error.to_string()))?;
    args.end()?;
    let mut rows = Vec::new();
    let next = walk(rights, filter, cursor, |record| {
        let path = rights.manager.task(record.id).path();
        let fits = |prefix: &String| {
            let rest = path.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        if prefix.as_ref().is_none_or(fits) {
            rows.push(row(rights, record));
        }
        (rows.len() as u64) < limit
    });
    Ok(json!({ "tasks": rows, "cursor": next.map(|id| id.to_string()) }))
}

fn read(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let after = args.number("after")?.unwrap_or(0);
    let limit = args.number("limit")?.unwrap_or(PAGE_DEFAULT);
    args.end()?;
    let task = rights.find(&id)?;
    let record = task.record().ok_or_else(|| ToolError::not_found(&id))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = rights.manager.read_output(record.id, after, limit);
    let page = page.ok_or_else(|| ToolError::not_found(&id))?;
    let values = page
        .pieces
        .iter()
        .map(|piece| serde_json::from_str(piece.as_json()).unwrap_or(Value::Null));
    let mut answer = row(rights, &record);
    answer["output"] = values.collect();
    answer["after"] = page.last().into();
    answer["missed"] = page.missed.into();
    answer["written"] = page.written.into();
    Ok(answer)
}

async fn cancel(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let reaches = [("task", Reach::Task), ("tree", Reach::Tree)];
    let reach = args.choice("scope", &reaches)?.unwrap_or(Reach::Tree);
    let mut cancel = Cancel::because(&args.need_text("reason")?);
    if let Some(grace) = args.time("grace_ms")? {
        cancel = cancel.grace(grace);
    }
    args.end()?;
    let own = rights.caller.filter(|_| id == "self");
    if let Some(own) = own {
        // It is the caller's own end, so it cannot wait for it.
        let task = rights.manager.task(own);
        tokio::spawn(async move {
            if let Err(error) = task.cancel_tree(cancel).await {
                tracing::warn!(task = %task.id(), %error, "a task could not cancel itself");
            }
        });
        return Ok(json!({ "requested": [own.to_string()], "already_done": [] }));
    }
    let task = rights.find(&id)?;
    let report = match reach {
        Reach::Task => task.cancel(cancel).await,
        Reach::Tree => task.cancel_tree(cancel).await,
    };
    let report = report.map_err(|error| {
        if matches!(error, CancelError::Unknown(_)) {
            return ToolError::not_found(&id);
        }
        refusals::unavailable()
    })?;
    let texts = |ids: &[TaskId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(json!({
        "requested": texts(&report.cancelled),
        "already_done": texts(&report.already_ended),
        "abandoned": texts(&report.abandoned),
    }))
}

async fn resume(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let data = args.value("data").unwrap_or(Value::Null);
    args.end()?;
    let task = rights.find(&id)?;
    match task.resume(data).await {
        Ok(()) => {
            let record = task.record().ok_or_else(|| ToolError::not_found(&id))?;
            Ok(row(rights, &record))
        }
        Err(error) => Err(refusals::of_resume(&error, &id)),
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
    row
}
