//! Transfers and the closing of scopes: all or nothing, each task as its policy says, and nothing
//! new in a scope that is closed (rules 9 and 10).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Checks;
use super::identity::flight_of;
use super::in_time::Deadlines;
use super::replies::{Asked, ensure};
use super::view::Seen;
use crate::kernel::{
    CancelReport, CloseRefusal, CloseReport, Control, Input, LimitName, OnScopeClose, Scope, Spec,
    Step, StopAsk, Target, TaskId, Ticket, TransferRefusal, TransferReport,
};

type Verdict = Result<(), String>;

/// What a transfer must lead to.
#[derive(Clone, Debug)]
pub(super) enum Moving {
    /// Nothing moves, and this is the answer.
    Nothing(Result<TransferReport, TransferRefusal>),
    /// All of this moves, or nothing as something is not free.
    All {
        report: TransferReport,
        moved: BTreeSet<TaskId>,
        to: Scope,
        /// Whether a name, a key or a flight is certainly taken.
        is_taken: bool,
    },
}

/// What is to become of a task whose scope is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Cancelled,
    Moved(Scope),
    Refused,
}

/// A scope that is being closed.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    only_if_idle: bool,
    /// Of each task that lived there: its fate if its root may move, and if that may not.
    fates: BTreeMap<TaskId, (Fate, Fate)>,
}

impl Closing {
    fn is_refused(&self) -> bool {
        self.only_if_idle && !self.fates.is_empty()
    }

    fn ids(&self, is_meant: impl Fn(&Fate) -> bool) -> BTreeSet<TaskId> {
        let meant = self.fates.iter().filter(|(_, (fate, _))| is_meant(fate));
        meant.map(|(id, _)| *id).collect()
    }
}

impl Checks {
    /// The live tasks that nothing is above.
    pub(in crate::kernel_tests) fn live_roots(&self) -> Vec<TaskId> {
        let roots = self.view.tasks.iter();
        let roots = roots.filter(|(_, seen)| !seen.is_settled() && seen.parent.is_none());
        roots.map(|(id, _)| *id).collect()
    }

    pub(super) fn transfer(&self, ids: &[TaskId], to: &Scope) -> Moving {
        let (mut report, mut tops) = (TransferReport::default(), Vec::new());
        let mut named = BTreeSet::new();
        for id in ids.iter().copied().filter(|id| named.insert(*id)) {
            match self.view.tasks.get(&id) {
                None => report.unknown.push(id),
                Some(seen) if seen.is_settled() => report.ended.push(id),
                Some(seen) if seen.spec().scope == *to => report.already_there.push(id),
                Some(_) => tops.push(id),
            }
        }
        if tops.is_empty() {
            return Moving::Nothing(Ok(report));
        }
        if self.gates.closed.contains(to) {
            return Moving::Nothing(Err(TransferRefusal::ScopeClosed(to.clone())));
        }
        for top in &tops {
            let above = self.view.path_up(*top);
            if let Some(parent) = above.first()
                && !above.iter().any(|above| tops.contains(above))
            {
                let why = TransferRefusal::BelowAnother(*top, *parent);
                return Moving::Nothing(Err(why));
            }
        }
        let trees = tops.iter().flat_map(|top| {
            let target = Target::Tree(*top);
            self.view.meant(&target)
        });
        let moved: BTreeSet<_> = trees.collect();
        let is_taken = self.is_taken(&moved, to);
        let to = to.clone();
        Moving::All {
            report,
            moved,
            to,
            is_taken,
        }
    }

    /// Whether a name, a key or a flight of what moves is certainly taken there.
    fn is_taken(&self, moved: &BTreeSet<TaskId>, to: &Scope) -> bool {
        let (mut names, mut flights) = (BTreeSet::new(), BTreeSet::new());
        moved.iter().any(|id| {
            let spec = Spec {
                scope: to.clone(),
                ..self.view.tasks[id].spec().clone()
            };
            let has_name = spec.name.as_ref().is_some_and(|name| {
                let there = (to.clone(), name.to_string());
                self.view.names.contains_key(&there) || !names.insert(name.to_string())
            });
            let others = self
                .view
                .tasks
                .values()
                .filter(|seen| seen.record.id != *id);
            let mut others = others.filter(|seen| seen.is_held());
            let has_other = others.any(|seen| {
                let other = seen.spec();
                let is_key = spec.key.is_some() && spec.key == other.key && other.scope == *to;
                let is_flight = spec.flight.is_some() && flight_of(&spec) == flight_of(other);
                is_key && !self.clock_went_back || is_flight
            });
            let flight = flight_of(&spec);
            has_name || has_other || flight.is_some_and(|flight| !flights.insert(flight))
        })
    }

    pub(super) fn transfer_reply(
        &self,
        moving: &Moving,
        told: &Result<Box<TransferReport>, TransferRefusal>,
    ) -> Verdict {
        let is_right = match (moving, told) {
            (Moving::Nothing(right), _) => {
                right.as_ref() == told.as_deref() && self.moved.is_empty()
            }
            (
                Moving::All {
                    report,
                    moved,
                    to,
                    is_taken,
                },
                Ok(told),
            ) => {
                let wanted = TransferReport {
                    moved: told.moved.clone(),
                    ..report.clone()
                };
                let listed: BTreeSet<_> = told.moved.iter().copied().collect();
                let did: BTreeSet<_> = self.moved.keys().copied().collect();
                let is_whole = listed == *moved && did == *moved && told.moved.len() == did.len();
                !is_taken && wanted == **told && is_whole && self.moved.values().all(|it| it == to)
            }
            (Moving::All { moved, to, .. }, Err(why)) => {
                self.moved.is_empty() && self.is_reason(why, moved, to)
            }
        };
        ensure(is_right, || {
            format!(
                "rule 10: {moving:?} is answered with {told:?}, moved are {:?}",
                self.moved
            )
        })
    }

    fn is_reason(&self, why: &TransferRefusal, moved: &BTreeSet<TaskId>, to: &Scope) -> bool {
        let of = |id: &TaskId| self.view.tasks.get(id).map(Seen::spec);
        let is_there = |id: &TaskId, is_it: &dyn Fn(&Spec) -> bool| {
            let there = |spec: &&Spec| moved.contains(id) || spec.scope == *to;
            of(id).filter(there).is_some_and(is_it)
        };
        let mut moving = moved.iter().filter_map(of);
        match why {
            TransferRefusal::NameTaken(name, holder) => {
                is_there(holder, &|spec| spec.name.as_ref() == Some(name))
                    && moving.any(|spec| spec.name.as_ref() == Some(name))
            }
            TransferRefusal::KeyTaken(holder) => is_there(holder, &|spec| {
                spec.key.is_some() && moved.iter().filter_map(of).any(|it| it.key == spec.key)
            }),
            TransferRefusal::FlightTaken(holder) => of(holder).is_some_and(|spec| {
                spec.flight.is_some() && moving.any(|it| it.flight == spec.flight)
            }),
            TransferRefusal::LimitReached(full) => full.class == LimitName::Scope(to.clone()),
            TransferRefusal::ScopeClosed(_) | TransferRefusal::BelowAnother(..) => false,
        }
    }

    /// A task is in the scope of its parent, whatever moved.
    pub(super) fn families_stay_together(&self) -> Verdict {
        if self.moved.is_empty() {
            return Ok(());
        }
        let mut live = self.view.tasks.iter().filter(|(_, it)| !it.is_settled());
        let torn = live.find(|(_, seen)| {
            let above = seen.parent.and_then(|parent| self.view.tasks.get(&parent));
            above.is_some_and(|above| above.spec().scope != seen.spec().scope)
        });
        ensure(torn.is_none(), || {
            format!("rule 10: {torn:?} is in another scope than its parent")
        })
    }

    /// Notes what is to become of the tasks of a scope that is to be closed.
    pub(super) fn close(&mut self, scope: &Scope, ask: &StopAsk, only_if_idle: bool) -> Asked {
        let target = Target::Scope(scope.clone());
        let lived = self.view.meant(&target);
        let fate = |id: &TaskId| (*id, (self.fate(*id, true), self.fate(*id, false)));
        let closing = Closing {
            only_if_idle,
            fates: lived.iter().map(fate).collect(),
        };
        if !closing.is_refused() {
            self.gates.closed.insert(scope.clone());
        }
        Asked::Cancel {
            target,
            meant: BTreeSet::new(),
            grace: ask
                .grace
                .filter(|_| !ask.now)
                .or(ask.now.then_some(Duration::ZERO)),
            deadlines: Deadlines::None,
            born: self.view.born,
            closes: Some(closing),
        }
    }

    /// A task without a policy follows the one above it; a root is kept, and so is what may not
    /// move.
    fn fate(&self, id: TaskId, root_moves: bool) -> Fate {
        let mut path = self.view.path_up(id);
        path.insert(0, id);
        let (mut above, mut fate) = (OnScopeClose::Keep, Fate::Kept);
        for (at, id) in path.iter().rev().enumerate() {
            let own = self.view.tasks[id].spec().on_scope_close.clone();
            fate = match own.unwrap_or(above) {
                OnScopeClose::Cancel => return Fate::Cancelled,
                OnScopeClose::Transfer(to) if at == 0 && root_moves => return Fate::Moved(to),
                OnScopeClose::Transfer(_) => Fate::Refused,
                OnScopeClose::Keep => Fate::Kept,
            };
            above = OnScopeClose::Keep;
        }
        fate
    }

    /// What is closed is told with the step that closes or opens it.
    pub(super) fn closed_as_told(&self, step: &Step) -> Verdict {
        let told = step.closed.as_ref();
        ensure(told.is_none_or(|told| *told == self.gates.closed), || {
            format!("rule 9: {told:?} are closed, not {:?}", self.gates.closed)
        })
    }

    /// A request to stop at once waits for nobody.
    pub(super) fn is_answered_at_once(&self, input: Option<&Input>) -> Verdict {
        let (ticket, ask) = match input {
            Some(Input::Cancel {
                ticket,
                target,
                ask,
            }) if !matches!(target, Target::One(_) | Target::OneFor(..)) => (ticket, ask),
            Some(
                Input::Shutdown { ticket, ask }
                | Input::Control {
                    ticket,
                    ask: Control::Close { ask, .. },
                },
            ) => (ticket, ask),
            Some(_) | None => return Ok(()),
        };
        let waits = self.open.get(ticket).filter(|_| ask.now);
        ensure(waits.is_none(), || {
            format!("P4: all should have settled at once: {waits:?}")
        })
    }

    /// The step is over that closes a scope: whoever could not move is kept, and its children are
    /// dealt with by their own policies.
    pub(super) fn scope_closed(&mut self, ticket: Ticket) {
        let Some(Asked::Cancel {
            meant,
            closes: Some(closing),
            ..
        }) = self.open.get_mut(&ticket)
        else {
            return;
        };
        if closing.is_refused() {
            return;
        }
        for (id, (fate, otherwise)) in &mut closing.fates {
            if matches!(fate, Fate::Moved(_)) && !self.moved.contains_key(id) {
                fate.clone_from(otherwise);
            }
        }
        *meant = closing.ids(|fate| *fate == Fate::Cancelled);
        for id in meant.iter() {
            if let Some(seen) = self.view.tasks.get_mut(id) {
                seen.doomed = true;
            }
        }
    }

    pub(super) fn close_reply(
        &self,
        (target, meant, born): (&Target, &BTreeSet<TaskId>, u64),
        closing: &Closing,
        told: &Result<Box<CloseReport>, CloseRefusal>,
    ) -> Verdict {
        let report = match told {
            Ok(report) if !closing.is_refused() => report,
            Err(CloseRefusal::Active(live)) if closing.is_refused() => {
                return ensure(*live == closing.fates.len(), || {
                    format!("rule 9: {live} tasks are active, not {closing:?}")
                });
            }
            Ok(_) | Err(_) => return Err(format!("rule 9: {closing:?} is answered {told:?}")),
        };
        let kept: BTreeSet<_> = report.kept.iter().copied().collect();
        let refused: BTreeSet<_> = report.refused.iter().map(|(id, _)| *id).collect();
        let moved: BTreeMap<_, _> = report.transferred.iter().cloned().collect();
        let is_whole = kept == closing.ids(|fate| *fate == Fate::Kept)
            && refused == closing.ids(|fate| *fate == Fate::Refused)
            && moved.keys().copied().collect::<BTreeSet<_>>()
                == closing.ids(|fate| matches!(fate, Fate::Moved(_)))
            && moved
                .iter()
                .all(|(id, to)| closing.fates[id].0 == Fate::Moved(to.clone()));
        let listed = report.kept.len() + report.refused.len() + report.transferred.len();
        ensure(
            is_whole && listed + meant.len() == closing.fates.len(),
            || format!("rule 9: {closing:?} is reported as {report:?}"),
        )?;
        let stopped = CancelReport {
            cancelled: report.cancelled.clone(),
            already_ended: report.ended.clone(),
            abandoned: report.abandoned.clone(),
        };
        self.cancel_reply(target, meant, born, &stopped)
    }
}
