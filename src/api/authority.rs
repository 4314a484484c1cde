//! Who may cancel: a policy of the host that is asked before each request to stop.
//!
//! # Invariants
//! 1. A policy that panics or takes too long has refused: nothing stops by its mistake.
//! 2. It is asked in a task of its own, so that neither the manager nor who asks is held up by what
//!    it does; whoever no longer waits for the answer has asked all the same.
//!
//! *Not here*: what a scope may do with single tasks (`guard`, `grants`).

use std::future::Future;
use std::sync::Arc;

use super::config::Builder;
use super::core::Core;
use crate::kernel::{Requester, Scope, StopAsk, Target, TaskId};

/// A request to stop tasks, before it is decided; see [`Builder::allow_cancel`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CancelAsk {
    /// Which tasks.
    pub target: Target,
    /// Why, in the words of who asks.
    pub reason: Arc<str>,
    /// Who asks.
    pub by: Requester,
    /// Whether a body asks, and the one task that is meant is its own or below it.
    pub is_own: bool,
}

impl CancelAsk {
    /// The task that is meant, alone or with everything below it; `None` if whole groups are.
    pub fn task(&self) -> Option<TaskId> {
        self.target.task()
    }

    /// The scope by whose right it is asked, if by that of one.
    pub fn scope(&self) -> Option<&Scope> {
        match &self.target {
            Target::OneFor(scope, _) | Target::TreeFor(scope, _) | Target::Visible(scope) => {
                Some(scope)
            }
            Target::One(_)
            | Target::Tree(_)
            | Target::Scope(_)
            | Target::Run(_)
            | Target::Unreferenced(_)
            | Target::All => None,
        }
    }
}

impl Builder {
    /// Sets who decides whether a cancel is let through: each request of a host, a body or a tool
    /// to stop tasks, or to give up on them, waits for this answer first, and fails with
    /// [`CancelError::Denied`](crate::CancelError::Denied) if it is `false`, comes too late (5 s)
    /// or is a panic. Without it every request is let through.
    ///
    /// What the manager does by itself is no request: deadlines, budgets, the ends of parents and
    /// of dependencies, shutting down. Nor is what a task was spawned with: the policy for the
    /// close of its scope, and linked tokens.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::{Cancel, CancelError, Manager, Requester};
    ///
    /// // Bodies stop nothing but themselves and what is below them.
    /// let manager = Manager::builder()
    ///     .allow_cancel(|ask| async move { ask.is_own || ask.by == Requester::Host })
    ///     .build()?;
    /// let scope = manager.scope("s");
    /// let victim = scope
    ///     .task("victim")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    ///     .await?;
    /// let id = victim.id();
    /// let rival = scope.task("rival").spawn(move |ctx| async move {
    ///     let refused = ctx.cancel_tree(id, Cancel::because("mine is better")).await;
    ///     Ok(matches!(refused, Err(CancelError::Denied(_))))
    /// });
    /// assert!(rival.await?.await?);
    /// assert_eq!(victim.cancel(Cancel::because("the host says so")).await?.cancelled, [id]);
    /// # Ok(()) }
    /// ```
    pub fn allow_cancel<F, Fut>(mut self, policy: F) -> Self
    where
        F: Fn(CancelAsk) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.hooks_mut().on_cancel(policy);
        self
    }
}

impl Core {
    /// Whether the host's policy lets this request through.
    pub(super) async fn allows(&self, target: &Target, ask: &StopAsk) -> bool {
        let asked = CancelAsk {
            target: target.clone(),
            reason: Arc::clone(&ask.reason),
            by: ask.by.clone(),
            is_own: target.task().is_some_and(|task| self.is_own(task, &ask.by)),
        };
        match self.hooks.allows_cancel(asked).await {
            Ok(is_allowed) => is_allowed,
            Err(why) => {
                tracing::warn!(
                    why,
                    "the policy for cancels failed, which counts as a refusal"
                );
                false
            }
        }
    }

    fn is_own(&self, task: TaskId, by: &Requester) -> bool {
        let Requester::Task(by) = by else {
            return false;
        };
        let mut at = Some(task);
        while let Some(id) = at {
            if id == *by {
                return true;
            }
            at = self.hub.index.get(id).and_then(|record| record.parent);
        }
        false
    }
}
