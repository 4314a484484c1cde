//! The manager as users hold it: a cheap handle from which everything starts.

use std::sync::Arc;

use super::config::Builder;
use super::core::Core;
use super::handle::TaskRef;
use super::scope::ScopeRef;
use crate::kernel::TaskId;

/// Supervises tasks of many scopes. Cloning it is cheap; all clones mean the same manager.
///
/// Dropping the last handle does not stop anything: tasks outlive the calls that started them.
/// [`Manager::shutdown`] stops them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use understory::Manager;
///
/// let manager = Manager::in_memory();
/// let task = manager.scope("s").task("t").spawn(|_| async { Ok(1 + 1) }).await?;
/// assert_eq!(task.await?, 2);
/// let report = manager.shutdown(Duration::from_secs(1)).await?;
/// assert!(report.is_empty()); // nothing was left to stop
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Manager {
    pub(super) core: Arc<Core>,
}

impl Manager {
    /// Starts a manager with default bounds that keeps its records in memory.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in a program compiled with `panic = "abort"`; [`Builder::build`]
    /// returns these as errors.
    pub fn in_memory() -> Self {
        match Self::builder().build() {
            Ok(manager) => manager,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sets up a manager: limits, bounds, executors, store.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn over(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The scope of this name. A name that is not valid fails the first verb used on it.
    pub fn scope(&self, name: &str) -> ScopeRef {
        ScopeRef::new(Arc::clone(&self.core), name)
    }

    /// The task of this id, whether or not it exists: its verbs say so.
    pub fn task(&self, id: TaskId) -> TaskRef {
        TaskRef::new(Arc::clone(&self.core), id)
    }

    /// How often the manager's actors were started: 1 unless one of them failed, 0 until they have
    /// begun.
    pub fn incarnation(&self) -> u64 {
        self.core.hub.incarnation()
    }

    /// Makes an actor of this manager panic on its next turn, to test what a program makes of it.
    #[cfg(feature = "testing")]
    pub fn break_part(&self, part: crate::actors::Part) {
        self.core.hub.break_part(part);
    }

    /// Makes an actor of this manager panic after its actors have passed so many of the points at
    /// which [`Manager::break_part`] breaks them on the way of a request: before a turn and before
    /// a commit, after these, and after each effect. Then again, after as many more as the next
    /// number says.
    ///
    /// With 0, 1, 2 and so on a program is tested against a failure at each point; all were tried
    /// when [`Manager::incarnation`] stays 1. What was asked before is forgotten.
    #[cfg(feature = "testing")]
    pub fn break_after(&self, points: impl IntoIterator<Item = u64>) {
        self.core.hub.break_after(points);
    }

    /// Why the store takes nothing: at the moment, as it fails, hangs or is held by somebody else;
    /// or for good, as it is damaged or newer, was taken over, or its lease could not be renewed in
    /// time: then the manager has ended. `None` when it works.
    pub fn store_trouble(&self) -> Option<String> {
        let hub = &self.core.hub;
        let why = hub.ruin().or_else(|| hub.trouble());
        why.map(|why| why.to_string())
    }
}
