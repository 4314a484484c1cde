//! A run of a plan, as a user would start it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Pid, Signal, kill_process};

use crate::proc::{Mark, PATIENCE, Watch, wait_for_end};

/// A plan in a directory of its own, where its processes run.
pub(crate) struct Crew {
    directory: tempfile::TempDir,
    mark: Mark,
    plan: String,
}

/// One task that runs a shell script.
pub(crate) fn task(name: &str, script: &str, more: &str) -> String {
    assert!(!script.contains("'''"), "the script is quoted so");
    format!("[[task]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n{more}\n")
}

impl Crew {
    pub(crate) fn new(plan: &str) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        Self {
            directory,
            mark: Mark::new(),
            plan: plan.to_owned(),
        }
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// A file that the processes of the crew know by its name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A pipe by which the processes of the crew and the test wait for each other.
    pub(crate) fn pipe(&self, name: &str) {
        let (here, fifo) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        let rights = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(here, self.file(name), fifo, rights, 0).expect("the directory is ours");
    }

    /// Lets whoever reads the pipe go on.
    pub(crate) fn release(&self, name: &str) {
        fs::write(self.file(name), "go\n").expect("somebody reads it");
    }

    /// Waits until a process of the crew writes to the pipe.
    pub(crate) fn wait_at(&self, name: &str) {
        let pipe = self.file(name);
        let (tell, told) = channel();
        std::thread::spawn(move || tell.send(fs::read(pipe)));
        let read = told.recv_timeout(PATIENCE).expect("somebody writes to it");
        read.expect("it is there");
    }

    /// The binary as its user has it in another terminal.
    pub(crate) fn terminal(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_understory"));
        command
            .args(arguments)
            .env("TMPDIR", self.file("tmp"))
            .env("XDG_STATE_HOME", self.file("state"))
            .env_remove("UNDERSTORY_SOCKET")
            .env_remove("UNDERSTORY_TOKEN")
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// What a verb says and how it exits, given in another terminal.
    pub(crate) fn say(&self, arguments: &[&str]) -> Done {
        let mut verb = self.terminal(arguments);
        let child = verb.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("the binary is built");
        let watch = Watch::over(&child);
        let output = child.wait_with_output().expect("it was not waited for");
        watch.end();
        Done {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Run {
        self.start_by(Command::new(env!("CARGO_BIN_EXE_understory")), arguments)
    }

    /// Starts it as a terminal does, also where these tests were started by `nohup`.
    pub(crate) fn start_with_hangup(&self) -> Run {
        let mut env = Command::new("env");
        env.arg("--default-signal=HUP");
        env.arg(env!("CARGO_BIN_EXE_understory"));
        self.start_by(env, &[])
    }

    /// Starts it as `nohup` would.
    pub(crate) fn start_without_hangup(&self) -> Run {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
        shell.arg(env!("CARGO_BIN_EXE_understory"));
        self.start_by(shell, &[])
    }

    /// Starts it such that it and its processes can write no file beyond so many KiB, until
    /// [`Run::lift_limit`].
    pub(crate) fn start_with_file_limit(&self, kib: u64, arguments: &[&str]) -> Run {
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" \"$@\"", 2 * kib);
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_understory")]);
        self.start_by(shell, arguments)
    }

    fn start_by(&self, mut command: Command, arguments: &[&str]) -> Run {
        let plan = self.file("PLAN.toml");
        fs::write(&plan, &self.plan).expect("the directory is ours");
        let sockets = self.file("tmp");
        fs::create_dir_all(&sockets).expect("the directory is ours");
        let mut child = command
            .arg("run")
            .arg(&plan)
            .args(arguments)
            .env(Mark::NAME, self.mark.value())
            .env("TMPDIR", &sockets)
            .env("XDG_STATE_HOME", self.file("state"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        Run {
            child,
            stdout: Some(stdout),
            stderr: Some(stderr),
            sockets,
        }
    }

    /// Kills understory as a crash does, waits for the end of its processes, and takes away the
    /// socket that it could not.
    pub(crate) fn crash(&self, run: Run) {
        run.signal(Signal::KILL);
        run.wait_killed();
        self.mark.wait_for_none();
        self.sweep();
    }

    /// Takes away what a run left that was killed.
    pub(crate) fn sweep(&self) {
        fs::remove_dir_all(self.file("tmp")).expect("the directory is ours");
    }

    /// Runs to the end, and checks that nothing is left.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        let done = self.start(arguments).finish();
        assert_eq!(self.mark.survivors(), Vec::<String>::new());
        done
    }
}

/// A run that goes on.
pub(crate) struct Run {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
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
            let stdout = self.stdout.as_mut().expect("it is not closed");
            let mut line = Vec::new();
            let count = stdout.read_until(b'\n', &mut line).expect("the run writes");
            assert!(count > 0, "the run ended without a line with {text:?}");
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
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
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let stderr = self.stderr.as_mut().expect("it is not closed");
            let count = stderr.read_line(&mut line).expect("the run writes text");
            assert!(count > 0, "the run ended without an error with {text:?}");
        }
        watch.end();
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
        self.stdout = None;
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
        self.has_no_socket();
        status.code()
    }

    fn has_no_socket(&self) {
        let left = fs::read_dir(&self.sockets).expect("it was made").count();
        assert_eq!(left, 0, "the socket is left behind");
    }

    /// Waits for its end, and checks that its socket is gone.
    pub(crate) fn finish(mut self) -> Done {
        let watch = Watch::over(&self.child);
        let mut errors = self.stderr.take().expect("it is taken only here");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            errors.read_to_end(&mut bytes).map(|_| bytes)
        });
        let mut stdout = Vec::new();
        if let Some(mut reader) = self.stdout.take() {
            reader.read_to_end(&mut stdout).expect("the run writes");
        }
        let status = self.child.wait().expect("it was not waited for");
        let stderr = reader
            .join()
            .expect("it does not panic")
            .expect("the run writes");
        watch.end();
        self.has_no_socket();
        Done {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
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
