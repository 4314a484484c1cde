//! Large files: a page of them, opening them, what a task takes on the disk, and recovery.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understory::store::sqlite::{Options, Reader, SqliteStore};
use understory::store::{Batch, Store};
use understory::{
    Event, Filter, Manager, Page, Record, Scope, Seq, State, TaskId, Timestamp, What,
};

use crate::recorder::record_scopes;
use crate::{Measured, head, row};

/// How many records one commit writes.
const AT_ONCE: u64 = 10_000;
const SCOPES: u64 = 100;
const PAGES: u64 = 2_000;
const PAGE: usize = 50;

/// A file of so many settled tasks in many scopes, each with one event, as many as are kept.
pub(crate) fn large(records: u64) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.db");
    let first = fill(&path, records);
    let bytes = std::fs::metadata(&path).unwrap().len() / records;
    let began = Instant::now();
    drop(SqliteStore::open(&path, Options::default()).unwrap());
    let read = began.elapsed().as_secs_f64();
    let reader = pages_of_file(&path, first, records);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (open, manager) = runtime.block_on(pages_of_manager(&path));
    println!("| records | bytes a task | store open s | manager open s |");
    println!("| ---: | ---: | ---: | ---: |");
    println!("| {records} | {bytes} | {read:.2} | {open:.2} |\n");
    head("a page of 50 by scope and state");
    vec![
        json!({
            "what": "large", "records": records, "bytes": bytes, "store_s": read, "open_s": open
        }),
        row("page", "`Reader::page`, anywhere", &reader),
        row("page", "`Manager::list`, the newest", &manager),
    ]
}

/// Writes the file; gives the time of its first task.
fn fill(path: &Path, records: u64) -> u64 {
    let settled = record_scopes(SCOPES, None);
    let store = SqliteStore::open(path, Options::default()).unwrap();
    let first = settled[0].records[0].created_at.as_micros() - records;
    for from in (1..=records).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let mut batch = Batch::default();
        for number in from..(from + AT_ONCE).min(records + 1) {
            let pattern = &settled[usize::try_from(number % SCOPES).unwrap()];
            let (mut record, event) = copy(pattern, number);
            record.created_at = Timestamp::from_micros(first + number);
            batch.records.push(Arc::new(record));
            batch.events.push(Arc::new(event));
        }
        store.commit(&batch).unwrap();
    }
    first
}

/// Pages of one scope and state, from anywhere in it.
fn pages_of_file(path: &Path, first: u64, records: u64) -> Measured {
    let reader = Reader::open(path).unwrap();
    let began = Instant::now();
    let mut each = Vec::new();
    for turn in 0..PAGES {
        let scope = scope(turn % SCOPES);
        let from = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % records;
        let from = Timestamp::from_micros(first + from.max(PAGE as u64 * SCOPES));
        let began = Instant::now();
        let before = Some((from, id(0)));
        let page = reader.page(Some(&scope), Some(State::Completed), before, PAGE);
        assert!(!page.unwrap().is_empty());
        each.push(began.elapsed());
    }
    let elapsed = began.elapsed();
    Measured { elapsed, each }
}

/// How long the manager takes until it answers, and its pages.
async fn pages_of_manager(path: &Path) -> (f64, Measured) {
    let began = Instant::now();
    let manager = Manager::open(path).await.unwrap();
    let open = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut each = Vec::new();
    for turn in 0..PAGES / 10 {
        let filter = Filter::all().scope(scope(turn % SCOPES));
        let filter = filter.state(State::Completed);
        let began = Instant::now();
        let page = manager.list(&filter, &Page::first(PAGE));
        assert!(!page.records.is_empty());
        each.push(began.elapsed());
    }
    let elapsed = began.elapsed();
    manager.shutdown(Duration::from_secs(10)).await.unwrap();
    (open, Measured { elapsed, each })
}

/// From the opening of a file in which so many tasks ran to a manager that answers, and to the end
/// of all that it starts.
pub(crate) fn recoveries(live: u64) -> Vec<Value> {
    println!("| recovered | live tasks | open, s | all ended, s |\n| --- | ---: | ---: | ---: |");
    [("closures", None), ("executors", Some("reader"))]
        .into_iter()
        .map(|(name, kind)| {
            let (open, ended) = recovery(live, kind);
            let (open, ended) = (open.as_secs_f64(), ended.as_secs_f64());
            println!("| {name} | {live} | {open:.2} | {ended:.2} |");
            json!({
                "what": "recovery", "name": name, "live": live, "seconds": open, "ended": ended,
            })
        })
        .collect()
}

fn recovery(live: u64, kind: Option<&str>) -> (Duration, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let ended = record_scopes(1, kind).remove(0);
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    let mut batch = Batch::default();
    for number in 1..=live {
        let (mut record, mut event) = copy(&ended, number);
        (record.state, event.state) = (State::Running, State::Running);
        (record.outcome, record.conclusion, record.ended_at) = (None, None, None);
        event.what = What::Started;
        batch.records.push(Arc::new(record));
        batch.events.push(Arc::new(event));
    }
    store.commit(&batch).unwrap();
    drop((store, batch));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let builder = Manager::builder();
        let builder = match kind {
            Some(kind) => builder.executor(kind, |_, _| async { Ok(json!(7)) }),
            None => builder,
        };
        let began = Instant::now();
        let manager = builder.open(&path).await.unwrap();
        assert!(manager.get(id(live)).is_some());
        let recovered = began.elapsed();
        let (within, grace) = (Duration::from_mins(5), Duration::from_secs(1));
        let report = manager.drain(within, grace).await.unwrap();
        assert!(report.cancelled.is_empty());
        (recovered, began.elapsed())
    })
}

fn id(number: u64) -> TaskId {
    TaskId::from_u128(u128::from(number))
}

fn scope(number: u64) -> Scope {
    Scope::new(&format!("scope-{number}")).unwrap()
}

/// The record and the event of a batch as those of another task.
fn copy(batch: &Batch, number: u64) -> (Record, Event) {
    let mut record = Record::clone(batch.records.last().unwrap());
    let mut event = Event::clone(batch.events.last().unwrap());
    (record.id, event.task) = (id(number), id(number));
    (record.root, event.root) = (id(number), id(number));
    (record.seq, event.seq) = (Seq(number), Seq(number));
    (record, event)
}
