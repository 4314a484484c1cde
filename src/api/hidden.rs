//! Hidden tasks: housekeeping that users neither see nor pay for, and that nobody loses.
//!
//! # Invariants
//! 1. A failure of a hidden task is told by one round of waiting for it, and by no later one.
//!
//! *Not here*: what hidden tasks are left out of (`kernel/admission.rs`, `kernel/filter.rs`).

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use super::builder::TaskBuilder;
use super::context;
use super::handle::TaskRef;
use super::scope::ScopeRef;
use crate::engine::Life;
use crate::index::{PAGE_MAX, Page};
use crate::kernel::{Filter, InvalidText, Record, Scope, State, TaskId, Visibility};

/// Lives of tasks, each with the id.
pub(super) type Heard = BTreeSet<Life>;

/// What waiting for hidden tasks brought to light.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HiddenError {
    /// These failed, ran out of time or were interrupted; none is left out that was waited for or
    /// whose record is kept.
    #[error("{}", describe(.0))]
    Failed(Vec<Arc<Record>>),
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// The manager is gone, and with it all that ran.
    #[error("the manager is gone")]
    Gone,
}

fn describe(failed: &[Arc<Record>]) -> String {
    let mut text = format!("{} hidden tasks did not complete:", failed.len());
    for record in failed {
        let _ = write!(text, " {}", record.spec.segment(record.id));
    }
    text
}

impl<Mode> TaskBuilder<Mode> {
    /// Makes it a hidden task, for housekeeping: it takes no slot of the limits over all tasks, its
    /// scope and its kind, and lists, counts, snapshots and subscriptions leave it out, unless
    /// their filter asks ([`Filter::hidden`]).
    ///
    /// Otherwise it is a task like any other: it can be cancelled, a shutdown stops it, and what it
    /// spawns is hidden, too. [`ScopeRef::await_hidden`] waits for all of them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Filter, Manager, Page};
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let flush = scope.task("flush").hidden().spawn(|_| async { Ok(()) }).await?;
    /// scope.await_hidden().await?;
    /// assert_eq!(manager.list(&Filter::all(), &Page::default()).total, 0);
    /// let hidden = manager.list(&Filter::all().hidden(), &Page::default());
    /// assert_eq!(hidden.records[0].id, flush.id());
    /// # Ok(()) }
    /// ```
    pub fn hidden(self) -> Self {
        self.set(|spec| spec.visibility = Visibility::Hidden)
    }
}

impl ScopeRef {
    /// Waits until no hidden task of this scope is left, also of those that are spawned meanwhile.
    ///
    /// A hidden body that calls it does not wait for itself, nor for the tasks above it.
    ///
    /// # Errors
    /// [`HiddenError::Failed`] has every hidden task that ended badly since this was last asked of
    /// the scope, but for those whose records went before anybody waited; those that were cancelled
    /// are not among them.
    ///
    /// # Cancel safety
    /// When it is dropped, the failures are told the next time, but for those whose records went
    /// meanwhile.
    pub async fn await_hidden(&self) -> Result<(), HiddenError> {
        let scope = self.scope.clone()?;
        let heard = self.core.hidden_heard.get(&scope);
        let heard = heard.map(|heard| Arc::clone(&heard)).unwrap_or_default();
        let above = self.above_here();
        // Tasks of before are shown then.
        if !self.core.hub.recovered().await {
            return Err(HiddenError::Gone);
        }
        // Their records may be gone when all have ended.
        let mut ended = Vec::new();
        loop {
            let waited = self.live_hidden(&scope, &above);
            if waited.is_empty() {
                break;
            }
            for task in waited {
                match task.settled().await {
                    Ok(record) => ended.push(record),
                    Err(_) if task.record().is_some() => return Err(HiddenError::Gone),
                    Err(_) => {}
                }
            }
        }
        let failed = self.failed_hidden(&scope, &heard, ended);
        if failed.is_empty() {
            Ok(())
        } else {
            Err(HiddenError::Failed(failed))
        }
    }

    /// The current body's task and all above it.
    fn above_here(&self) -> BTreeSet<TaskId> {
        let mut above = BTreeSet::new();
        let mut at = context::current().map(|here| here.id());
        while let Some(id) = at {
            above.insert(id);
            at = self.core.hub.index.get(id).and_then(|record| record.parent);
        }
        above
    }

    fn live_hidden(&self, scope: &Scope, except: &BTreeSet<TaskId>) -> Vec<TaskRef> {
        let filter = Filter::all().scope(scope.clone()).hidden();
        let (_, records) = self.core.hub.index.snapshot(&filter);
        let ids = records.iter().map(|record| record.id);
        let waited = ids.filter(|id| !except.contains(id));
        // All at once: each holds on to how its task ends.
        waited
            .map(|id| TaskRef::new(Arc::clone(&self.core), id))
            .collect()
    }

    /// The hidden tasks that ended badly, of which nobody has `heard`, those that were waited for
    /// among them, in the order in which they were made.
    fn failed_hidden(
        &self,
        scope: &Scope,
        heard: &Heard,
        mut ended: Vec<Arc<Record>>,
    ) -> Vec<Arc<Record>> {
        let filter = Filter::all().scope(scope.clone()).hidden();
        let bad = [State::Failed, State::TimedOut, State::Interrupted];
        ended.retain(|record| bad.contains(&record.state));
        let filter = bad.into_iter().fold(filter, Filter::state);
        let mut page = Page::first(PAGE_MAX).oldest_first();
        let mut told = Heard::new();
        let life = |record: &Arc<Record>| (record.id, record.incarnation);
        loop {
            let listing = self.core.hub.index.list(&filter, &page);
            told.extend(listing.records.iter().map(life));
            ended.extend(listing.records);
            match listing.next {
                Some(next) => page = page.after(next),
                None => break,
            }
        }
        self.note_heard(scope, told);
        ended.retain(|record| !heard.contains(&life(record)));
        ended.sort_by_key(life);
        ended.dedup_by_key(|record| life(record));
        ended
    }

    /// These were told, beside what another round has told meanwhile; of what is kept no more
    /// nothing is noted.
    fn note_heard(&self, scope: &Scope, told: Heard) {
        let index = &self.core.hub.index;
        let is_kept = |id, life| index.look(id, |it| it.incarnation == life) == Some(true);
        let all = &self.core.hidden_heard;
        let mut of_scope = all.entry(scope.clone()).or_default();
        let noted = Arc::make_mut(&mut of_scope);
        noted.extend(told);
        noted.retain(|(id, life)| is_kept(*id, *life));
        drop(of_scope);
        all.remove_if(scope, |_, noted| noted.is_empty());
    }
}
