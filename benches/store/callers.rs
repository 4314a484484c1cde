//! Durable spawns of so many callers at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understory::Manager;

use crate::bare::{self, Commit, Rows};
use crate::{Measured, median, raw_syncs};

/// One repetition.
struct Turn {
    raw: Measured,
    spawns: Measured,
    /// Tasks a second of the bare loop.
    bare: f64,
}

impl Turn {
    fn share(&self) -> f64 {
        self.spawns.rate() / self.bare
    }
}

pub(crate) fn table(repetitions: u64) -> Vec<Value> {
    println!(
        "| callers | spawns /s | p50 µs | p99 µs | raw sync p50, p99 µs | bare loop /s | share |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut all = Vec::new();
    for callers in [1, 16, 256, 1_000] {
        let turns = (0..repetitions).map(|_| turn(callers)).collect();
        let turn = median(turns, Turn::share);
        let (rate, bare, share) = (turn.spawns.rate(), turn.bare, turn.share());
        let (p50, p99) = (turn.spawns.percentile(50), turn.spawns.percentile(99));
        let (raw50, raw99) = (turn.raw.percentile(50), turn.raw.percentile(99));
        let percent = 100.0 * share;
        println!(
            "| {callers} | {rate:.0} | {p50:.0} | {p99:.0} | {raw50:.0}, {raw99:.0} | {bare:.0} \
             | {percent:.0} % |"
        );
        all.push(json!({
            "what": "callers", "callers": callers, "per_s": rate, "p50_us": p50, "p99_us": p99,
            "raw_p50_us": raw50, "raw_p99_us": raw99, "bare": bare,
        }));
    }
    all
}

fn turn(callers: usize) -> Turn {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let raw = raw_syncs(200);
    let spawns = spawns(&path, callers);
    let rows = Rows::read(&path);
    let commits = rounds(&rows, callers);
    let took = bare::write(&folder.path().join("bare.db"), &rows, &commits);
    let bare = spawns.each.len() as f64 / took.elapsed.as_secs_f64();
    Turn { raw, spawns, bare }
}

/// What a loop has to write that serves so many callers at once, with one sync for all of them: the
/// beginnings of so many tasks, and the ends of those before.
fn rounds(rows: &Rows, callers: usize) -> Vec<Commit> {
    let mut events: Vec<_> = rows.events.iter().collect();
    events.sort_unstable_by_key(|(seq, _)| **seq);
    let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
    let mut commits = Vec::new();
    for (seq, event) in events {
        let count = tasks.len();
        let number = *tasks.entry(&event.task).or_insert(count);
        let at = number / callers + usize::from(event.kind == "settled");
        if commits.len() <= at {
            commits.resize_with(at + 1, || Commit {
                events: Vec::new(),
                tasks: Vec::new(),
            });
        }
        commits[at].events.push(*seq);
        if event.kind == "accepted" || event.kind == "settled" {
            commits[at].tasks.push(event.task.clone());
        }
    }
    commits
}

fn spawns(path: &Path, callers: usize) -> Measured {
    let runtime = tokio::runtime::Runtime::new().unwrap();
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
