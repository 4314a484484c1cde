//! A run that goes on, and what is left of it when it is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use super::pipe::{Pipe, read_either};
use crate::proc::{Watch, wait_for_end};

/// A run that goes on.
///
/// Whoever waits for a line of one of its streams reads the other, too: a run that cannot write
/// there does not go on. Without such a wait nothing is read.
pub(crate) struct Run {
    child: Child,
    stdout: Pipe<ChildStdout>,
    stderr: Pipe<ChildStderr>,
    sockets: PathBuf,
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(super) fn new(mut child: Child, sockets: &Path) -> Self {
        let stdout = Pipe::of(child.stdout.take());
        let stderr = Pipe::of(child.stderr.take());
        Self {
            child,
            stdout,
            stderr,
            sockets: sockets.to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it was not waited for");
    }

    /// Reads standard output up to a line that contains this, and returns that line.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        self.lines_to(text).pop().expect("it is the last of them")
    }

    /// Reads standard output up to a line that contains this, which is the last of them.
    pub(crate) fn lines_to(&mut self, text: &str) -> Vec<String> {
        let watch = Watch::over(&self.child);
        let mut lines = Vec::new();
        while !lines
            .last()
            .is_some_and(|line: &String| line.contains(text))
        {
            match self.stdout.line() {
                Some(line) => lines.push(line),
                None => assert!(
                    self.read(),
                    "the run ended without a line with {text:?}: {}",
                    self.stderr.rest()
                ),
            }
        }
        watch.end();
        lines
    }

    /// The two numbers of processes that the line with this ends with.
    pub(crate) fn pids_after(&mut self, text: &str) -> [Pid; 2] {
        let line = self.line_with(text);
        let (_, numbers) = line.split_once(text).expect("the line contains it");
        let pids: Option<Vec<Pid>> = numbers
            .split(' ')
            .map(|number| Pid::from_raw(number.parse().ok()?))
            .collect();
        let pids = pids.and_then(|pids| pids.try_into().ok());
        pids.unwrap_or_else(|| panic!("two numbers: {line}"))
    }

    /// Reads standard error up to a line that contains this.
    pub(crate) fn error_with(&mut self, text: &str) {
        let watch = Watch::over(&self.child);
        loop {
            match self.stderr.line() {
                Some(line) if line.contains(text) => break,
                Some(_) => {}
                None => assert!(self.read(), "the run ended without an error with {text:?}"),
            }
        }
        watch.end();
    }

    /// Reads what either stream has next; whether there was any.
    fn read(&mut self) -> bool {
        read_either(&mut self.stdout, &mut self.stderr)
    }

    /// Lets it write files of any size.
    pub(crate) fn lift_limit(&self) {
        use rustix::process::{Resource, getrlimit, prlimit};
        let ours = getrlimit(Resource::Fsize);
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Fsize, ours).expect("it runs");
    }

    /// Goes away as a reader of standard output.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout.close();
    }

    /// Kills it and this shim of it such that neither can clean up after the other.
    pub(crate) fn kill_with(self, shim: Pid) {
        // Stopped first, neither hears of the other's end.
        self.signal(Signal::STOP);
        kill_process(shim, Signal::STOP).expect("it runs");
        self.signal(Signal::KILL);
        kill_process(shim, Signal::KILL).expect("it runs");
        self.wait_killed();
        wait_for_end(shim);
    }

    /// Waits for its death by SIGKILL, which leaves its socket behind.
    pub(crate) fn wait_killed(mut self) -> ExitStatus {
        self.child.wait().expect("it was not waited for")
    }

    /// Waits for its end without reading what it writes.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        let watch = Watch::over(&self.child);
        let status = self.child.wait().expect("it was not waited for");
        watch.end();
        self.check_socket_is_gone();
        status.code()
    }

    fn check_socket_is_gone(&self) {
        let left = fs::read_dir(&self.sockets).expect("it was made").count();
        assert_eq!(left, 0, "the socket is left behind");
    }

    /// Waits for its end, and checks that its socket is gone.
    pub(crate) fn finish(mut self) -> Done {
        let watch = Watch::over(&self.child);
        while self.read() {}
        let status = self.child.wait().expect("it was not waited for");
        watch.end();
        self.check_socket_is_gone();
        Done {
            code: status.code(),
            stdout: self.stdout.rest(),
            stderr: self.stderr.rest(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A test that failed must not leave a run behind. One that has ended is not there any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
