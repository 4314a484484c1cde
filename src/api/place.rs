//! One place per scope: whoever takes it last has it, and the one before hears of that.
//!
//! *Not here*: what is done in that place (`models/idle.rs`).

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::manager::Manager;
use crate::kernel::Scope;

/// The place of a scope, until somebody else takes it or it is dropped.
pub(crate) struct Place {
    core: Arc<Core>,
    scope: Scope,
    taken: CancellationToken,
}

impl Manager {
    /// Takes the place of a scope from whoever has it.
    pub(crate) fn take_place(&self, scope: &Scope) -> Place {
        let taken = CancellationToken::new();
        let before = self.core.places.insert(scope.clone(), taken.clone());
        if let Some(before) = before {
            before.cancel();
        }
        Place {
            core: Arc::clone(&self.core),
            scope: scope.clone(),
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
        places.remove_if(&self.scope, |_, _| !self.taken.is_cancelled());
    }
}
