//! Finding processes from outside, by a mark in their environment.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long the tests wait for something outside: far longer than hundreds of processes take to
/// start on a machine that is busy otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// An environment variable that nobody else has.
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) const NAME: &'static str = "UNDERSTORY_TEST_MARK";

    pub(crate) fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    pub(crate) fn value(&self) -> &str {
        &self.0
    }

    /// The command lines of all processes with this mark that still run.
    pub(crate) fn survivors(&self) -> Vec<String> {
        let needle = format!("{}={}", Self::NAME, self.0);
        let entries = fs::read_dir("/proc")
            .expect("these tests need /proc")
            .filter_map(Result::ok);
        let marked = entries.filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == needle.as_bytes())
        });
        marked.map(|entry| command_line(&entry.path())).collect()
    }

    /// Kills what still runs.
    pub(crate) fn kill_survivors(&self) {
        for survivor in self.survivors() {
            let process = survivor.trim_start_matches("/proc/").split(' ').next();
            let pid = process.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            // One that has ended meanwhile needs no signal.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }

    /// Waits until so many processes with this mark run.
    pub(crate) fn wait_for(&self, count: usize) {
        let survivors = || self.survivors();
        poll(&format!("{count} marked processes"), || {
            survivors().len() == count
        });
    }

    /// Waits until at least so many run.
    pub(crate) fn wait_for_at_least(&self, count: usize) {
        poll(&format!("{count} marked processes"), || {
            self.survivors().len() >= count
        });
    }

    /// Waits until none runs.
    pub(crate) fn wait_for_none(&self) {
        self.wait_for(0);
    }
}

fn command_line(process: &Path) -> String {
    let bytes = fs::read(process.join("cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    format!("{} {}", process.display(), words.join(" "))
}

/// Looks again and again at something outside until it is as it should be.
pub(crate) fn poll(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
