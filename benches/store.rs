//! What durability costs: the manager over a file, beside what the disk and SQLite alone can do.
//!
//! `cargo bench --bench store` prints three tables: raw syncs of this disk; the store against a
//! bare loop of `rusqlite` that writes the same rows; durable spawns of so many callers at once.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use understory::store::sqlite::{Options, SqliteStore};
use understory::store::{
    Batch, Latency, Lease, LeaseAsk, Loaded, MemoryStore, Store, StoreError, Tenancy,
};
use understory::{Event, Manager, Seq};

/// How many tasks the batches of the second table are about.
const TASKS: usize = 4_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    // A cargo test run asks for the list of tests.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("| raw | per second | p50 µs | p99 µs |\n| --- | ---: | ---: | ---: |");
    row(
        "4 KiB and fdatasync",
        &raw_syncs(&folder.path().join("raw"), 500),
    );
    println!();
    let batches = record();
    println!("| steps a commit | bare loop /s | store /s | share |\n| ---: | ---: | ---: | ---: |");
    for group in [1, 10, 100, 1_000] {
        let steps = if group == 1 { 2_000 } else { batches.len() };
        let store = replay(
            &folder.path().join(format!("{group}.db")),
            &batches[..steps],
            group,
        );
        let bare = bare(&folder.path().join(format!("{group}.db")), group);
        println!(
            "| {group} | {bare:.0} | {store:.0} | {:.0} % |",
            100.0 * store / bare
        );
    }
    println!();
    println!("| callers | spawns /s | p50 µs | p99 µs |\n| ---: | ---: | ---: | ---: |");
    for callers in [1, 16, 256, 1_000] {
        let path = folder.path().join(format!("callers{callers}.db"));
        row(&callers.to_string(), &spawns(&path, callers));
    }
}

struct Measured {
    elapsed: Duration,
    each: Vec<Duration>,
}

fn row(name: &str, measured: &Measured) {
    let mut each = measured.each.clone();
    each.sort_unstable();
    let at = |percent: usize| each[(each.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let rate = each.len() as f64 / measured.elapsed.as_secs_f64();
    println!("| {name} | {rate:.0} | {:.0} | {:.0} |", at(50), at(99));
}

fn raw_syncs(path: &Path, count: usize) -> Measured {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    let began = Instant::now();
    let mut each = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
        each.push(began.elapsed());
    }
    let elapsed = began.elapsed();
    Measured { elapsed, each }
}

/// Remembers every batch.
#[derive(Debug, Default)]
struct Recorder {
    inner: MemoryStore,
    batches: Mutex<Vec<Batch>>,
}

impl Store for Recorder {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.batches.lock().unwrap().push(batch.clone());
        self.inner.commit(batch)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        self.inner.events(after, limit)
    }

    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        self.inner.lease(ask)
    }

    fn tenancy(&self) -> Tenancy {
        self.inner.tenancy()
    }

    fn latency(&self) -> Latency {
        Latency::Instant
    }
}

/// The batches of plain tasks, one after another.
fn record() -> Vec<Batch> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let recorder = Arc::new(Recorder::default());
        let manager = Manager::builder()
            .store(Arc::clone(&recorder))
            .build()
            .unwrap();
        for _ in 0..TASKS {
            let task = manager.scope("bench").unnamed().label("agent", "reader");
            task.spawn(|_| async { Ok(7) })
                .await
                .unwrap()
                .await
                .unwrap();
        }
        std::mem::take(&mut *recorder.batches.lock().unwrap())
    })
}

/// Steps per second of the store, so many in a commit.
fn replay(path: &Path, batches: &[Batch], group: usize) -> f64 {
    let store = SqliteStore::open(path, Options::default()).unwrap();
    let began = Instant::now();
    for group in batches.chunks(group) {
        let mut commit = Batch::default();
        for batch in group {
            commit.absorb(batch.clone());
        }
        commit.compact();
        // Nobody holds the lease of this file.
        commit.by = None;
        store.commit(&commit).unwrap();
    }
    batches.len() as f64 / began.elapsed().as_secs_f64()
}

/// An event with its record and its spec: number, time, task, type, and the three texts.
type Row = (i64, i64, String, String, String, String, String);

/// The same for a loop that writes the rows of that file into another one of the same shape.
fn bare(path: &Path, group: usize) -> f64 {
    let source = Connection::open(path).unwrap();
    let sql = "SELECT e.seq, e.at, e.task, e.type, e.body, t.body, s.body
        FROM event e JOIN task t ON t.id = e.task JOIN spec s ON s.id = e.spec ORDER BY e.seq";
    let mut statement = source.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Row::try_from(row));
    let rows: Vec<Row> = rows.unwrap().map(Result::unwrap).collect();
    let path = path.with_extension("bare");
    drop(SqliteStore::open(&path, Options::default()).unwrap());
    let mut file = Connection::open(&path).unwrap();
    file.pragma_update(None, "synchronous", "full").unwrap();
    file.pragma_update(None, "wal_autocheckpoint", 16_000)
        .unwrap();
    file.pragma_update(None, "cache_size", -65_536).unwrap();
    let began = Instant::now();
    for group in rows.chunks(group) {
        let transaction = file.transaction().unwrap();
        for row in group {
            write(&transaction, row);
        }
        transaction.commit().unwrap();
    }
    rows.len() as f64 / began.elapsed().as_secs_f64()
}

fn write(file: &Connection, row: &Row) {
    let run = |sql, values: &[&dyn rusqlite::ToSql]| {
        file.prepare_cached(sql).unwrap().execute(values).unwrap();
    };
    let (seq, at, task, kind, body, record, spec) = row;
    if kind == "accepted" {
        let sql = "INSERT INTO spec (task, body, checksum) VALUES (?, ?, 0)";
        run(sql, params![task, spec]);
    }
    let sql = "INSERT INTO event (seq, at, task, spec, type, body, checksum)
        VALUES (?, ?, ?, 1, ?, ?, 0)";
    run(sql, params![seq, at, task, kind, body]);
    let sql = "INSERT INTO task (id, spec, scope, state, parent, created, body, checksum)
        VALUES (?, 1, 'bench', ?, NULL, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, body = excluded.body, checksum = excluded.checksum";
    run(sql, params![task, kind, at, record]);
}

/// Durable spawns of so many callers at once.
fn spawns(path: &Path, callers: usize) -> Measured {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let count = if callers == 1 { 1_000 } else { 20_000 };
    runtime.block_on(async {
        let manager = Manager::open(path).await.unwrap();
        let began = Instant::now();
        let callers = (0..callers).map(|_| {
            let scope = manager.scope("bench");
            tokio::spawn(async move {
                let mut each = Vec::new();
                for _ in 0..count / callers {
                    let began = Instant::now();
                    scope.unnamed().spawn(|_| async { Ok(7) }).await.unwrap();
                    each.push(began.elapsed());
                }
                each
            })
        });
        let mut each = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            each.extend(caller.await.unwrap());
        }
        let elapsed = began.elapsed();
        manager.shutdown(Duration::from_secs(10)).await.unwrap();
        Measured { elapsed, each }
    })
}
