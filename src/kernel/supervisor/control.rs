//! Requests about limits, budgets, scopes and kept records, and their answers.
//!
//! # Invariants
//! 1. Each is decided whole in one step: it changes everything that it means or nothing.
//!
//! *Not here*: how each is decided, which is in a file of its own where it takes more than a line.

use super::super::admission::Capacity;
use super::super::id::Scope;
use super::Supervisor;
use super::protocol::{Reply, Ticket};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// How do the limit classes stand, those of this scope among them?
    Capacity(Option<Scope>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controlled {
    /// The classes, in a fixed order.
    Capacity(Vec<Capacity>),
}

impl Supervisor {
    pub(super) fn control(&mut self, ticket: Ticket, ask: Control) {
        let answer = match ask {
            Control::Capacity(scope) => {
                Controlled::Capacity(self.admission.capacity(scope.as_ref()))
            }
        };
        self.answer(ticket, Reply::Controlled(answer));
    }
}
