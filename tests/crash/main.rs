//! A process under load is killed at random, again and again, and nothing that it had acknowledged
//! is lost.
//!
//! The child is this executable, started anew. It tells on its output what was acknowledged; the
//! parent, which lives, remembers and compares with the file.
//! `UNDERSTORY_CRASH_ROUNDS` sets how often, `UNDERSTORY_CRASH_SEED` where the dice begin.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod child;
mod oracle;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oracle::Oracle;

/// The environment of a child: its folder, and when it ends itself.
const FOLDER: &str = "UNDERSTORY_CRASH_FOLDER";
const ABORT: &str = "UNDERSTORY_CRASH_ABORT";

/// How many rounds one file lives; then another one begins.
const ROUNDS_PER_FILE: u64 = 20;

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The next number of a sequence that looks random.
fn mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *seed;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// When a child ends.
enum End {
    /// It is killed after this time.
    Killed(Duration),
    /// It aborts before (even) or after (odd) its commit of half this number.
    Aborts(u64),
}

/// Runs one child to its end; what it told goes to the oracle.
fn round(folder: &Path, end: &End, oracle: &mut Oracle) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_process", "--nocapture", "--quiet"]);
    command.env(FOLDER, folder).env_remove(ABORT);
    if let End::Aborts(at) = end {
        command.env(ABORT, at.to_string());
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let (told, hears) = channel();
    let listener = std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    let limit = match end {
        End::Killed(after) => *after,
        End::Aborts(_) => Duration::from_secs(20),
    };
    let began = Instant::now();
    while let Ok(line) = hears.recv_timeout(limit.saturating_sub(began.elapsed())) {
        oracle.hear(&line);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap();
    // What it had written before it died.
    for line in hears.try_iter() {
        oracle.hear(&line);
    }
}

#[test]
fn child_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        child::run(Path::new(&folder), number(ABORT, u64::MAX));
    }
}

#[test]
fn p12_killed_process_loses_nothing_that_it_acknowledged() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = number("UNDERSTORY_CRASH_SEED", u64::from(since.subsec_nanos()));
    let rounds = number("UNDERSTORY_CRASH_ROUNDS", 10);
    println!("UNDERSTORY_CRASH_SEED={seed} UNDERSTORY_CRASH_ROUNDS={rounds}");
    let mut operations = 0;
    let mut left = rounds;
    while left > 0 {
        let folder = tempfile::tempdir().unwrap();
        let mut oracle = Oracle::new(folder.path());
        for _ in 0..left.min(ROUNDS_PER_FILE) {
            let after = Duration::from_millis(20 + mix(&mut seed) % 580);
            round(folder.path(), &End::Killed(after), &mut oracle);
            oracle.check();
        }
        left -= left.min(ROUNDS_PER_FILE);
        operations += oracle.operations();
    }
    println!("{operations} operations were acknowledged in {rounds} lives");
    assert!(
        operations > rounds,
        "only {operations} operations in {rounds} lives"
    );
}

#[test]
fn p12_process_that_dies_around_any_commit_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::new(folder.path());
    for at in 0..number("UNDERSTORY_CRASH_POINTS", 16) {
        round(folder.path(), &End::Aborts(at), &mut oracle);
        oracle.check();
    }
}
