//! Whether the run takes tasks.
//!
//! # Invariants
//! 1. Whoever closes the doors knows of every task that was accepted: who asks for one keeps them
//!    from closing until there is an answer.
//!
//! *Not here*: who may ask for tasks (`calls`).

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug)]
pub(super) struct Doors {
    are_open: RwLock<bool>,
}

impl Doors {
    pub(super) fn open() -> Self {
        Self {
            are_open: RwLock::new(true),
        }
    }

    /// Lets in whoever asks for tasks, until this is dropped; `None` when they are closed.
    pub(super) async fn enter(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let are_open = self.are_open.read().await;
        are_open.then_some(are_open)
    }

    /// Lets nobody in meanwhile; what is written there says whether they are open afterwards.
    pub(super) async fn hold(&self) -> RwLockWriteGuard<'_, bool> {
        self.are_open.write().await
    }
}
