//! One command under its shim, seen from understory: lines out, lines in, and an end that is final.
//!
//! # Invariants
//! 1. [`Process::wait`] answers only after everything that the command started is dead (`shim`,
//!    invariant 1), also when the shim itself was killed: then `keeper` ends what it left.
//! 2. Lines are read only as fast as they are taken, in pieces of at most 64 KiB, so memory is
//!    bounded whatever the command writes.
//! 3. To stop a process never waits for its input or output.
//! 4. A dropped process is killed.
//!
//! *Not here*: what the lines mean, and when to stop (`run`).

mod driver;
mod keeper;
mod limit;
mod lines;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::Pid;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::wire::{Exit, FRAME_BYTES_MAX, Order};
use driver::{Driver, Window};
pub(crate) use keeper::Keeper;
pub(crate) use limit::lower_to as allow_open_files;
pub(crate) use lines::{Heard, Line, Lines, StreamName};

/// The hidden subcommand that makes our own binary a shim.
pub(crate) const SHIM_COMMAND: &str = "__shim";
/// What it is told of the open files that the command may have.
const OPEN_FILES_OPTION: &str = "--open-files";
/// Where a process of a resumed task finds what it was resumed with.
pub(crate) const RESUMED_VARIABLE: &str = "UNDERSTORY_RESUMED";
/// What the process list shows for it.
const SHIM_NAME: &str = "understory-shim";
/// Pieces of output that wait for a reader.
const LINES_MAX: usize = 8;
/// Orders that wait for the driver.
const ORDERS_MAX: usize = 4;

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Beside the variables of understory, or instead of them.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Variables of understory that it does not have.
    pub(crate) unset: Vec<String>,
    pub(crate) cwd: Option<PathBuf>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exit(Exit),
    /// The command could not be started.
    NotStarted {
        reason: String,
        /// Whether trying again would find the same.
        is_final: bool,
    },
    /// The shim was killed before it could tell; what it left is dead too.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Process {
    /// Its shim, below which everything is that it starts.
    shim: Option<Pid>,
    input: ProcessInput,
    ended: watch::Receiver<Option<Ended>>,
    terminate: CancellationToken,
    kill: CancellationToken,
    _kill_on_drop: DropGuard,
}

impl Process {
    /// Starts a command under a shim. A command that cannot be started ends at once.
    ///
    /// # Errors
    /// The system has no room for another process.
    pub(crate) fn start(keeper: &Arc<Keeper>, launch: &Launch) -> io::Result<(Self, Lines)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let control = UnixStream::from_std(ours)?;
        let mut child = keeper.spawn(shim_command(launch, keeper.open_files(), theirs))?;
        let (terminate, kill) = (CancellationToken::new(), keeper.kill_token());
        let (orders, order_inbox) = mpsc::channel(ORDERS_MAX);
        let (ended_sender, ended) = watch::channel(None);
        let window = Window::new();
        let lines = lines::read(child.stdout(), child.stderr(), LINES_MAX, ended.clone());
        let process = Self {
            shim: child.pid(),
            input: ProcessInput {
                orders,
                window: window.clone(),
            },
            ended,
            terminate: terminate.clone(),
            _kill_on_drop: kill.clone().drop_guard(),
            kill: kill.clone(),
        };
        let driver = Driver {
            child,
            control,
            orders: order_inbox,
            window,
            terminate,
            kill,
        };
        tokio::spawn(driver.drive(ended_sender));
        Ok((process, lines))
    }

    /// The process below which everything is that the command starts.
    pub(crate) fn shim(&self) -> Option<Pid> {
        self.shim
    }

    /// Its standard input.
    pub(crate) fn input(&self) -> ProcessInput {
        self.input.clone()
    }

    /// Asks the process group to stop (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.terminate.cancel();
    }

    /// Kills everything that the command started.
    pub(crate) fn kill(&self) {
        self.kill.cancel();
    }

    /// Waits for the end of it and of everything that it started.
    ///
    /// What it wrote last may still wait in its [`Lines`].
    pub(crate) fn wait(&self) -> impl Future<Output = Ended> + use<> {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(ended) => ended.clone().unwrap_or(Ended::Unknown),
                Err(_) => Ended::Unknown,
            }
        }
    }
}

/// The standard input of a process.
#[derive(Clone, Debug)]
pub(crate) struct ProcessInput {
    orders: mpsc::Sender<Order>,
    window: Window,
}

impl ProcessInput {
    /// Writes one line; waits while the process does not read.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when the process does not read any more.
    /// # Cancel safety
    /// Dropping the future may leave a part of the line written.
    pub(crate) async fn write_line(&self, text: &str) -> io::Result<()> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(b'\n');
        for piece in bytes.chunks(FRAME_BYTES_MAX) {
            self.window.take(piece.len()).await?;
            self.order(Order::Input(piece.to_vec())).await?;
        }
        Ok(())
    }

    /// Closes it, once all lines are in it.
    pub(crate) async fn close(&self) {
        // Without a process it is closed already.
        let _ = self.order(Order::CloseInput).await;
    }

    async fn order(&self, order: Order) -> io::Result<()> {
        let sent = self.orders.send(order).await;
        // Without a driver there is no process any more that could obey.
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Our own binary as a shim for the command, which may have so many files open, if not as many as
/// we may.
fn shim_command(launch: &Launch, open_files: Option<u64>, control: StdUnixStream) -> Command {
    let mut shim = Command::new(own_binary());
    shim.arg0(SHIM_NAME).arg(SHIM_COMMAND);
    shim.args(open_files.map(|count| format!("{OPEN_FILES_OPTION}={count}")));
    shim.arg("--").args(&launch.command);
    for name in &launch.unset {
        shim.env_remove(name);
    }
    // This run may itself be part of a task that was resumed.
    shim.env_remove(RESUMED_VARIABLE);
    shim.envs(launch.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &launch.cwd {
        shim.current_dir(cwd);
    }
    shim.stdin(OwnedFd::from(control))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    shim
}

/// On Linux the running binary itself, even if its file was replaced since.
fn own_binary() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("understory"))
}
