//! Long-lived tasks: what their policy says when their body has ended.
//!
//! # Invariants
//! 1. Each restart is an event, and counted in the record, which a crash keeps.
//! 2. A restart waits for the task's children like every conclusion (K5), and is an attempt of its
//!    own: the body before it has stopped, its slot was given back.
//!
//! *Not here*: the policy itself (`kernel/restart.rs`), the delay (`alarm`).

use std::sync::Arc;

use super::super::event::What;
use super::super::id::TaskId;
use super::super::record::{Conclusion, Fault, FaultKind, Outcome};
use super::Bug;
use super::Supervisor;

impl Supervisor {
    /// Another start by the policy of a long-lived task, if that allows one.
    pub(super) fn restart_of(&mut self, id: TaskId, fault: Option<&Fault>) -> Option<Conclusion> {
        let (now, dice) = (self.now, self.dice);
        let is_planted = self.planted(Bug::RestartedTooOften);
        let spec = Arc::clone(&self.task(id).record.spec);
        let policy = spec.restarts()?;
        let record = self.edit(id);
        if !policy.allows(now, &mut record.restarted_at) && !is_planted {
            return None;
        }
        record.restarted_at.push(now);
        record.restarts += 1;
        let number = u32::try_from(record.restarted_at.len()).unwrap_or(u32::MAX);
        let (restarts, fault) = (record.restarts, fault.cloned());
        self.emit(id, What::Restarting { restarts, fault });
        Some(Conclusion::Retry(policy.delay_of(number, dice)))
    }

    /// A body that shall never end has returned a value.
    pub(super) fn restart_after_value(&mut self, id: TaskId) -> Conclusion {
        self.dice = self.dice.wrapping_add(1);
        if let Some(again) = self.restart_of(id, None) {
            return again;
        }
        let fault = Fault {
            kind: FaultKind::Error,
            message: "it returned a value".into(),
        };
        let fault = self.restarts_used_up(id, &fault).unwrap_or(fault);
        Conclusion::Settle(Arc::new(Outcome::Failed(fault)))
    }

    /// What ends a long-lived task whose policy would start it again, and may no more.
    pub(super) fn restarts_used_up(&mut self, id: TaskId, fault: &Fault) -> Option<Fault> {
        let policy = self.task(id).record.spec.restarts()?;
        let message = policy.used_up(&fault.to_string()).into();
        let kind = FaultKind::RestartedTooOften;
        Some(Fault { kind, message })
    }
}
