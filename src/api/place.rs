//! One place per scope, and one per tree of it: whoever takes it last has it, and the one before
//! hears of that.
//!
//! *Not here*: what is done in that place (`models/idle.rs`).

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::manager::Manager;
use crate::kernel::{Scope, TaskId};

/// What a place is of: a scope, or what is below a task of it.
pub(crate) type Seat = (Scope, Option<TaskId>);

/// A place, until somebody else takes it or it is dropped.
pub(crate) struct Place {
    core: Arc<Core>,
    seat: Seat,
    taken: CancellationToken,
}

impl Manager {
    /// Takes a place from whoever has it.
    pub(crate) fn take_place(&self, seat: Seat) -> Place {
        let taken = CancellationToken::new();
        let before = self.core.places.insert(seat.clone(), taken.clone());
        if let Some(before) = before {
            before.cancel();
        }
        Place {
            core: Arc::clone(&self.core),
            seat,
            taken,
        }
    }
}

impl Place {
    /// What `future` brings, or `None` as soon as the place is taken.
    pub(crate) async fn within<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.taken.run_until_cancelled(future).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One that was cancelled was replaced: the place is another one's.
        let places = &self.core.places;
        places.remove_if(&self.seat, |_, _| !self.taken.is_cancelled());
    }
}
