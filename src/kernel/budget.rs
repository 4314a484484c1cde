//! Budgets of trees: how much of something a task and all below it may use together.
//!
//! A counter is whatever the host counts: tokens, turns, cents. A charge is taken by every budget
//! of its counter from the charging task up to its root, or by none.
//!
//! # Invariants
//! 1. `used` never exceeds `limit`, and never falls.
//! 2. `exhausted` is set once, when a charge did not fit; the tree was told to stop then, and
//!    `used` stays as it is.
//!
//! *Not here*: who is charged and who is stopped (`supervisor/charge.rs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{Counter, TaskId};

/// Most budgets of one task.
pub const BUDGETS_MAX: usize = 16;

/// The budgets of a task by their counters.
pub type Budgets = BTreeMap<Counter, Budget>;

/// How much of one counter a task and all below it may use, and have used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The most that may be used.
    pub limit: u64,
    /// What has been charged.
    pub used: u64,
    /// Whether a charge did not fit, so that the tree was stopped. Nothing is charged after that.
    pub exhausted: bool,
}

impl Budget {
    /// A budget of which nothing has been used.
    pub const fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            exhausted: false,
        }
    }

    /// What may still be charged.
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// One charge and the budget that it met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// What was counted.
    pub counter: Counter,
    /// How much was asked for.
    pub amount: u64,
    /// The task whose body asked.
    pub by: TaskId,
    /// What the budget had used: with this charge when it was taken, without it when it did not
    /// fit.
    pub used: u64,
    /// The most that it may use.
    pub limit: u64,
}

/// What is left after a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The counter.
    pub counter: Counter,
    /// The least that any budget of it up to the root has left; `None` when there is none.
    pub left: Option<u64>,
}

/// Why nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeRefusal {
    /// The attempt that asks is over.
    Stale,
    /// The budget of this task has not so much left, or did not before; its tree is stopped.
    Exhausted(TaskId, Charge),
}
