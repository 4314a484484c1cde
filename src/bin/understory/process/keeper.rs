//! All shims of this understory: who they are, and what is left when one is killed.
//!
//! # Invariants
//! 1. A child of understory is either one of the [`Keeper`]'s shims, or was there before it, or an
//!    orphan of a shim that was killed. To start a shim and to look for orphans exclude each other,
//!    so a shim is never taken for an orphan.
//!
//! *Not here*: talking to a shim (`driver`).

use std::collections::HashSet;
use std::io;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::limit;
use crate::orphans;

/// First and longest pause between two looks at orphans that are still dying.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Keeper {
    /// Children that are no orphans.
    known: Mutex<HashSet<Pid>>,
    live: watch::Sender<usize>,
    kill_all: CancellationToken,
    /// As many open files as each command may have, where this process has allowed itself more.
    open_files: Option<u64>,
}

impl Keeper {
    /// Makes this process the keeper of what its shims leave, with room for many of them.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        orphans::adopt()?;
        let known = orphans::children()?.into_iter().collect();
        let live = watch::Sender::new(0);
        Ok(Arc::new(Self {
            known: Mutex::new(known),
            live,
            kill_all: CancellationToken::new(),
            open_files: limit::raise(),
        }))
    }

    /// Kills all processes, those that start from now on too.
    pub(crate) fn kill_all(&self) {
        self.kill_all.cancel();
    }

    /// Waits until no process is left.
    pub(crate) async fn all_ended(&self) {
        // The sender is ours, so it is never gone.
        let _ = self.live.subscribe().wait_for(|live| *live == 0).await;
    }

    pub(super) fn open_files(&self) -> Option<u64> {
        self.open_files
    }

    pub(super) fn kill_token(&self) -> CancellationToken {
        self.kill_all.child_token()
    }

    /// Starts a shim. The command is used up, since it holds a stream that must be open only there.
    pub(super) fn spawn(self: &Arc<Self>, command: Command) -> io::Result<ShimChild> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let child = tokio::process::Command::from(command).spawn()?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        known.extend(pid);
        self.live.send_modify(|live| *live += 1);
        Ok(ShimChild {
            child,
            pid,
            keeper: Arc::clone(self),
        })
    }

    /// Kills what a killed shim left, until there is no more of it.
    pub(super) async fn end_orphans(&self) {
        let mut pause = PAUSE_MIN;
        while self.kill_orphans() {
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn kill_orphans(&self) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let children = orphans::children().unwrap_or_default();
        let mut found = false;
        for orphan in children.into_iter().filter(|child| !known.contains(child)) {
            found = true;
            let _ = kill_process(orphan, Signal::KILL);
            let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
        }
        found
    }
}

/// A running shim; known to the keeper until dropped.
#[derive(Debug)]
pub(super) struct ShimChild {
    child: Child,
    pid: Option<Pid>,
    keeper: Arc<Keeper>,
}

impl ShimChild {
    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(super) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Kills the shim itself, which leaves orphans.
    pub(super) fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.start_kill();
    }

    pub(super) async fn end_orphans(&self) {
        self.keeper.end_orphans().await;
    }
}

impl Drop for ShimChild {
    fn drop(&mut self) {
        if let Some(pid) = &self.pid {
            self.keeper
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(pid);
        }
        self.keeper.live.send_modify(|live| *live -= 1);
    }
}
