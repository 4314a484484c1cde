//! Tasks whose bodies are elsewhere, and executors that are: what their holders say counts as long
//! as they run, they are never abandoned, and nothing starts where nobody runs it.

use std::sync::Arc;

use super::Checks;
use super::events::newest;
use super::replies::ensure;
use super::view::Seen;
use crate::kernel::{
    Body, ExternalRefusal, ExternalWord, Origin, Record, State, Step, TaskId, Wait,
};

type Verdict = Result<(), String>;

impl Checks {
    /// The tasks that run elsewhere, and which lives of them.
    pub(in crate::kernel_tests) fn run_elsewhere(&self) -> Vec<(TaskId, u32)> {
        let of = |(id, seen): (&TaskId, &Seen)| {
            let is_elsewhere = seen.is_live && seen.spec().origin == Origin::External;
            is_elsewhere.then_some((*id, seen.record.incarnation))
        };
        self.view.tasks.iter().filter_map(of).collect()
    }

    /// The only right answer to a word about an external task.
    pub(super) fn external(
        &self,
        id: TaskId,
        incarnation: u32,
        word: &ExternalWord,
    ) -> Result<(), ExternalRefusal> {
        let seen = self.view.tasks.get(&id);
        let seen = seen.filter(|seen| seen.record.incarnation == incarnation);
        let seen = seen.ok_or(ExternalRefusal::Unknown(id))?;
        if seen.is_held() && seen.spec().origin != Origin::External {
            return Err(ExternalRefusal::NotExternal(id));
        }
        if !seen.is_live {
            return Err(ExternalRefusal::NotRunning(seen.state));
        }
        match (word, &seen.record.external_ref) {
            (ExternalWord::Refers(to), Some(before)) if to != before => {
                Err(ExternalRefusal::RefIsSet(Arc::clone(before)))
            }
            (_, _) => Ok(()),
        }
    }

    /// A holder was heard: its task waits, goes on or is over.
    pub(super) fn heard(&mut self, id: TaskId, word: &ExternalWord) {
        match word {
            ExternalWord::Waits => self.lends(id, true),
            ExternalWord::GoesOn => self.lends(id, false),
            ExternalWord::Ended(_) | ExternalWord::Unregistered => self.body_is_over(id),
            ExternalWord::Note(_) | ExternalWord::Lives | ExternalWord::Refers(_) => {}
        }
    }

    /// A body lends its slots, or takes them back.
    pub(super) fn lends(&mut self, id: TaskId, after: bool) {
        let seen = self.view.tasks.get_mut(&id).expect("who lends is known");
        let before = std::mem::replace(&mut seen.lent, after);
        let by = i64::from(before) - i64::from(after);
        self.slots.change(seen.classes, by);
    }

    pub(super) fn body_is_over(&mut self, id: TaskId) {
        let seen = self.view.tasks.get_mut(&id).expect("who is over is known");
        seen.is_live = false;
        let lent = std::mem::take(&mut seen.lent);
        self.slots.change(seen.classes, if lent { 0 } else { -1 });
    }

    /// Whether a callback is the one of the stop that goes on.
    pub(super) fn awaits_callback(seen: &Seen) -> bool {
        seen.spec().origin == Origin::External && seen.state == State::CancelRequested
    }

    /// The body of an external task is over when nobody waits for its callback any more.
    pub(super) fn follow_external(&mut self, id: TaskId, step: &Step) {
        let seen = self.view.tasks.get(&id);
        let is_over = seen.is_some_and(|seen| {
            let record = newest(step, id);
            let is_absent = record.is_some_and(|record| record.body == Body::Absent);
            seen.spec().origin == Origin::External && seen.is_live && is_absent
        });
        if is_over {
            self.body_is_over(id);
        }
    }

    /// After a crash, bodies that are elsewhere run as before.
    pub(super) fn recall_external(&mut self, durable: &[Arc<Record>]) {
        for record in durable {
            let runs = matches!(record.state, State::Running | State::Waiting);
            let lives = record.spec.origin == Origin::External && record.body == Body::Live;
            if runs && lives && record.conclusion.is_none() {
                let seen = self.view.tasks.get_mut(&record.id);
                let seen = seen.expect("the view was made of these records");
                (seen.is_live, seen.lent) = (true, record.state == State::Waiting);
                let by = i64::from(!seen.lent);
                self.slots.change(seen.classes, by);
            }
        }
    }

    /// Nobody waits for an executor that is here.
    pub(super) fn hosts_changed(&self) -> Verdict {
        let waits = |seen: &&Seen| seen.record.wait == Some(Wait::Executor);
        let mut waiting = self.view.tasks.values().filter(waits);
        let ready = waiting.find(|seen| self.gates.hosts.runs(seen.spec()));
        ensure(ready.is_none(), || {
            format!("liveness: {ready:?} waits for an executor that is here")
        })
    }
}
