//! Showing what is durable: index, latches, output, and those who observe one task.
//!
//! # Invariants
//! 1. Each batch is shown once, in the order of the log.
//! 2. When this returns, index and latches have the change; nobody was told of its events yet.
//!
//! *Not here*: what follows from it (`carry`), what is shown after a restart (`recovery`).

#[cfg(feature = "metrics")]
use std::collections::HashMap;
use std::sync::Arc;

use super::hub::Hub;
use crate::engine::Live;
#[cfg(feature = "metrics")]
use crate::kernel::IdHash;
use crate::kernel::{Event, Record, TaskId, What};
use crate::store::Batch;

impl Hub {
    /// Shows a durable batch. With it those begin to exist who are `observed`.
    pub(super) fn show(self: &Arc<Self>, batch: &Batch, observed: &[Arc<Live>]) {
        let last = batch.events.last();
        let before = self.index.seq();
        let seq = last.map_or(before, |last| last.seq);
        #[cfg(feature = "metrics")]
        self.count(&batch.records);
        self.note_news(batch);
        self.index.apply(&batch.records, &batch.removed, seq);
        self.set_done(&batch.records);
        self.keep_output(batch);
        self.move_letters(&batch.events);
        for live in observed {
            self.observe(live, before);
        }
    }

    /// Lets those know who wait for one of these to settle. Of several records with one id the last
    /// one counts, also when it is not kept.
    fn set_done(&self, records: &[Arc<Record>]) {
        let settled = |record: &&Arc<Record>| record.state.is_terminal();
        for record in records.iter().rev().filter(settled) {
            if let Some(live) = self.lives.get(&record.id) {
                // Set once: an abandoned task's record changes again when its body stops.
                live.done.set(record);
            }
        }
    }

    /// Counts how tasks move from state to state; the index does not show it yet.
    #[cfg(feature = "metrics")]
    fn count(&self, records: &[Arc<Record>]) {
        let mut newest: HashMap<TaskId, Arc<Record>, IdHash> = HashMap::default();
        for record in records {
            let earlier = newest.insert(record.id, Arc::clone(record));
            let old = earlier.or_else(|| self.index.get(record.id));
            crate::meter::moved(old.as_deref(), record);
        }
    }

    /// The newest record of a task, also of one that is kept no more.
    pub(super) fn newest(&self, id: TaskId) -> Option<Arc<Record>> {
        let gone = || self.live(id)?.done.get().cloned();
        self.index.get(id).or_else(gone)
    }

    /// What nobody has read goes with its task to another scope.
    fn move_letters(&self, events: &[Arc<Event>]) {
        for event in events {
            if let What::Transferred { to, .. } = &event.what
                && let Some(live) = self.live(event.task)
            {
                live.move_to(to);
            }
        }
    }

    /// Keeps what bodies wrote, now that it is durable, for those who read it later.
    fn keep_output(&self, batch: &Batch) {
        for event in &batch.events {
            #[cfg(feature = "metrics")]
            if let Some(record) = self.newest(event.task) {
                crate::meter::happened(event, &record);
            }
            if let What::Output(piece) = &event.what {
                self.shelf.put(event.task, piece.clone());
            } else if let What::OutputKept { ticket, .. } = &event.what {
                self.shelf.reveal(event.task, *ticket);
            }
        }
        self.shelf.forget(&batch.removed);
    }
}
