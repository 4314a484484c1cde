//! The command, its process group, and everything that was orphaned below it.
//!
//! # Invariants
//! 1. The leader of the group is reaped last of all by [`Family::end`], after the group was killed:
//!    as long as it is not reaped, neither its number nor its group's can be given to strangers.
//! 2. After [`Family::end`] the shim has no child, hence no descendant (`orphans`, invariant 1).
//!
//! *Not here*: when to end (`shim`).

use std::process::Child;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal as Kill, WaitId, WaitIdOptions, WaitOptions, getpgid, kill_process,
    kill_process_group, wait, waitid, waitpid,
};
use tokio::signal::unix::Signal;
use tokio::time::timeout;

use crate::orphans;
use crate::wire::Exit;

/// First and longest pause between two looks at what is still dying.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Family {
    /// The command, whose number is its group's too.
    leader: Pid,
    is_stopping: bool,
}

impl Family {
    pub(super) fn of(command: &Child) -> Self {
        Self {
            leader: Pid::from_child(command),
            is_stopping: false,
        }
    }

    /// The command itself.
    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// Asks the whole group to stop.
    pub(super) fn terminate(&mut self) {
        self.is_stopping = true;
        // A group that is gone needs no signal; one that is stopped must go on to see it.
        let _ = kill_process_group(self.leader, Kill::TERM);
        let _ = kill_process_group(self.leader, Kill::CONT);
    }

    pub(super) fn kill_group(&self) {
        // Fails only when all of the group are dead already, or belong to another user.
        let _ = kill_process_group(self.leader, Kill::KILL);
    }

    /// Whether it is time to end: the command is over, and if the group was asked to stop, so is
    /// all of it.
    pub(super) fn has_ended(&self) -> bool {
        self.reap_orphans();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let is_leader_dead = !matches!(waitid(WaitId::Pid(self.leader), options), Ok(None));
        is_leader_dead && !(self.is_stopping && self.has_members())
    }

    /// Kills all that is left, waits until all of it is dead, and tells how the command ended.
    pub(super) async fn end(self, child_ended: &mut Signal) -> Exit {
        self.kill_group();
        let _ = kill_process(self.leader, Kill::KILL);
        let status = loop {
            match waitpid(Some(self.leader), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => break status,
                Ok(None) => drop(timeout(PAUSE_MAX, child_ended.recv()).await),
                Err(Errno::INTR) => {}
                Err(error) => unreachable!("invariant 1: nobody else reaps the leader: {error}"),
            }
        };
        let mut pause = PAUSE_MIN;
        loop {
            match wait(WaitOptions::NOHANG) {
                Err(Errno::CHILD) => break,
                Ok(Some(_)) | Err(_) => {}
                // Each death may orphan others, which then become children of the shim.
                Ok(None) => {
                    for child in orphans::children().unwrap_or_default() {
                        let _ = kill_process(child, Kill::KILL);
                    }
                    let _ = timeout(pause, child_ended.recv()).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        Exit::from_status(status.exit_status(), status.terminating_signal())
    }

    /// Whether any other process of the group is alive.
    fn has_members(&self) -> bool {
        others_of(self.leader).any(|child| getpgid(Some(child)) == Ok(self.leader))
    }

    /// Reaps what was adopted and has ended, so that it does not pile up.
    fn reap_orphans(&self) {
        for child in others_of(self.leader) {
            let _ = waitpid(Some(child), WaitOptions::NOHANG);
        }
    }
}

fn others_of(leader: Pid) -> impl Iterator<Item = Pid> {
    let children = orphans::children().unwrap_or_default();
    children.into_iter().filter(move |child| *child != leader)
}
