//! What a person reads with the ordinary tool.

use std::error::Error;

use super::*;
use crate::kernel::{Fault, FaultKind, Kind, Name, Outcome, Timestamp, Wait};

fn ask(folder: &Folder, sql: &str) -> Vec<Vec<Option<String>>> {
    let file = Database::open(folder.as_ref(), Access::Read);
    file.expect("readers are welcome").ask(sql)
}

fn texts(values: &[&str]) -> Vec<Option<String>> {
    let text = |value: &&str| (*value != "-").then(|| (*value).to_owned());
    values.iter().map(text).collect()
}

/// A parent that waits for its child, which runs, and a task that has failed.
fn family() -> Result<Batch, Box<dyn Error>> {
    let named = |name: &str| -> Result<Spec, Box<dyn Error>> {
        let mut spec = sample::spec("store");
        spec.name = Some(Name::new(name)?);
        spec.kind = Some(Kind::new("sums")?);
        Ok(spec)
    };
    let change = |number: u64, spec: Spec, state| {
        let spec = Arc::new(spec);
        let record = sample::record(sample::id(u128::from(number)), &spec, state, number);
        Record::clone(&record)
    };
    let started = |seconds: u64| Some(Timestamp::from_micros(seconds * 1_000_000));
    let mut above = change(1, named("above")?, State::Waiting);
    above.wait = Some(Wait::Children);
    above.started_at = started(60);
    let mut below = named("below")?;
    below.parent = Some(above.id);
    let mut below = change(2, below, State::Running);
    below.parent = Some(above.id);
    below.started_at = started(61);
    let mut failed = change(3, named("broken")?, State::Failed);
    let fault = Fault {
        kind: FaultKind::Error,
        message: "no \"luck\"".into(),
    };
    failed.outcome = Some(Arc::new(Outcome::Failed(fault)));
    let records: Vec<_> = [above, below, failed].map(Arc::new).into();
    let numbered = (1..).zip(&records);
    Ok(Batch {
        events: numbered
            .map(|(seq, record)| sample::event(seq, record))
            .collect(),
        records,
        ..Batch::default()
    })
}

#[test]
fn views_say_what_is_and_what_happened() -> Result<(), Box<dyn Error>> {
    let folder = Folder::new();
    let store = folder.open();
    store.commit(&family()?)?;

    let sql = "SELECT path, kind, state, waits_for, error, started FROM tasks ORDER BY id";
    let found = ask(&folder, sql);
    assert_eq!(
        found,
        [
            texts(&[
                "above",
                "sums",
                "waiting",
                "children",
                "-",
                "1970-01-01T00:01:00.000Z"
            ]),
            texts(&[
                "above/below",
                "sums",
                "running",
                "-",
                "-",
                "1970-01-01T00:01:01.000Z"
            ]),
            texts(&[
                "broken",
                "sums",
                "failed",
                "-",
                "no \"luck\"",
                "1970-01-01T00:00:00.000Z"
            ]),
        ]
    );
    let found = ask(&folder, "SELECT path, under, since, waits_for FROM running");
    assert_eq!(
        found,
        [
            texts(&["above", "-", "1970-01-01T00:01:00.000Z", "children"]),
            texts(&["above/below", "above", "1970-01-01T00:01:01.000Z", "-"]),
        ]
    );
    let found = ask(&folder, "SELECT seq, name, state FROM events ORDER BY seq");
    assert_eq!(
        found,
        [
            texts(&["1", "above", "waiting"]),
            texts(&["2", "below", "running"]),
            texts(&["3", "broken", "failed"]),
        ]
    );
    Ok(())
}
