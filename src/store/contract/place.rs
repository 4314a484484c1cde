//! A place that a store opens, and what was committed to it.

use std::sync::Arc;

use super::super::{Batch, Holder, Lease, LeaseAsk, Loaded, Store, StoreError};
use crate::kernel::{Event, Seq, Spec, State};
use crate::sample;

/// Opens a place once more.
pub(in crate::store::contract) type Open<'a> = &'a dyn Fn() -> Arc<dyn Store>;

/// A place that was opened, with the numbers of what was committed to it.
pub(super) struct Place<'a> {
    open: Open<'a>,
    store: Option<Arc<dyn Store>>,
    spec: Arc<Spec>,
    seq: u64,
    /// By whom batches are.
    pub(super) by: Option<Holder>,
}

impl<'a> Place<'a> {
    pub(super) fn new(open: Open<'a>) -> Self {
        Self {
            open,
            store: Some(open()),
            spec: Arc::new(sample::spec("contract")),
            seq: 0,
            by: None,
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store
            .as_deref()
            .expect("it is open between reopenings")
    }

    pub(super) fn reopen(&mut self) {
        self.store = None;
        self.store = Some((self.open)());
    }

    pub(super) fn loaded(&self) -> Loaded {
        self.store().load().expect("the place can be read")
    }

    pub(super) fn events(&self, after: u64, limit: usize) -> Vec<Arc<Event>> {
        let events = self.store().events(Seq(after), limit);
        events.expect("the place can be read")
    }

    /// A batch of changes, each with its event.
    pub(super) fn batch(&self, changes: &[(u128, State)]) -> Batch {
        let by = self.by;
        let mut batch = Batch {
            by,
            ..Batch::default()
        };
        for (seq, (task, state)) in (self.seq + 1..).zip(changes) {
            let record = sample::record(sample::id(*task), &self.spec, *state, seq);
            batch.events.push(sample::event(seq, &record));
            batch.records.push(record);
        }
        batch
    }

    pub(super) fn commit(&mut self, batch: &Batch) {
        let committed = self.store().commit(batch);
        committed.expect("the batch is a valid one");
        self.seq += u64::try_from(batch.events.len()).expect("it fits");
    }

    pub(super) fn change(&mut self, changes: &[(u128, State)]) -> Batch {
        let batch = self.batch(changes);
        self.commit(&batch);
        batch
    }

    pub(super) fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        self.store().lease(ask)
    }

    pub(super) fn look(&self) -> Lease {
        self.lease(&LeaseAsk::Look).expect("the place can be read")
    }

    /// Asks for what has to be refused, and checks that nothing has changed.
    pub(super) fn refuse_lease(&mut self, ask: &LeaseAsk) -> StoreError {
        let before = (self.look(), self.everything());
        let error = self.lease(ask).expect_err("it is against the contract");
        assert_eq!((self.look(), self.everything()), before);
        self.reopen();
        assert_eq!((self.look(), self.everything()), before);
        error
    }

    /// What a refused batch must not have changed.
    pub(super) fn everything(&self) -> (Loaded, Vec<Arc<Event>>) {
        (self.loaded(), self.events(0, usize::MAX))
    }

    /// Commits a batch that has to be refused, and checks that nothing of it is there.
    pub(super) fn refuse(&mut self, batch: &Batch) -> StoreError {
        let before = self.everything();
        let refused = self.store().commit(batch);
        let error = refused.expect_err("a batch against the contract is refused");
        assert_eq!(self.everything(), before, "a refused batch left a trace");
        self.reopen();
        assert_eq!(self.everything(), before, "a refused batch came back");
        error
    }
}
