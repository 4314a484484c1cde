//! Requests about limits, budgets, scopes and kept records, and their answers.
//!
//! # Invariants
//! 1. Each is decided whole in one step: it changes everything that it means or nothing.
//!
//! *Not here*: how each is decided, which is in a file of its own where it takes more than a line.

use super::super::admission::Capacity;
use super::super::budget::{ChargeRefusal, Remaining};
use super::super::id::{Counter, Epoch, Scope, TaskId};
use super::Supervisor;
use super::protocol::{Reply, Ticket};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
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
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controlled {
    /// The classes, in a fixed order.
    Capacity(Vec<Capacity>),
    /// What is left, or why nothing was charged.
    Charged(Result<Remaining, ChargeRefusal>),
}

impl Supervisor {
    pub(super) fn control(&mut self, ticket: Ticket, ask: Control) {
        let answer = match ask {
            Control::Capacity(scope) => {
                Controlled::Capacity(self.admission.capacity(scope.as_ref()))
            }
            Control::Charge {
                id,
                epoch,
                counter,
                amount,
            } => Controlled::Charged(self.charge(id, epoch, counter, amount)),
        };
        self.answer(ticket, Reply::Controlled(answer));
    }
}
