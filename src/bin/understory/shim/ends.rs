//! When to look whether the command has ended.
//!
//! # Invariants
//! 1. Linux tells of the end of the command also where whoever started the run has blocked
//!    SIGCHLD, which is inherited: by a handle of it. What ends after it is then looked for from
//!    time to time.
//!
//! *Not here*: whether it has ended (`family`).

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// The pause between two looks at what the command has left.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Ends {
    child_ended: Signal,
    leader: Leader,
}

/// What tells of the end of the command.
#[derive(Debug)]
enum Leader {
    /// Nothing but the signal.
    Unknown,
    Runs(AsyncFd<OwnedFd>),
    Over,
}

impl Ends {
    /// Begins to listen, before there is a child.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            child_ended: signal(SignalKind::child())?,
            leader: Leader::Unknown,
        })
    }

    /// Tells of the end of this child, too, which is not reaped yet.
    pub(super) fn watch(&mut self, leader: Pid) {
        // Without a handle, as on an old kernel, there is still the signal.
        self.leader = handle(leader).map_or(Leader::Unknown, Leader::Runs);
    }

    /// The signal by itself.
    pub(super) fn signal(&mut self) -> &mut Signal {
        &mut self.child_ended
    }

    /// Waits until a child may have ended.
    ///
    /// # Cancel safety
    /// No end is lost when the future is dropped.
    pub(super) async fn recv(&mut self) {
        let told = async {
            match &self.leader {
                Leader::Unknown => pending().await,
                Leader::Runs(handle) => drop(handle.readable().await),
                Leader::Over => sleep(PAUSE).await,
            }
        };
        tokio::select! {
            biased;
            _ = self.child_ended.recv() => {}
            () = told => self.leader = Leader::Over,
        }
    }
}

/// What becomes readable when the process ends.
#[cfg(target_os = "linux")]
#[allow(deprecated)] // All else is unsafe by now; the handle is open for as long as it is watched.
fn handle(process: Pid) -> Option<AsyncFd<OwnedFd>> {
    use rustix::process::{PidfdFlags, pidfd_open};
    let handle = pidfd_open(process, PidfdFlags::empty()).ok()?;
    AsyncFd::with_interest(handle, tokio::io::Interest::READABLE).ok()
}

#[cfg(not(target_os = "linux"))]
fn handle(_process: Pid) -> Option<AsyncFd<OwnedFd>> {
    None
}
