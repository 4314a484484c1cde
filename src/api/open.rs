//! Opening a file: the manager that goes on where another process ended.
//!
//! # Invariants
//! 1. When `open` returns, recovery is durable, and what it decided is seen.
//! 2. A manager that cannot recover is stopped before the error is returned, and the file is free.
//!
//! *Not here*: what recovery decides (`kernel/supervisor/recover.rs`), the file (`store::sqlite`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::config::{BuildError, Builder};
use super::core::Core;
use super::manager::Manager;
use crate::actors;
use crate::store::sqlite::{Options, SqliteStore};

/// After how long the store is asked whether it is why recovery takes so long.
const PATIENCE: Duration = Duration::from_secs(5);

impl Manager {
    /// Starts a manager with default bounds whose records and events are kept in this file, and
    /// goes on from what is in it. See [`Builder::open`].
    ///
    /// # Errors
    /// [`BuildError`] says what to do.
    ///
    /// # Cancel safety
    /// Dropping the returned future may leave the file in use until this runtime has ended.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, BuildError> {
        Self::builder().open(path).await
    }
}

impl Builder {
    /// Starts the manager on the current tokio runtime, over a file that is made if it is not
    /// there. Everything that was answered is in it, also when the process is killed: the next
    /// manager that opens it goes on from there.
    ///
    /// What ran when the last process ended, runs no more. A task of an executor that is registered
    /// here is queued again while it has attempts left, and else interrupted, as closures always
    /// are, and tasks that are [bound to their owner](crate::TaskBuilder::owner_bound). What is
    /// below a body that is lost ends as when that fails: it is cancelled, unless its
    /// [`on_parent_end`](crate::TaskBuilder::on_parent_end) says that it goes on. What was
    /// pending or suspended stays so, what was being cancelled is cancelled, and an external task
    /// goes on. A task without its executor waits for it; register it, and it starts.
    ///
    /// One manager has a file at a time; it is free again after [`Manager::shutdown`], or when the
    /// process has ended. Others may read it meanwhile: with
    /// [`Reader`](crate::store::sqlite::Reader), or with the `sqlite3` shell (`SELECT * FROM
    /// running`).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use understory::{Manager, State};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("tasks.db");
    /// let manager = Manager::open(&path).await?;
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(7) }).await?;
    /// let id = task.id();
    /// task.await?;
    /// manager.shutdown(Duration::from_secs(1)).await?;
    ///
    /// let manager = Manager::open(&path).await?;
    /// assert_eq!(manager.task(id).state(), Some(State::Completed));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`BuildError`] says what to do.
    ///
    /// # Cancel safety
    /// Dropping the returned future may leave the file in use until this runtime has ended.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<Manager, BuildError> {
        self.open_with(path, Options::default()).await
    }

    /// The same, with a choice of what a power cut may take away and of how long the history is.
    ///
    /// # Errors
    /// [`BuildError`] says what to do.
    ///
    /// # Cancel safety
    /// Dropping the returned future may leave the file in use until this runtime has ended.
    pub async fn open_with(
        self,
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Manager, BuildError> {
        let this = self.checked()?;
        let path = path.as_ref().to_owned();
        let opened = tokio::task::spawn_blocking(move || SqliteStore::open(path, options));
        let store = match opened.await {
            Ok(store) => store?,
            Err(panic) => return Err(BuildError::Recovery(panic.to_string())),
        };
        this.open_store(store).await
    }

    /// The same, over a file that is open already, so that what is in it can be looked at before
    /// anything is decided on it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::Manager;
    /// use understory::store::Store;
    /// use understory::store::sqlite::{Options, SqliteStore};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("tasks.db");
    /// let store = SqliteStore::open(&path, Options::default())?;
    /// assert!(store.load()?.records.is_empty());
    /// let manager = Manager::builder().open_store(store).await?;
    /// # let _ = manager;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`BuildError`] says what to do.
    ///
    /// # Cancel safety
    /// Dropping the returned future may leave the file in use until this runtime has ended.
    pub async fn open_store(self, store: SqliteStore) -> Result<Manager, BuildError> {
        let manager = self.store(store).build()?;
        recovered(&manager.core).await.map(|()| manager)
    }
}

/// Waits until recovery is durable and shown; what starts after it is not waited for.
async fn recovered(core: &Arc<Core>) -> Result<(), BuildError> {
    let hub = &core.hub;
    let why = loop {
        tokio::select! {
            biased;
            has_recovered = hub.recovered() => {
                if has_recovered {
                    return Ok(());
                }
                let why = hub.ruin().map(|why| why.to_string());
                break why.unwrap_or_else(|| "the manager failed".to_owned());
            }
            () = tokio::time::sleep(PATIENCE) => {
                if let Some(why) = hub.sickness() {
                    break why.to_string();
                }
            }
        }
    };
    actors::stop(hub).await;
    Err(BuildError::Recovery(why))
}
