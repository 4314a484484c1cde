//! A plan and its processes, as a user would start them.

mod pipe;
mod run;

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::proc::{Mark, PATIENCE, Watch};
pub(crate) use run::{Done, Run};

/// A plan in a directory of its own, where its processes run.
pub(crate) struct Crew {
    directory: TempDir,
    /// The directory of its sockets, whose paths must be short.
    sockets: TempDir,
    mark: Mark,
    plan: String,
}

/// One task that runs a shell script.
pub(crate) fn task(name: &str, script: &str, more: &str) -> String {
    assert!(!script.contains("'''"), "the script is quoted so");
    format!("[[task]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n{more}\n")
}

/// A new directory that only its owner can use, whatever the umask is.
fn private(place: &Path) -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("u")
        .permissions(Permissions::from_mode(0o700));
    builder
        .tempdir_in(place)
        .expect("there is a temporary directory")
}

impl Crew {
    pub(crate) fn new(plan: &str) -> Self {
        Self {
            directory: private(&env::temp_dir()),
            sockets: private(Path::new("/tmp")),
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
            .env("TMPDIR", self.sockets.path())
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

    /// Starts it by somebody who has blocked these signals.
    pub(crate) fn start_with_blocked(&self, signals: &str) -> Run {
        let mut env = Command::new("env");
        env.arg(format!("--block-signal={signals}"));
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

    /// Starts it such that it may have only so many files open, unless it allows itself more.
    pub(crate) fn start_with_open_files(&self, count: u64) -> Run {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -S -n {count}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_understory")]);
        self.start_by(shell, &[])
    }

    /// Starts it with its standard output there.
    pub(crate) fn start_onto(&self, stdout: impl Into<Stdio>, arguments: &[&str]) -> Run {
        let command = Command::new(env!("CARGO_BIN_EXE_understory"));
        self.start_with(command, stdout.into(), arguments)
    }

    fn start_by(&self, command: Command, arguments: &[&str]) -> Run {
        self.start_with(command, Stdio::piped(), arguments)
    }

    fn start_with(&self, mut command: Command, stdout: Stdio, arguments: &[&str]) -> Run {
        let plan = self.file("PLAN.toml");
        fs::write(&plan, &self.plan).expect("the directory is ours");
        let child = command
            .arg("run")
            .arg(&plan)
            .args(arguments)
            .env(Mark::NAME, self.mark.value())
            .env("TMPDIR", self.sockets.path())
            .env("XDG_STATE_HOME", self.file("state"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        Run::new(child, self.sockets.path())
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
        for left in fs::read_dir(self.sockets.path()).expect("it is ours") {
            fs::remove_dir_all(left.expect("it is ours").path()).expect("it is ours");
        }
    }

    /// Runs to the end, and checks that nothing is left.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        let done = self.start(arguments).finish();
        assert_eq!(self.mark.survivors(), Vec::<String>::new());
        done
    }
}
