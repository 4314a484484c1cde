//! What one writes by hand where tasks must outlive their process: a row for each, in SQLite.
//!
//! A row is durable before its task runs and again before its end is told, as with understory. One
//! thread writes: all that waits goes into one transaction, with one sync. No scope, no event, no
//! bound, nobody who supervises, nothing that reads the rows again.

use std::sync::mpsc;

use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;

use super::{Measuring, Peer, by_callers, disk};
use crate::bench::sample::Sample;
use crate::bench::workload::Workload;

const TABLE: &str = "CREATE TABLE task (id INTEGER PRIMARY KEY, state TEXT NOT NULL, result TEXT)";
const BEGIN: &str = "INSERT INTO task (id, state) VALUES (?, 'running')";
const END: &str = "UPDATE task SET state = 'completed', result = ? WHERE id = ?";

/// A row a task.
pub(crate) struct ByHand;

impl Peer for ByHand {
    fn name(&self) -> &'static str {
        "sqlite by hand"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        let Workload::Durable { callers } = workload else {
            return None;
        };
        Some(Box::pin(durable(size, callers)))
    }
}

/// What becomes of a row, and who waits until that is durable.
struct Change {
    id: i64,
    result: Option<usize>,
    written: oneshot::Sender<()>,
}

async fn durable(size: usize, callers: usize) -> Sample {
    let folder = disk::folder();
    let mut file = opened(&folder.join("tasks.db")).expect("the file can be made");
    let (changes, waiting) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        write(&mut file, &waiting).expect("the file can be written");
        let all = "SELECT count(*) FROM task WHERE state = 'completed'";
        let all = file.query_row(all, [], |row| row.get::<_, i64>(0));
        all.expect("the file can be read")
    });
    let share = size / callers;
    let sample = by_callers(size, callers, |caller| {
        let changes = changes.clone();
        move |count| call(changes, caller * share, count)
    })
    .await;
    drop(changes);
    let written = writer.join().expect("it does not panic");
    assert_eq!(usize::try_from(written), Ok(sample.operations));
    disk::clear(&folder);
    sample
}

/// It waits for the disk at each commit, as the store of this crate does.
fn opened(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let file = Connection::open(path)?;
    file.pragma_update(None, "journal_mode", "wal")?;
    file.pragma_update(None, "synchronous", "full")?;
    file.pragma_update(None, "wal_autocheckpoint", 16_000)?;
    file.execute(TABLE, [])?;
    Ok(file)
}

async fn call(changes: mpsc::Sender<Change>, first: usize, count: usize) -> usize {
    let mut sum = 0;
    for number in 0..count {
        let id = i64::try_from(first + number).expect("a workload is small");
        put(&changes, id, None).await;
        let task = tokio::spawn(async move { number });
        let result = task.await.expect("it does not panic");
        put(&changes, id, Some(result)).await;
        sum += result;
    }
    sum
}

async fn put(changes: &mpsc::Sender<Change>, id: i64, result: Option<usize>) {
    let (written, durable) = oneshot::channel();
    let change = Change {
        id,
        result,
        written,
    };
    changes.send(change).expect("the writer lives");
    durable.await.expect("it is written");
}

/// Writes what comes until nobody is left who could send.
fn write(file: &mut Connection, waiting: &mpsc::Receiver<Change>) -> rusqlite::Result<()> {
    while let Ok(first) = waiting.recv() {
        let all: Vec<Change> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let transaction = file.transaction()?;
        for change in &all {
            put_row(&transaction, change)?;
        }
        transaction.commit()?;
        for change in all {
            // Whoever asked has waited for it.
            let _ = change.written.send(());
        }
    }
    Ok(())
}

fn put_row(file: &Transaction<'_>, change: &Change) -> rusqlite::Result<usize> {
    match change.result {
        None => file.prepare_cached(BEGIN)?.execute(params![change.id]),
        Some(result) => {
            let values = params![result.to_string(), change.id];
            file.prepare_cached(END)?.execute(values)
        }
    }
}
