//! By when whoever asked for an end has it (P4), and how much of that hooks have (P26).

use std::time::Duration;

use super::Checks;
use super::replies::Asked;
use super::view::Seen;
use crate::kernel::{StopAsk, Target, TaskId, Ticket, Timestamp};

type Verdict = Result<(), String>;

/// How far the stop of a tree has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadlines {
    /// Nobody was promised an end in time.
    None,
    /// Force follows at the first tick after this.
    Grace(Timestamp),
    /// All is over at the first tick after this.
    Force(Timestamp),
}

impl Checks {
    /// What a request to stop must lead to.
    pub(super) fn asked_cancel(&self, target: &Target, ask: &StopAsk) -> Asked {
        Asked::Cancel {
            target: target.clone(),
            meant: self.view.meant(target),
            grace: if ask.now {
                Some(Duration::ZERO)
            } else {
                ask.grace
            },
            deadlines: Deadlines::None,
            born: self.view.born,
            closes: None,
        }
    }

    /// P4: what a cancel means ends in time; by when, its own records tell.
    pub(super) fn note_deadline(&mut self, ticket: Ticket) {
        let Some(Asked::Cancel {
            target,
            meant,
            grace,
            deadlines,
            ..
        }) = self.open.get_mut(&ticket)
        else {
            return;
        };
        let mut latest = self.now;
        for id in &*meant {
            if let Some(seen) = self.view.tasks.get(id) {
                let stop = seen.record.stop.as_ref();
                latest = latest.max(stop.map_or(self.now, |stop| stop.grace_until));
                if seen.hook.is_some() || self.hooked.covers(seen.spec()) {
                    // Hooks have what a body would have that is asked now.
                    let grace = match (seen.spec().grace, *grace) {
                        (Some(own), Some(asked)) => own.min(asked),
                        (own, asked) => asked.or(own).unwrap_or(self.grace),
                    };
                    latest = latest.max(self.now.after(grace));
                }
            }
        }
        if !matches!(target, Target::One(_) | Target::OneFor(..)) {
            *deadlines = Deadlines::Grace(latest);
        }
    }

    /// Whether an end in time was promised of trees that it is part of, or may have been.
    pub(super) fn is_promised(&self, id: TaskId) -> bool {
        self.open.values().any(|asked| match asked {
            // Which tasks a scope that is being closed means is known after the step.
            Asked::Cancel {
                closes: Some(_), ..
            } => true,
            Asked::Cancel { target, meant, .. } => {
                !matches!(target, Target::One(_) | Target::OneFor(..)) && meant.contains(&id)
            }
            Asked::Spawn(_)
            | Asked::Resume { .. }
            | Asked::Control
            | Asked::Talk(_)
            | Asked::Transfer(_)
            | Asked::Reopen(_)
            | Asked::Abandon(_)
            | Asked::Remove
            | Asked::External(_) => false,
        })
    }

    /// P4: a tree is over when its grace, and after that the time for force, are over.
    pub(super) fn stops_in_time(&mut self) -> Verdict {
        for (ticket, asked) in &mut self.open {
            let Asked::Cancel {
                deadlines, meant, ..
            } = asked
            else {
                continue;
            };
            match *deadlines {
                Deadlines::Grace(at) if at <= self.now => {
                    // Hooks have some time beyond that of bodies.
                    let tasks = &self.view.tasks;
                    let mut meant = meant.iter().filter_map(|id| tasks.get(id));
                    // One may be moved to a scope that has some.
                    let somewhere = !self.hooked.scopes.is_empty();
                    let covers = |seen: &Seen| self.hooked.covers(&seen.record.spec);
                    let is_hooked = somewhere || meant.any(covers);
                    let hooks = Duration::from_millis(if is_hooked { 400 } else { 0 });
                    let force = self.now.after(self.abort_window).after(hooks);
                    *deadlines = Deadlines::Force(force);
                }
                Deadlines::Force(at) if at <= self.now => {
                    return Err(format!("P4: {ticket:?} is not answered in time: {asked:?}"));
                }
                Deadlines::None | Deadlines::Grace(_) | Deadlines::Force(_) => {}
            }
        }
        Ok(())
    }
}
