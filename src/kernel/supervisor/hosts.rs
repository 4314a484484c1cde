//! Tasks whose executor is not registered here: they wait for it, and say so.
//!
//! # Invariants
//! 1. A task that waits for its executor holds no slot and stands in no queue.
//!
//! *Not here*: what an executor is, and what to refuse (`api/executor.rs`).

use super::super::bounds::Hosts;
use super::super::event::What;
use super::super::id::TaskId;
use super::super::record::Wait;
use super::super::state::State;
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;

impl Supervisor {
    /// The executors that are registered here have changed.
    pub(super) fn host(&mut self, hosts: Hosts) {
        self.bounds.hosts = hosts;
        let pending = |id: &TaskId| self.tasks[*id].record.state == State::Pending;
        let pending: Vec<_> = self.tasks.ids().into_iter().filter(pending).collect();
        for id in pending {
            let task = &self.tasks[id];
            let runs_here = self.bounds.hosts.runs(&task.record.spec);
            let is_waiting = task.record.wait == Some(Wait::Executor);
            if is_waiting && runs_here {
                self.ready.push_back(id);
            } else if task.queued.is_some() && !runs_here {
                self.withdraw(id);
                self.await_executor(id);
            }
        }
    }

    /// Lets a task that is ready wait for its executor, if that is not here.
    pub(super) fn lacks_executor(&mut self, id: TaskId) -> bool {
        let runs_here = self.bounds.hosts.runs(&self.tasks[id].record.spec);
        if runs_here || self.planted(Bug::HostIgnored) {
            return false;
        }
        self.await_executor(id);
        true
    }

    /// Whether a task waits for its executor, which may be registered for another scope.
    pub(super) fn awaits_executor(&self, id: TaskId) -> bool {
        self.tasks[id].record.wait == Some(Wait::Executor)
    }

    fn await_executor(&mut self, id: TaskId) {
        // It waits for no slot now.
        self.disarm(id, Alarm::Queue);
        if self.task(id).record.wait != Some(Wait::Executor) {
            self.edit(id).waits_since = None;
            self.set_wait(id, Some(Wait::Executor));
            self.emit(id, What::Pending(Wait::Executor));
        }
    }
}
