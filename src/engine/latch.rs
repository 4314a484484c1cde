//! How a task ended, for all who wait for it.
//!
//! # Invariants
//! 1. It is set once: with the settled record, or as lost, when nobody can say any more how the
//!    task ended.
//!
//! *Not here*: who sets it (`show`, `recovery` and `uncarried` of `actors`).

use std::sync::Arc;

use tokio::sync::SetOnce;

use crate::kernel::Record;

pub(crate) struct Latch(SetOnce<Option<Arc<Record>>>);

impl Latch {
    pub(super) const fn new() -> Self {
        Self(SetOnce::const_new())
    }

    /// It ended so. What was set before stays.
    pub(crate) fn set(&self, record: &Arc<Record>) {
        let _is_first = self.0.set(Some(Arc::clone(record))).is_ok();
    }

    /// It ended, and its record is nowhere any more. What was set before stays.
    pub(crate) fn lose(&self) {
        let _is_first = self.0.set(None).is_ok();
    }

    /// Whether it ended.
    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    /// How it ended; `None` also when that is lost.
    pub(crate) fn get(&self) -> Option<&Arc<Record>> {
        self.0.get()?.as_ref()
    }

    /// Waits for its end; `None` when it is lost how.
    pub(crate) async fn wait(&self) -> Option<&Arc<Record>> {
        self.0.wait().await.as_ref()
    }
}
