//! Processes from outside: found by a mark in their environment, and waited for to their end.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

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
        self.processes().map(command_line).collect()
    }

    fn processes(&self) -> impl Iterator<Item = Pid> {
        let variable = format!("{}={}", Self::NAME, self.0);
        let entries = fs::read_dir("/proc").expect("these tests need /proc");
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids = names.filter_map(|name| Pid::from_raw(name.parse().ok()?));
        pids.filter(move |pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|other| other == variable.as_bytes())
        })
    }

    /// Waits for ends of processes with this mark until only so many run.
    pub(crate) fn wait_until_left(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Whichever are to be left, of one more than these some end.
            let some: Vec<_> = self.processes().take(count + 1).collect();
            if some.len() <= count {
                return;
            }
            wait_for_an_end(&some, deadline);
        }
    }

    /// Waits until none runs.
    pub(crate) fn wait_for_none(&self) {
        self.wait_until_left(0);
    }
}

fn command_line(process: Pid) -> String {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    format!("{process} {}", words.join(" "))
}

/// The session of a process: 0 where it was begun outside of the namespace of this process, as in
/// a container.
pub(crate) fn session_of(process: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // Its name may have spaces and brackets: what follows the last one is state, parent, group,
    // session.
    let (_, fields) = stat.rsplit_once(')').expect("it has a name");
    let session = fields.split_whitespace().nth(3).expect("it has a session");
    session.parse().expect("it is a number")
}

/// Waits until this process has ended, whoever is its parent.
pub(crate) fn wait_for_end(process: Pid) {
    wait_for_an_end(&[process], Instant::now() + PATIENCE);
}

/// Waits until one of these has ended.
fn wait_for_an_end(processes: &[Pid], deadline: Instant) {
    let handles = processes
        .iter()
        .map(|process| pidfd_open(*process, PidfdFlags::empty()));
    let Ok(handles) = handles.collect::<Result<Vec<OwnedFd>, _>>() else {
        // One is not there any more.
        return;
    };
    let mut ends: Vec<_> = handles
        .iter()
        .map(|handle| PollFd::new(handle, PollFlags::IN))
        .collect();
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).expect("it is some minutes");
    let mut wait = || rustix::event::poll(&mut ends, Some(&left));
    let ended = rustix::io::retry_on_intr(&mut wait).expect("they are open");
    assert!(ended > 0, "gave up waiting for the end of {processes:?}");
}

/// Looks again and again at something outside that tells nobody when it changes, until it is as it
/// should be.
pub(crate) fn poll(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::yield_now();
    }
}

/// Kills a run that takes longer than anything here does, so that whoever waits for it comes to an
/// end and fails.
pub(crate) struct Watch {
    over: Sender<()>,
    has_killed: JoinHandle<bool>,
}

impl Watch {
    pub(crate) fn over(child: &Child) -> Self {
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let process = process.expect("it was not waited for");
        let (over, is_over) = channel();
        let has_killed = std::thread::spawn(move || {
            let is_late = is_over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            // One that ends at this very moment needs no signal.
            is_late && pidfd_send_signal(&process, Signal::KILL).is_ok()
        });
        Self { over, has_killed }
    }

    /// Watches no longer; the run must not have been killed.
    pub(crate) fn end(self) {
        drop(self.over);
        let has_killed = self.has_killed.join().expect("it does not panic");
        assert!(!has_killed, "the run took too long and was killed");
    }
}
