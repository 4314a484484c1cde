//! Requests to stop and their answers: which tasks are meant, and what became of them.
//!
//! # Invariants
//! 1. A request is answered when every task it means has settled, and lists each once.
//! 2. Tasks are asked root first, siblings in reverse order of acceptance.
//!
//! *Not here*: how one task stops (`stop`).

use super::super::id::TaskId;
use super::super::record::{Body, Cause};
use super::super::state::State;
use super::super::time::Timestamp;
use super::Bug;
use super::Supervisor;
use super::close::CloseReport;
use super::control::Controlled;
use super::protocol::{CancelReport, Reply, StopAsk, Target, Ticket};
use super::stop::Below;

/// A request that waits for its tasks to settle.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Watch {
    ticket: Ticket,
    remaining: usize,
    report: CancelReport,
    /// Until when hooks may hold up the answer, if that was promised: of whole trees.
    until: Option<Timestamp>,
    /// What else the answer says, when a scope was closed.
    close: Option<CloseReport>,
}

impl Watch {
    /// The answer, now that all have settled.
    fn reply(self) -> Reply {
        let Some(close) = self.close else {
            return Reply::Cancelled(Box::new(self.report));
        };
        let report = CloseReport {
            cancelled: self.report.cancelled,
            ended: self.report.already_ended,
            abandoned: self.report.abandoned,
            ..close
        };
        Reply::Controlled(Controlled::Closed(Ok(Box::new(report))))
    }

    #[cfg(test)]
    pub(super) fn remaining(&self) -> usize {
        self.remaining
    }
}

impl Supervisor {
    pub(super) fn cancel(&mut self, ticket: Ticket, target: &Target, ask: &StopAsk) {
        if let Target::OneFor(scope, id) | Target::TreeFor(scope, id) = target
            && !self.may_cancel(scope, *id)
        {
            // It was its own, or granted, when it asked. What is hidden from it is unknown to it.
            self.answer(ticket, Reply::Unknown(*id));
            return;
        }
        if let Some(id) = target.task()
            && self.state(id).is_none_or(State::is_terminal)
        {
            self.answer_ended(ticket, id);
            return;
        }
        match target {
            Target::One(id) | Target::OneFor(_, id) => {
                let watch = self.watch(ticket, 1, None);
                self.task(*id).watches.push(watch);
                self.ask_stop(*id, Cause::Asked, ask, Below::ByPolicy);
                if ask.now {
                    self.give_up([*id]);
                    self.give_up_hooks(&[*id]);
                }
            }
            Target::Tree(id) | Target::TreeFor(_, id) => {
                self.cancel_trees(ticket, &[*id], ask, Cause::Asked);
            }
            Target::Visible(scope) => {
                let tops = self.tops_for(scope);
                self.cancel_trees(ticket, &tops, ask, Cause::Asked);
            }
            Target::Unreferenced(keep) => {
                let roots = self.unreferenced(keep);
                self.cancel_trees(ticket, &roots, ask, Cause::Asked);
            }
            Target::Scope(scope) => {
                let roots = self.roots_in(scope);
                self.cancel_trees(ticket, &roots, ask, Cause::Asked);
            }
            Target::Run(run) => {
                self.runs.note(run);
                let roots = self.tops_of_run(run);
                self.cancel_trees(ticket, &roots, ask, Cause::Run);
            }
            Target::All => {
                let roots: Vec<_> = self.forest.roots().rev().collect();
                self.cancel_trees(ticket, &roots, ask, Cause::Asked);
            }
        }
    }

    pub(super) fn shutdown(&mut self, ticket: Ticket, ask: &StopAsk) {
        self.closing = true;
        let roots: Vec<_> = self.forest.roots().rev().collect();
        self.cancel_trees(ticket, &roots, ask, Cause::Shutdown);
    }

    /// Answers for a task that has settled before it was asked to stop, or was never known.
    fn answer_ended(&mut self, ticket: Ticket, id: TaskId) {
        if self.planted(Bug::CancelUnanswered) {
            return;
        }
        let abandoned = self.tasks.contains(id);
        if !self.settled.contains(id) {
            self.answer(ticket, Reply::Unknown(id));
            return;
        }
        let mut report = Box::<CancelReport>::default();
        if abandoned {
            report.abandoned.push(id);
        } else {
            report.already_ended.push(id);
        }
        self.answer(ticket, Reply::Cancelled(report));
    }

    fn cancel_trees(&mut self, ticket: Ticket, roots: &[TaskId], ask: &StopAsk, cause: Cause) {
        self.cancel_trees_then(ticket, roots, ask, cause, None);
    }

    pub(super) fn cancel_trees_then(
        &mut self,
        ticket: Ticket,
        roots: &[TaskId],
        ask: &StopAsk,
        cause: Cause,
        close: Option<CloseReport>,
    ) {
        let mut meant = Vec::new();
        for root in roots {
            meant.extend(self.forest.subtree(*root).into_iter().map(|id| (id, *root)));
        }
        if self.planted(Bug::ElderFirst) {
            meant.reverse();
        }
        let watch = self.watch(ticket, meant.len(), close);
        let mut longest = None;
        // All that is to be done with a task is done at once: in a large tree each look at one
        // reads memory that lies far away.
        for (id, root) in &meant {
            let cause = if id == root {
                cause
            } else {
                below(cause, *root)
            };
            self.task(*id).watches.push(watch);
            self.ask_stop_within(*id, cause, ask);
            longest = longest.max(self.grace_until(*id, ask));
        }
        // Hooks may hold up the answer within the longest grace that these tasks have, of this
        // request or of one before, and what follows it.
        let until = self.hooks_until(longest.unwrap_or_default().max(self.now));
        if let Some(watch) = self.watches.get_mut(&watch) {
            watch.until = Some(until);
        }
        if ask.now && !self.planted(Bug::NowWaits) {
            let tasks: Vec<_> = meant.into_iter().map(|(id, _)| id).collect();
            self.give_up(tasks.iter().copied());
            self.give_up_hooks(&tasks);
        }
    }

    /// Until when a task that was asked may go on; without a body, if it has hooks.
    fn grace_until(&self, id: TaskId, ask: &StopAsk) -> Option<Timestamp> {
        let record = &self.tasks.get(id)?.record;
        match &record.stop {
            Some(stop) if record.body == Body::Live && !self.has_hook(id) => Some(stop.grace_until),
            // Hooks that run, or without a body, have what a body would have.
            _ if self.bounds.hooked.covers(&record.spec) => {
                Some(self.now.after(self.grace_of(id, ask.grace())))
            }
            _ => None,
        }
    }

    /// When the first of the trees that a task is part of is to be over, if one is waited for.
    pub(super) fn promised(&self, id: TaskId) -> Option<Timestamp> {
        let watches = self.tasks[id].watches.iter();
        let watches = watches.filter_map(|key| self.watches.get(key));
        watches.filter_map(|watch| watch.until).min()
    }

    /// Begins to wait until so many tasks, which are to note it, have settled.
    fn watch(&mut self, ticket: Ticket, tasks: usize, close: Option<CloseReport>) -> u64 {
        self.watches_made += 1;
        let watch = self.watches_made;
        if tasks == 0 {
            self.answer(ticket, Reply::Cancelled(Box::default()));
            return watch;
        }
        let report = CancelReport::default();
        self.watches.insert(
            watch,
            Watch {
                ticket,
                remaining: tasks,
                report,
                until: None,
                close,
            },
        );
        watch
    }

    /// Tells the requests that wait for a task that it has settled.
    pub(super) fn tell_watches(&mut self, id: TaskId, is_abandoned: bool) {
        let task = self.task(id);
        let state = task.record.state;
        let watches = task.ties.written();
        let watches = watches.map(|ties| std::mem::take(&mut ties.watches));
        for key in watches.into_iter().flatten() {
            let Some(watch) = self.watches.get_mut(&key) else {
                continue;
            };
            let list = match (state, is_abandoned) {
                (_, true) => &mut watch.report.abandoned,
                (State::Cancelled, false) => &mut watch.report.cancelled,
                (_, false) => &mut watch.report.already_ended,
            };
            list.push(id);
            watch.remaining -= 1;
            if watch.remaining == 0
                && let Some(watch) = self.watches.remove(&key)
            {
                self.answer(watch.ticket, watch.reply());
            }
        }
    }
}

fn below(cause: Cause, root: TaskId) -> Cause {
    match cause {
        Cause::Shutdown => Cause::Shutdown,
        Cause::Asked
        | Cause::Ancestor(_)
        | Cause::ParentEnded(_)
        | Cause::Dependency(_)
        | Cause::Run
        | Cause::Budget
        | Cause::Timeout(_) => Cause::Ancestor(root),
    }
}
