//! Closing a scope: each task by its policy, and no new ones until it is opened again.
//!
//! # Invariants
//! 1. From the step that closes a scope on it takes tasks only from bodies of its own that go on.
//! 2. The report lists each task that lived in the scope once, and comes when those that were
//!    cancelled have settled.
//!
//! *Not here*: how tasks move (`transfer`) and stop (`stop`).

use std::collections::BTreeSet;

use super::super::id::{Epoch, Scope, TaskId};
use super::super::record::Cause;
use super::super::spec::{OnScopeClose, Spec};
use super::Bug;
use super::Supervisor;
use super::control::Controlled;
use super::protocol::{Refusal, StopAsk, Ticket};
use super::transfer::TransferRefusal;

/// What became of the tasks of a scope that was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// They go on in the closed scope.
    pub kept: Vec<TaskId>,
    /// Settled as cancelled, their bodies stopped.
    pub cancelled: Vec<TaskId>,
    /// Settled otherwise, by their own word during the grace.
    pub ended: Vec<TaskId>,
    /// The tasks of other scopes that it held a grant of.
    pub revoked: Vec<TaskId>,
    /// The roots of the trees that nobody refers to since then: they go on in a closed scope, and
    /// no open one holds a grant of theirs.
    pub orphaned: Vec<TaskId>,
    /// In another scope now.
    pub transferred: Vec<(TaskId, Scope)>,
    /// Were to be transferred and could not be: they are kept.
    pub refused: Vec<(TaskId, TransferRefusal)>,
    /// Settled, but a body did not stop in time and may still run; it is fenced and keeps its slot.
    pub abandoned: Vec<TaskId>,
}

/// Why a scope was not closed. Nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseRefusal {
    /// So many tasks live in it.
    Active(usize),
}

/// What is to become of the tasks of a scope.
#[derive(Default)]
struct Plan {
    cancels: Vec<TaskId>,
    transfers: Vec<(TaskId, Scope)>,
    report: CloseReport,
}

impl Supervisor {
    /// Closes a scope. `None` when the answer comes later.
    pub(super) fn close_scope(
        &mut self,
        ticket: Ticket,
        scope: &Scope,
        ask: &StopAsk,
        only_if_idle: bool,
    ) -> Option<Controlled> {
        let roots = self.roots_in(scope);
        if only_if_idle && !roots.is_empty() {
            let live = roots.iter().map(|root| self.forest.subtree(*root).len());
            return Some(Controlled::Closed(Err(CloseRefusal::Active(live.sum()))));
        }
        let alone: BTreeSet<_> = self.unreferenced(&BTreeSet::new()).into_iter().collect();
        self.closed.insert(scope.clone());
        self.out.closed = Some(self.closed.clone());
        let mut plan = Plan::default();
        for root in roots {
            self.plan_from(vec![(root, OnScopeClose::Keep)], &mut plan);
        }
        for (id, to) in std::mem::take(&mut plan.transfers) {
            let refusal = match self.transfer(&[id], &to) {
                Ok(done) if !done.moved.is_empty() => {
                    let moved = done.moved.into_iter().map(|id| (id, to.clone()));
                    plan.report.transferred.extend(moved);
                    continue;
                }
                // It was to go where it is, which takes nothing any more.
                Ok(_) => TransferRefusal::ScopeClosed(to),
                Err(refusal) => refusal,
            };
            plan.report.refused.push((id, refusal));
            let below = self.forest.children(id).map(|id| (id, OnScopeClose::Keep));
            self.plan_from(below.collect(), &mut plan);
        }
        plan.report.revoked = self.revoke_all(scope);
        let cancels: BTreeSet<_> = plan.cancels.iter().collect();
        let mut orphaned = self.unreferenced(&BTreeSet::new());
        orphaned.retain(|root| !cancels.contains(root) && !alone.contains(root));
        plan.report.orphaned = orphaned;
        self.cancel_for_close(ticket, &plan.cancels, ask, plan.report)
    }

    /// Opens a scope again; tells whether it was closed.
    pub(super) fn reopen_scope(&mut self, scope: &Scope) -> bool {
        let was_closed = self.closed.remove(scope);
        if was_closed {
            self.out.closed = Some(self.closed.clone());
        }
        was_closed
    }

    /// Whether a closed scope takes this task: from a body that goes on in it, as its child.
    pub(super) fn check_open(
        &self,
        spec: &Spec,
        by: Option<(TaskId, Epoch)>,
    ) -> Result<(), Refusal> {
        let is_child = by.is_some() && spec.parent.is_some();
        let is_planted = self.planted(Bug::ClosedTakesMore);
        if !self.closed.contains(&spec.scope) || is_child || is_planted {
            return Ok(());
        }
        Err(Refusal::ScopeClosed(spec.scope.clone()))
    }

    /// The live roots of a scope, younger ones first.
    pub(super) fn roots_in(&self, scope: &Scope) -> Vec<TaskId> {
        let is_in_scope = |id: &TaskId| self.tasks[*id].record.spec.scope == *scope;
        self.forest.roots().rev().filter(is_in_scope).collect()
    }

    /// A task without a policy follows the one above it; a root is kept, and so is what may not
    /// move.
    fn plan_from(&self, mut stack: Vec<(TaskId, OnScopeClose)>, plan: &mut Plan) {
        while let Some((id, above)) = stack.pop() {
            let record = &self.tasks[id].record;
            let is_planted = self.planted(Bug::PolicyNotHandedDown);
            let above = if is_planted {
                OnScopeClose::Cancel
            } else {
                above
            };
            let policy = record.spec.on_scope_close.clone().unwrap_or(above);
            let below = match (policy, record.parent) {
                (OnScopeClose::Cancel, _) => {
                    plan.cancels.push(id);
                    continue;
                }
                (OnScopeClose::Transfer(to), None) => {
                    plan.transfers.push((id, to));
                    continue;
                }
                (OnScopeClose::Transfer(_), Some(parent)) => {
                    let why = TransferRefusal::BelowAnother(id, parent);
                    plan.report.refused.push((id, why));
                    OnScopeClose::Keep
                }
                (OnScopeClose::Keep, _) => {
                    plan.report.kept.push(id);
                    OnScopeClose::Keep
                }
            };
            stack.extend(self.forest.children(id).map(|id| (id, below.clone())));
        }
    }

    fn cancel_for_close(
        &mut self,
        ticket: Ticket,
        roots: &[TaskId],
        ask: &StopAsk,
        report: CloseReport,
    ) -> Option<Controlled> {
        if roots.is_empty() {
            return Some(Controlled::Closed(Ok(Box::new(report))));
        }
        self.cancel_trees_then(ticket, roots, ask, Cause::Asked, Some(report));
        None
    }
}
