//! Files of every version that was released open for ever.
//!
//! A fixture is never written again. For a new version, set `UNDERSTORY_FIXTURE` to the path of the
//! new file, once.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, from_str};

use super::super::codec::{EventRow, TaskRow, spec_body};
use super::dice::Dice;
use super::*;
use crate::kernel::{Event, Outcome, What};

const TASKS: u64 = 60;

pub(super) fn fixture(version: usize) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.join(format!("tests/fixtures/store-{version}.db"))
}

/// Writes records and events of every shape.
fn write(path: &Path) {
    let store = SqliteStore::open(path, Options::default()).expect("there is room");
    for seq in 1..=TASKS {
        let mut dice = Dice(seq);
        let mut event = dice.event();
        let mut record = dice.record();
        record.id = sample::id(u128::from(seq));
        record.seq = Seq(seq);
        event.task = record.id;
        event.seq = Seq(seq);
        let batch = Batch {
            records: vec![Arc::new(record)],
            events: vec![Arc::new(event)],
            ..Batch::default()
        };
        store.commit(&batch).expect("there is room");
    }
}

/// The words that the first version has for states; they mean the same for ever.
const fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::Waiting => "waiting",
        State::Suspended => "suspended",
        State::CancelRequested => "cancel_requested",
        State::Completed => "completed",
        State::Failed => "failed",
        State::TimedOut => "timed_out",
        State::Cancelled => "cancelled",
        State::Interrupted => "interrupted",
    }
}

/// The same for outcomes.
const fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed(_) => "completed",
        Outcome::Failed(_) => "failed",
        Outcome::TimedOut { .. } => "timed_out",
        Outcome::Cancelled { .. } => "cancelled",
        Outcome::Interrupted(_) => "interrupted",
    }
}

/// A record says what stands in the file.
fn says(record: &Record, body: &str, spec: &str) {
    let written: Value = from_str(body).expect("it is JSON");
    assert_eq!(written["state"], state(record.state));
    let end = written["outcome"]
        .as_object()
        .and_then(|end| end.keys().next());
    let told = record.outcome.as_deref().map(outcome);
    assert_eq!(end.map(String::as_str), told);
    let told = record.messages.iter().flat_map(|messages| messages.iter());
    let told: Vec<&str> = told.map(|message| message.body.as_json()).collect();
    let messages = written["messages"].as_array().into_iter().flatten();
    let messages: Vec<&str> = messages.filter_map(|it| it["body"].as_str()).collect();
    assert_eq!(messages, told);

    let written: Value = from_str(spec).expect("it is JSON");
    let labels = record.spec.labels.iter();
    let labels = labels.map(|(label, value)| (label.to_string(), value.to_string().into()));
    let labels: Map<String, Value> = labels.collect();
    let found = written["labels"].as_object().cloned().unwrap_or_default();
    assert_eq!(found, labels);

    // All the rest is read as it was meant if it is written again in the same words, in any order.
    assert_eq!(meant(&TaskRow::write(record, 1).body), meant(body));
    assert_eq!(meant(&spec_body(&record.spec)), meant(spec));
}

/// A body as it has been read since a period of restarts has a least length.
fn meant(body: &str) -> Value {
    let mut body: Value = from_str(body).expect("it is JSON");
    if let Some(period) = body.pointer_mut("/restart/period") {
        let is_short = period["secs"] == 0 && period["nanos"].as_u64() < Some(100_000_000);
        if is_short {
            period["nanos"] = 100_000_000.into();
        }
    }
    body
}

/// What was read of a file is all that stands in it.
fn says_all(store: &SqliteStore, records: &[Arc<Record>], events: &[Arc<Event>]) {
    let ask = |table: &str, order: &str| {
        let of = format!("FROM {table} it JOIN spec s ON s.id = it.spec ORDER BY it.{order}");
        let rows = store
            .pen()
            .database
            .ask(&format!("SELECT it.body, s.body {of}"));
        let text = |cell: &Option<String>| cell.clone().expect("it is never null");
        let rows = rows.iter().map(|row| (text(&row[0]), text(&row[1])));
        rows.collect::<Vec<_>>()
    };
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| record.id);
    let tasks = ask("task", "id");
    assert_eq!(tasks.len(), records.len());
    for (record, (body, spec)) in records.iter().zip(&tasks) {
        says(record, body, spec);
    }
    let told = ask("event", "seq");
    assert_eq!(told.len(), events.len());
    for (event, (body, spec)) in events.iter().zip(&told) {
        assert_eq!(meant(&EventRow::write(event, 1).body), meant(body));
        assert_eq!(meant(&spec_body(&event.spec)), meant(spec));
    }
}

#[test]
fn file_of_every_version_opens_and_takes_more() {
    if let Some(path) = std::env::var_os("UNDERSTORY_FIXTURE") {
        write(Path::new(&path));
    }
    for version in 1..=schema::STEPS.len() {
        let folder = Folder::new();
        drop(folder.open());
        let content = fs::read(fixture(version)).expect("each version has its fixture");
        fs::write(&folder, content).expect("there is room");

        let store = folder.open();

        let loaded = store.load().expect("it is whole");
        assert_eq!((loaded.records.len(), loaded.seq.0), (60, TASKS));
        let events = store.events(Seq(0), 100).expect("it is whole");
        says_all(&store, &loaded.records, &events);
        let names: BTreeSet<_> = events.iter().map(|event| event.what.name()).collect();
        assert!(names.len() > 20, "{names:?}");
        assert!(names.iter().all(|name| What::NAMES.contains(name)));
        let more = change(9_999, State::Running, TASKS + 1);
        store.commit(&more).expect("it takes more");
    }
}
