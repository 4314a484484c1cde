//! Requests about limits, budgets, scopes and kept records, and their answers.
//!
//! # Invariants
//! 1. Each is decided whole in one step: it changes everything that it means or nothing.
//!
//! *Not here*: how each is decided, which is in a file of its own where it takes more than a line.

use std::sync::Arc;

use super::super::admission::Capacity;
use super::super::budget::{ChargeRefusal, Remaining};
use super::super::id::{Counter, Epoch, Scope, Seq, TaskId};
use super::super::record::Requester;
use super::Supervisor;
use super::abandon::AbandonRefusal;
use super::close::{CloseRefusal, CloseReport};
use super::grants::{GrantChange, GrantRefusal};
use super::protocol::{Reply, StopAsk, Ticket};
use super::retention::Removed;
use super::transfer::{TransferRefusal, TransferReport};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Somebody gives up on a task that is being stopped.
    Abandon {
        /// Which.
        id: TaskId,
        /// Why.
        reason: Arc<str>,
        /// Who.
        by: Requester,
    },
    /// Somebody changes who holds a grant of a task.
    Grant {
        /// Which task.
        id: TaskId,
        /// How.
        change: GrantChange,
    },
    /// How do the limit classes stand, those of this scope among them?
    Capacity(Option<Scope>),
    /// A body charges the budgets of a counter, from its task up to the root.
    Charge {
        /// Its task.
        id: TaskId,
        /// Its epoch.
        epoch: Epoch,
        /// What it counts.
        counter: Counter,
        /// How much.
        amount: u64,
    },
    /// Somebody closes a scope.
    Close {
        /// Which.
        scope: Scope,
        /// Why, by whom and how fast those stop that are cancelled.
        ask: StopAsk,
        /// Whether it stays open when a task lives in it.
        only_if_idle: bool,
    },
    /// Remove records whose time is over, some at a time.
    Sweep,
    /// Remove the records of these tasks that are settled and stopped, and as they were when they
    /// were chosen: with this number.
    Remove(Vec<(TaskId, Seq)>),
    /// Somebody opens a closed scope again.
    Reopen(Scope),
    /// Somebody moves tasks to another scope, all or none.
    Transfer {
        /// Which, each with everything below it.
        ids: Vec<TaskId>,
        /// Where to.
        to: Scope,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controlled {
    /// The tasks that are no longer waited for, or why nothing happened.
    Abandoned(Result<Vec<TaskId>, AbandonRefusal>),
    /// Whether a grant changed, or why none could.
    Granted(Result<bool, GrantRefusal>),
    /// The classes, in a fixed order.
    Capacity(Vec<Capacity>),
    /// What is left, or why nothing was charged.
    Charged(Result<Remaining, ChargeRefusal>),
    /// What became of the tasks of a scope, or why it was not closed.
    Closed(Result<Box<CloseReport>, CloseRefusal>),
    /// How many records were removed, by their states.
    Removed(Removed),
    /// Whether the scope was closed before.
    Reopened(bool),
    /// What was moved, or why nothing was.
    Transferred(Result<Box<TransferReport>, TransferRefusal>),
}

impl Supervisor {
    pub(super) fn control(&mut self, ticket: Ticket, ask: Control) {
        let answer = match ask {
            Control::Abandon { id, reason, by } => {
                Controlled::Abandoned(self.ask_abandon(id, reason, by))
            }
            Control::Grant { id, change } => Controlled::Granted(self.change_grants(id, change)),
            Control::Capacity(scope) => {
                Controlled::Capacity(self.admission.capacity(scope.as_ref()))
            }
            Control::Charge {
                id,
                epoch,
                counter,
                amount,
            } => Controlled::Charged(self.charge(id, epoch, counter, amount)),
            Control::Close {
                scope,
                ask,
                only_if_idle,
            } => match self.close_scope(ticket, &scope, &ask, only_if_idle) {
                Some(answer) => answer,
                None => return,
            },
            Control::Sweep => Controlled::Removed(self.sweep()),
            Control::Remove(chosen) => Controlled::Removed(self.remove_all(&chosen)),
            Control::Reopen(scope) => Controlled::Reopened(self.reopen_scope(&scope)),
            Control::Transfer { ids, to } => {
                Controlled::Transferred(self.transfer(&ids, &to).map(Box::new))
            }
        };
        self.answer(ticket, Reply::Controlled(answer));
    }
}
