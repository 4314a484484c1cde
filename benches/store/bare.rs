//! A bare loop of `rusqlite` that writes the rows of another file into a new one of the same shape.
//!
//! It does what is written by hand where a file is all that one has: statements that are prepared
//! once, one transaction for so many rows, and the same waiting for the disk.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, Transaction, params};
use understory::store::Batch;
use understory::store::sqlite::{Options, SqliteStore};

use crate::Measured;

/// One transaction: the events, by their numbers, and the tasks, by their ids.
pub(crate) struct Commit {
    pub(crate) events: Vec<i64>,
    pub(crate) tasks: Vec<String>,
}

impl Commit {
    pub(crate) fn of(batch: &Batch) -> Self {
        let events = batch.events.iter().map(|event| event.seq.0.cast_signed());
        let tasks = batch.records.iter().map(|record| record.id.to_string());
        Self {
            events: events.collect(),
            tasks: tasks.collect(),
        }
    }
}

pub(crate) struct EventRow {
    pub(crate) at: i64,
    pub(crate) task: String,
    pub(crate) kind: String,
    body: String,
    checksum: i64,
}

struct TaskRow {
    scope: String,
    created: i64,
    body: String,
    checksum: i64,
    spec: String,
    spec_checksum: i64,
}

/// What a file has.
pub(crate) struct Rows {
    pub(crate) events: HashMap<i64, EventRow>,
    tasks: HashMap<String, TaskRow>,
}

impl Rows {
    pub(crate) fn read(path: &Path) -> Self {
        let file = Connection::open(path).unwrap();
        let sql = "SELECT seq, at, task, type, body, checksum FROM event";
        let mut statement = file.prepare(sql).unwrap();
        let events = statement.query_map([], |row| {
            let event = EventRow {
                at: row.get(1)?,
                task: row.get(2)?,
                kind: row.get(3)?,
                body: row.get(4)?,
                checksum: row.get(5)?,
            };
            Ok((row.get(0)?, event))
        });
        let events = events.unwrap().map(Result::unwrap).collect();
        let sql = "SELECT t.id, t.scope, t.created, t.body, t.checksum, s.body, s.checksum
            FROM task t JOIN spec s ON s.id = t.spec";
        let mut statement = file.prepare(sql).unwrap();
        let tasks = statement.query_map([], |row| {
            let task = TaskRow {
                scope: row.get(1)?,
                created: row.get(2)?,
                body: row.get(3)?,
                checksum: row.get(4)?,
                spec: row.get(5)?,
                spec_checksum: row.get(6)?,
            };
            Ok((row.get(0)?, task))
        });
        let tasks = tasks.unwrap().map(Result::unwrap).collect();
        Self { events, tasks }
    }
}

/// Writes these rows in these transactions.
pub(crate) fn write(path: &Path, rows: &Rows, commits: &[Commit]) -> Measured {
    // It has the tables, too.
    drop(SqliteStore::open(path, Options::default()).unwrap());
    let mut file = Connection::open(path).unwrap();
    file.pragma_update(None, "synchronous", "full").unwrap();
    file.pragma_update(None, "wal_autocheckpoint", 16_000)
        .unwrap();
    file.pragma_update(None, "cache_size", -65_536).unwrap();
    let mut specs = HashMap::new();
    let began = Instant::now();
    let mut each = Vec::new();
    for commit in commits {
        let began = Instant::now();
        let transaction = file.transaction().unwrap();
        put(&transaction, rows, commit, &mut specs);
        transaction.commit().unwrap();
        each.push(began.elapsed());
    }
    let elapsed = began.elapsed();
    Measured { elapsed, each }
}

fn put<'a>(
    file: &Transaction<'_>,
    rows: &'a Rows,
    commit: &'a Commit,
    specs: &mut HashMap<&'a str, i64>,
) {
    let run = |sql, values: &[&dyn rusqlite::ToSql]| {
        file.prepare_cached(sql).unwrap().execute(values).unwrap();
    };
    let mut states = HashMap::new();
    for seq in &commit.events {
        let event = &rows.events[seq];
        if event.kind == "accepted" {
            let sql = "INSERT INTO spec (task, body, checksum) VALUES (?, ?, ?)";
            let task = &rows.tasks[&event.task];
            run(sql, params![event.task, task.spec, task.spec_checksum]);
            specs.insert(&event.task, file.last_insert_rowid());
        }
        let state = match &*event.kind {
            "accepted" => "pending",
            "settled" => "completed",
            _ => "running",
        };
        states.insert(&*event.task, state);
        let sql = "INSERT INTO event (seq, at, task, spec, type, body, checksum)
            VALUES (?, ?, ?, ?, ?, ?, ?)";
        let (spec, body) = (specs[&*event.task], &event.body);
        let values = params![
            seq,
            event.at,
            event.task,
            spec,
            event.kind,
            body,
            event.checksum
        ];
        run(sql, values);
    }
    for id in &commit.tasks {
        let task = &rows.tasks[id];
        // What has no event here was told by the one before.
        let state = states.get(&**id).unwrap_or(&"completed");
        let sql = "INSERT INTO task (id, spec, scope, state, parent, created, body, checksum)
            VALUES (?, ?, ?, ?, NULL, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
            state = excluded.state, body = excluded.body, checksum = excluded.checksum";
        let (spec, scope, created) = (specs[&**id], &task.scope, task.created);
        let values = params![id, spec, scope, state, created, task.body, task.checksum];
        run(sql, values);
    }
}
