//! What durability costs: the manager over a file, beside what the disk and SQLite alone can do.
//!
//! `cargo bench --bench store` prints: raw syncs of this disk; the store against a bare loop of
//! `rusqlite` that writes the same rows in the same transactions; durable spawns of so many callers
//! at once against such a loop; a large file; recovery.
//! `--json FILE` writes the same figures, `--records N` says how large (1,000,000), `--repetitions
//! N` how often (3), `--only TEXT` picks among `raw`, `store`, `callers`, `large` and `recovery`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod bare;
mod callers;
mod recorder;
mod scale;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understory::store::sqlite::{self, SqliteStore};
use understory::store::{Batch, Store};

use bare::{Commit, Rows};

/// How many tasks the batches of the second table are about.
const TASKS: usize = 4_000;

/// How many live tasks are recovered.
const LIVE: u64 = 100_000;

struct Options {
    json: Option<String>,
    only: Option<String>,
    records: u64,
    repetitions: u64,
}

impl Options {
    fn read() -> Self {
        let mut read = Self {
            json: None,
            only: None,
            records: 1_000_000,
            repetitions: 3,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .unwrap_or_else(|| panic!("{word} needs a value"))
            };
            match &*word {
                // Cargo says that it is a benchmark that runs.
                "--bench" => {}
                "--json" => read.json = Some(value()),
                "--only" => read.only = Some(value()),
                "--records" => read.records = value().parse().expect("--records is a number"),
                "--repetitions" => {
                    read.repetitions = value().parse().expect("--repetitions is a number");
                }
                _ => panic!("{word} is not known: see the top of benches/store/main.rs"),
            }
        }
        read
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(&**only))
    }
}

fn main() {
    // A cargo test run asks for the list of tests.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let options = Options::read();
    let mut all = Vec::new();
    if options.wants("raw") {
        head("raw");
        all.push(row("raw", "4 KiB and fdatasync", &raw_syncs(500)));
        println!();
    }
    if options.wants("store") {
        all.extend(shares(options.repetitions));
        println!();
    }
    if options.wants("callers") {
        all.extend(callers::table(options.repetitions));
        println!();
    }
    if options.wants("large") {
        all.extend(scale::large(options.records));
        println!();
    }
    if options.wants("recovery") {
        all.extend(scale::recoveries(LIVE));
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&all).unwrap();
        std::fs::write(path, text + "\n").unwrap();
    }
}

/// How long something took, and each part of it.
struct Measured {
    elapsed: Duration,
    each: Vec<Duration>,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.each.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// What so many percent took at most, in microseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let mut each = self.each.clone();
        each.sort_unstable();
        each[(each.len() - 1) * percent / 100].as_secs_f64() * 1e6
    }
}

fn head(what: &str) {
    println!("| {what} | per second | p50 µs | p99 µs |\n| --- | ---: | ---: | ---: |");
}

fn row(what: &str, name: &str, measured: &Measured) -> Value {
    let (rate, p50, p99) = (
        measured.rate(),
        measured.percentile(50),
        measured.percentile(99),
    );
    println!("| {name} | {rate:.0} | {p50:.0} | {p99:.0} |");
    json!({"what": what, "name": name, "per_s": rate, "p50_us": p50, "p99_us": p99})
}

fn raw_syncs(count: usize) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.path().join("raw"))
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

/// The middle one, by what is measured of it.
fn median<T>(mut all: Vec<T>, by: impl Fn(&T) -> f64) -> T {
    all.sort_by(|one, other| by(one).total_cmp(&by(other)));
    let middle = all.len() / 2;
    all.swap_remove(middle)
}

/// The store beside the bare loop.
fn shares(repetitions: u64) -> Vec<Value> {
    let batches = recorder::record(TASKS);
    println!("| steps a commit | bare loop /s | store /s | share |\n| ---: | ---: | ---: | ---: |");
    let mut all = Vec::new();
    for group in [1, 10, 100, 1_000] {
        let steps = if group == 1 { 2_000 } else { batches.len() };
        let commits = gathered(&batches[..steps], group);
        let measured = (0..repetitions).map(|_| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tasks.db");
            let store = replay(&path, &commits);
            let rows = Rows::read(&path);
            let commits: Vec<_> = commits.iter().map(Commit::of).collect();
            let bare = bare::write(&folder.path().join("bare.db"), &rows, &commits);
            let rate = |took: &Measured| steps as f64 / took.elapsed.as_secs_f64();
            (rate(&bare), rate(&store))
        });
        let (bare, store) = median(measured.collect(), |(bare, store)| store / bare);
        let share = 100.0 * store / bare;
        println!("| {group} | {bare:.0} | {store:.0} | {share:.0} % |");
        all.push(json!({"what": "store", "steps": group, "bare": bare, "store": store}));
    }
    all
}

/// So many steps in each commit.
fn gathered(batches: &[Batch], group: usize) -> Vec<Batch> {
    let gather = |group: &[Batch]| {
        let mut commit = Batch::default();
        for batch in group {
            commit.absorb(batch.clone());
        }
        commit.compact();
        // Nobody holds the lease of this file.
        commit.by = None;
        commit
    };
    batches.chunks(group).map(gather).collect()
}

fn replay(path: &Path, commits: &[Batch]) -> Measured {
    let store = SqliteStore::open(path, sqlite::Options::default()).unwrap();
    let began = Instant::now();
    let mut each = Vec::new();
    for commit in commits {
        let began = Instant::now();
        store.commit(commit).unwrap();
        each.push(began.elapsed());
    }
    let elapsed = began.elapsed();
    Measured { elapsed, each }
}
