//! Charging the budgets above a body, and stopping the tree whose budget is used up.
//!
//! # Invariants
//! 1. A charge is taken by every budget of its counter up to the root, or by none.
//! 2. Of several budgets that it does not fit, the one nearest to the root counts: its tree has the
//!    others in it.
//! 3. An exhausted budget takes nothing more, however little, and that stops nobody again: what was
//!    used and the reason of the stop agree.

use std::sync::Arc;

use super::super::budget::{Budget, Charge, ChargeRefusal, Remaining};
use super::super::event::What;
use super::super::id::{Counter, Epoch, TaskId};
use super::super::record::{Cause, Requester};
use super::Supervisor;
use super::protocol::StopAsk;

impl Supervisor {
    pub(super) fn charge(
        &mut self,
        by: TaskId,
        epoch: Epoch,
        counter: Counter,
        amount: u64,
    ) -> Result<Remaining, ChargeRefusal> {
        if !self.is_current(by, epoch) {
            return Err(ChargeRefusal::Stale);
        }
        let owners = self.budgets_above(by, &counter);
        let is_spent = |(_, budget): &&(TaskId, Budget)| amount > 0 && budget.exhausted;
        let is_short = |(_, budget): &&(TaskId, Budget)| budget.left() < amount;
        let spent = owners.iter().rev().find(is_spent);
        let refusing = spent.or_else(|| owners.iter().rev().find(is_short));
        if let Some((owner, budget)) = refusing {
            let charge = Charge {
                counter,
                amount,
                by,
                used: budget.used,
                limit: budget.limit,
            };
            self.exhaust(*owner, charge.clone());
            return Err(ChargeRefusal::Exhausted(*owner, charge));
        }
        let left = owners.iter().map(|(_, budget)| budget.left() - amount);
        let left = left.min();
        if amount > 0 {
            for (owner, budget) in owners {
                self.take_from(owner, budget, &counter, amount, by);
            }
        }
        Ok(Remaining { counter, left })
    }

    /// The budgets of a counter from this task up to its root.
    fn budgets_above(&self, id: TaskId, counter: &Counter) -> Vec<(TaskId, Budget)> {
        let mut found = Vec::new();
        let mut at = Some(id);
        while let Some(id) = at {
            let task = self.tasks.get(id);
            let budget = task.and_then(|task| task.record.budgets.get(counter));
            found.extend(budget.map(|budget| (id, *budget)));
            at = self.forest.parent(id);
        }
        found
    }

    fn take_from(
        &mut self,
        owner: TaskId,
        budget: Budget,
        counter: &Counter,
        amount: u64,
        by: TaskId,
    ) {
        let used = budget.used + amount;
        let limit = budget.limit;
        let charged = Budget { used, ..budget };
        self.edit(owner).budgets.insert(counter.clone(), charged);
        let counter = counter.clone();
        let charge = Charge {
            counter,
            amount,
            by,
            used,
            limit,
        };
        self.emit(owner, What::Charged(Arc::new(charge)));
    }

    /// A charge did not fit: whoever has the budget stops, with everything below it.
    fn exhaust(&mut self, owner: TaskId, charge: Charge) {
        let Some(budget) = self.edit(owner).budgets.get_mut(&charge.counter) else {
            return;
        };
        if std::mem::replace(&mut budget.exhausted, true) {
            return;
        }
        let (counter, used, limit) = (&charge.counter, charge.used, charge.limit);
        let reason = format!(
            "the budget of {limit} {counter} is used up: {used} are, {} more were asked for",
            charge.amount
        );
        let ask = StopAsk {
            reason: reason.into(),
            by: Requester::Manager,
            grace: None,
            now: false,
        };
        self.emit(owner, What::BudgetExhausted(Arc::new(charge)));
        self.stop_tree_as(owner, Cause::Budget, &ask);
    }
}
