//! Reads a file that another process may be writing.
//!
//! # Invariants
//! 1. It never changes the file and never stands in the way of the writer.
//! 2. Each call reads from one point in time.
//!
//! *Not here*: following what happens later: ask again from the last number on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::database::{Access, Database};
use super::load::{self, Specs};
use super::pen::{self, ReadError};
use super::{OpenError, check_schema, lock, open_database, place, schema};
use crate::kernel::{Event, Record, Scope, Seq, State, TaskId, Timestamp};
use crate::store::{Loaded, StoreError};

/// A file that is only read.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::store::sqlite::{Options, Reader, SqliteStore};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("tasks.db");
/// let _writer = SqliteStore::open(&path, Options::default())?;
/// let reader = Reader::open(&path)?; // while the other one writes
/// assert!(reader.page(None, None, None, 50)?.is_empty());
/// # Ok(()) }
/// ```
pub struct Reader {
    path: PathBuf,
    database: Mutex<Database>,
}

impl Reader {
    /// Opens a file that is there.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        place::check_to_read(path)?;
        let error = |error: ReadError| OpenError::of(path, error);
        let (mut database, version) = open_database(path, Access::Read)?;
        if version < schema::STEPS.len() {
            return Err(OpenError::Older {
                path: path.to_owned(),
            });
        }
        database.read(check_schema).map_err(error)?;
        let (path, database) = (path.to_owned(), Mutex::new(database));
        Ok(Self { path, database })
    }

    /// Everything that is in it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be read now, [`StoreError::Damaged`] when never.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        Ok(self.database().read(|rows| pen::load(rows, |_, _| {}))?)
    }

    /// The task of this id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be read now, [`StoreError::Damaged`] when never.
    pub fn get(&self, id: TaskId) -> Result<Option<Arc<Record>>, StoreError> {
        let found = self.database().read(|rows| {
            let Some((row, spec)) = rows.task(&id.to_string())? else {
                return Ok(None);
            };
            let record = load::record(&row, spec, &mut Specs::default())?;
            Ok::<_, ReadError>(Some(Arc::new(record)))
        });
        Ok(found?)
    }

    /// A page of tasks, the newest first: of a scope, in a state, older than the last one of the
    /// page before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be read now, [`StoreError::Damaged`] when never.
    pub fn page(
        &self,
        scope: Option<&Scope>,
        state: Option<State>,
        before: Option<(Timestamp, TaskId)>,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let scope = scope.map(Scope::as_str);
        let state = state.map(State::as_str);
        let before = before.map(|(at, id)| (at.as_micros().cast_signed(), id.to_string()));
        let before = before.as_ref().map(|(at, id)| (*at, id.as_str()));
        let page = self.database().read(|rows| {
            let page = rows.page((scope, state), before, pen::page(limit))?;
            Ok::<_, ReadError>(load::all(page)?)
        });
        Ok(page?)
    }

    /// The tasks right below one, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be read now, [`StoreError::Damaged`] when never.
    pub fn children(&self, parent: TaskId) -> Result<Vec<Arc<Record>>, StoreError> {
        let children = self.database().read(|rows| {
            let children = rows.children(&parent.to_string())?;
            Ok::<_, ReadError>(load::all(children)?)
        });
        Ok(children?)
    }

    /// The oldest events after a number, at most
    /// [`EVENTS_PAGE_MAX`](crate::store::EVENTS_PAGE_MAX).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when they cannot be read now, [`StoreError::Damaged`] when
    /// never.
    pub fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        Ok(self
            .database()
            .read(|rows| pen::events(rows, after, limit, |_, _| None))?)
    }

    /// The same, about one task.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when they cannot be read now, [`StoreError::Damaged`] when
    /// never.
    pub fn events_of(
        &self,
        task: TaskId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let events = self.database().read(|rows| {
            let found = rows.events_of(&task.to_string(), after, pen::page(limit))?;
            load::events(rows, found, |_, _| None)
        });
        Ok(events?)
    }

    fn database(&self) -> std::sync::MutexGuard<'_, Database> {
        lock(&self.database)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
