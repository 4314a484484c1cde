//! Looking at tasks and waiting for them.
//!
//! # Invariants
//! 1. Only tasks that the caller sees are shown, counted or waited for.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::args::Args;
use super::super::{Rights, ToolError, refusals};
use super::row;
use crate::api::TaskRef;
use crate::index::{Cursor, Page};
use crate::kernel::{Filter, Kind, Payload, Record, Seq, State, TaskId};

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

pub(super) async fn wait(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
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
            let mut found = Vec::with_capacity(targets.len());
            for target in &targets {
                found.push(rights.find(target).await?);
            }
            found
        }
        None => everything(rights, after).await,
    };
    let wait = rights.manager.wait(&tasks).or_suspended().or_asking();
    let mut wait = wait.timeout(timeout);
    if let Some(after) = after {
        wait = wait.after(after);
    }
    let waited = match mode {
        Mode::Any => wait.any().await,
        Mode::All => wait.all().await,
    };
    let waited = waited.map_err(|error| refusals::of_wait(&error, rights))?;
    let rows = |records: &[Arc<Record>]| -> Vec<_> {
        records.iter().map(|record| row(rights, record)).collect()
    };
    Ok(json!({
        "done": rows(&waited.done),
        "suspended": rows(&waited.suspended),
        "asking": rows(&waited.asking),
        "pending": waited.pending.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "timed_out": waited.timed_out,
        "seq": waited.seq.0,
    }))
}

/// The live tasks that the caller sees, and with a number also those that ended after it.
async fn everything(rights: &Rights, after: Option<Seq>) -> Vec<TaskRef> {
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
        true
    })
    .await;
    tasks
}

/// Shows each matching task that the caller sees, oldest first, until `show` has enough; tells
/// where to go on if there may be more.
async fn walk(
    rights: &Rights,
    filter: Filter,
    after: Option<TaskId>,
    mut show: impl FnMut(&Arc<Record>) -> bool,
) -> Option<TaskId> {
    if let Some(caller) = rights.caller_id() {
        let below = rights.below(caller).await;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = below.range((start, Bound::Unbounded));
        let mut matching = rest.filter(|(_, record)| filter.matches(record));
        return matching
            .find(|(_, record)| !show(record))
            .map(|(id, _)| *id);
    }
    let filter = filter.scope(rights.scope());
    let first = Page::default().oldest_first();
    let mut page = after.map_or(first, |after| first.after(Cursor::behind(after)));
    loop {
        let listing = rights.manager.list(&filter, &page);
        if let Some(last) = listing.records.iter().find(|record| !show(record)) {
            return Some(last.id);
        }
        page = first.after(listing.next?);
    }
}

pub(super) async fn list(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
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
        .map(|cursor| cursor.parse::<TaskId>())
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
    })
    .await;
    Ok(json!({ "tasks": rows, "cursor": next.map(|id| id.to_string()) }))
}

pub(super) async fn read(mut args: Args, rights: &Rights) -> Result<Value, ToolError> {
    let id = args.need_text("id")?;
    let after = args.number("after")?.unwrap_or(0);
    let limit = args.number("limit")?.unwrap_or(PAGE_DEFAULT);
    args.end()?;
    let task = rights.find(&id).await?;
    let record = task.record().ok_or_else(|| ToolError::not_found(&id))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = rights.manager.read_output(record.id, after, limit);
    let page = page.ok_or_else(|| ToolError::not_found(&id))?;
    let values = page.pieces.iter().map(Payload::to_value);
    let mut answer = row(rights, &record);
    answer["output"] = values.collect();
    answer["after"] = page.last().into();
    answer["missed"] = page.missed.into();
    answer["written"] = page.written.into();
    Ok(answer)
}
