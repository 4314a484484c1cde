//! Charging the budgets of the trees that a body is part of.

use super::context::Context;
use super::control;
use crate::kernel::{
    Charge, ChargeRefusal, Control, Controlled, Counter, InvalidText, Remaining, TaskId,
};

/// Why nothing was charged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// The counter's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// A budget has not so much left, or a charge before did not fit. Nothing was charged, and the
    /// task that has the budget was asked to stop, with everything below it.
    #[error("task {owner} has {} of {} {} left, {} were asked for; it is stopped",
        .charge.limit - .charge.used, .charge.limit, .charge.counter, .charge.amount)]
    Exhausted {
        /// The task that has the budget.
        owner: TaskId,
        /// What was asked for, and how the budget stood.
        charge: Charge,
    },
    /// The attempt is over, or the manager is gone.
    #[error("the attempt is over")]
    Over,
}

impl Context {
    /// Charges every budget of this counter, from this task up to its root, or none.
    ///
    /// Tasks get budgets by [`TaskBuilder::budget`](crate::TaskBuilder::budget); without one there
    /// is nothing to charge and no limit. Charging zero tells what is left. When a budget has not
    /// so much left, nothing is charged and the task that has it is cancelled as a tree, with
    /// [`Cause::Budget`](crate::Cause::Budget). From then on every charge above zero against that
    /// budget is refused, even one that would fit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, State};
    /// # let manager = Manager::in_memory();
    /// let lead = manager.scope("s").task("lead").budget("tokens", 1_000);
    /// let lead = lead.spawn(|ctx| async move {
    ///     let child = ctx.task("child").spawn(|ctx| async move {
    ///         assert_eq!(ctx.charge("tokens", 900).await?.left, Some(100));
    ///         Ok(())
    ///     });
    ///     child.await?.await?;
    ///     ctx.charge("tokens", 101).await?; // one too many: the tree of `lead` is cancelled
    ///     Ok(())
    /// });
    /// let record = lead.await?.settled().await?;
    /// assert_eq!(record.state, State::Cancelled);
    /// assert!(record.stop.as_ref().is_some_and(|stop| stop.reason.contains("tokens")));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`BudgetError`]: nothing was charged.
    ///
    /// # Cancel safety
    /// When it is dropped, the charge may have been taken.
    pub async fn charge(&self, counter: &str, amount: u64) -> Result<Remaining, BudgetError> {
        let counter = Counter::new(counter)?;
        let (id, epoch) = (self.id(), self.epoch());
        self.touch();
        let ask = Control::Charge {
            id,
            epoch,
            counter,
            amount,
        };
        let answer = control::ask(self.core(), ask).await;
        // A manager that was started anew has ended this attempt.
        let answer = answer.map_err(|_| BudgetError::Over)?;
        let Controlled::Charged(charged) = answer else {
            unreachable!("a charge is answered as one");
        };
        charged.map_err(|refusal| match refusal {
            ChargeRefusal::Stale => BudgetError::Over,
            ChargeRefusal::Exhausted(owner, charge) => BudgetError::Exhausted { owner, charge },
        })
    }
}
