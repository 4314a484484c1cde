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
    taken: Arc<CancellationToken>,
}

impl Manager {
    /// Takes a place from whoever has it.
    pub(crate) fn take_place(&self, seat: Seat) -> Place {
        let taken = Arc::new(CancellationToken::new());
        let before = (self.core.places).insert(seat.clone(), Arc::clone(&taken));
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
        // It may be another one's by now, who is about to say so.
        let places = &self.core.places;
        places.remove_if(&self.seat, |_, taken| Arc::ptr_eq(taken, &self.taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn place_stays_with_who_is_about_to_tell_the_one_before() {
        let manager = Manager::in_memory();
        let seat = (Scope::new("s").expect("it is valid"), None);
        let before = manager.take_place(seat.clone());
        (manager.core.places).insert(seat.clone(), Arc::default());

        drop(before);

        assert!(manager.core.places.contains_key(&seat));
    }
}
