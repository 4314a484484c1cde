//! The store in one file: SQLite, with a schema that a person can read.
//!
//! A batch is one transaction. The file is opened with the ordinary tool: its views `tasks`,
//! `running` and `events` say in plain words what is and what happened.
//!
//! # Invariants
//! 1. One process writes a file; others read it meanwhile.
//! 2. A file that is damaged, newer, or not ours is refused and left as it is, with its log: all of
//!    it is read before anything is written.
//! 3. Should two write it after all, as a lock was lost, only the last one that took the lease is
//!    heard.
//! 4. A file that was removed or replaced takes nothing more.
//! 5. With [`Durability::Synced`] a commit that was acknowledged survives a power cut.
//!
//! *Not here*: grouping commits, and trying again when the disk is full (the writer of `actors`).

mod codec;
mod database;
#[cfg(any(test, feature = "testing"))]
pub mod fail;
mod generation;
mod keeper;
mod load;
mod pen;
mod place;
mod present;
mod reader;
mod schema;
mod syncer;
#[cfg(test)]
mod tests;
mod worker;

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Batch, Latency, Lease, LeaseAsk, Loaded, Store, StoreError, Tenancy};
use crate::kernel::{Event, Seq};
use codec::Damage;
use database::{Access, Database, Identity, Rows, Trouble};
use keeper::{Keeper, OwnFiles};
use pen::{Pen, ReadError};
use place::Place;
use present::Present;
pub use reader::Reader;
use syncer::{LogFile, Syncer};

/// How many events a file keeps unless told otherwise.
pub const HISTORY_DEFAULT: u64 = 1_000_000;

/// What a power cut may take away. A crash of the process takes nothing away either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: each commit waits for the disk.
    #[default]
    Synced,
    /// What was committed within this time; commits do not wait for the disk. When it cannot be
    /// synced within that, commits fail until it could be.
    Relaxed {
        /// The longest time between a commit and its arrival on the disk: more than three times as
        /// long as a sync takes there.
        loss_window: Duration,
    },
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    durability: Durability,
    history_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            history_max: HISTORY_DEFAULT,
        }
    }
}

impl Options {
    /// Says what a power cut may take away (nothing).
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how many events are kept, the newest ones ([`HISTORY_DEFAULT`]); a few more stay until
    /// it is worth removing them.
    #[must_use]
    pub const fn history_max(mut self, events: u64) -> Self {
        self.history_max = events;
        self
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// This is the name of no file: it is empty, or means a database in memory elsewhere.
    #[error("{:?} is the name of no file; without one there is `Manager::in_memory`", .0)]
    NoFile(PathBuf),
    /// Another process, or another manager of this one, writes it.
    #[error(
        "{} is in use by {}, or use another file",
        path.display(), holder(*pid)
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that holds it, if it could be told.
        pid: Option<u32>,
    },
    /// Somebody else could read or exchange what is in the file.
    #[error("{} {problem}; {advice}", path.display())]
    Unsafe {
        /// The file or the folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        advice: String,
    },
    /// It was written by a newer version of understory.
    #[error(
        "{} was written by a newer program (version {found}; this one knows versions up to \
         {known}, and not every name in them): update this one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known here.
        known: usize,
    },
    /// It was written by an older version, and who only reads does not change it.
    #[error("{} is of an older version: open it for writing once", path.display())]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// It is a file of something else.
    #[error("{} is no file of understory: choose another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was written. Nothing was changed.
    #[error(
        "{} is damaged: put a copy in its place and remove what lies beside it (-wal, unless the \
         copy has its own, -shm and .lock), or begin with a new file",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The disk or the system does not let it be used now.
    #[error("{} cannot be opened; try again when the cause is mended", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Who holds a file, and what to do about it.
fn holder(pid: Option<u32>) -> String {
    match pid {
        None => "another process: stop that one".to_owned(),
        Some(pid) if pid == std::process::id() => {
            "another manager of this process: call its `shutdown` or `leave`".to_owned()
        }
        Some(pid) => format!("process {pid}: stop that one"),
    }
}

impl OpenError {
    fn of(path: &Path, error: ReadError) -> Self {
        let path = path.to_owned();
        if error.is_newer() {
            // Of this version, with names that this program does not know.
            let known = schema::STEPS.len();
            let found = i64::try_from(known).expect("there are few versions");
            Self::Newer { path, found, known }
        } else if error.is_damage() {
            let source = Box::new(error);
            Self::Damaged { path, source }
        } else {
            let source = Box::new(error);
            Self::Unavailable { path, source }
        }
    }

    fn damaged(path: &Path, why: &'static str) -> Self {
        let (path, source) = (path.to_owned(), why.into());
        Self::Damaged { path, source }
    }
}

/// Keeps records and events in one file.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::store::sqlite::{Options, SqliteStore};
/// use understory::store::Store;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("tasks.db");
/// let store = SqliteStore::open(&path, Options::default())?;
/// assert!(store.load()?.records.is_empty());
/// assert!(SqliteStore::open(&path, Options::default()).is_err()); // one writer a file
/// # Ok(()) }
/// ```
pub struct SqliteStore {
    path: PathBuf,
    // Both end before the pen, and the place is free last.
    keeper: Keeper,
    /// With a loss window.
    syncer: Option<Box<Syncer>>,
    pen: Arc<Mutex<Pen>>,
    /// What was read at the opening, for the first who asks.
    loaded: Mutex<Option<Loaded>>,
    present: Box<Present>,
    _place: Place,
}

impl SqliteStore {
    /// Opens the file, or makes it, and reads all of it. It may block for as long.
    ///
    /// Beside the file there are its log (`-wal`), its index (`-shm`) and, for as long as it is in
    /// use, its lock (`.lock`). It does not work on network file systems.
    ///
    /// # Errors
    /// [`OpenError`] says what to do; the file is as it was.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            return Err(OpenError::NoFile(path.to_owned()));
        }
        Self::open_in(Place::take(path, place::sync_log)?, options)
    }

    fn open_in(mut place: Place, options: Options) -> Result<Self, OpenError> {
        let path = place.path().to_owned();
        generation::check(&mut place)?;
        let (mut pen, loaded) = open_pen(&path, options)?;
        #[cfg(any(test, feature = "testing"))]
        fail::pass(fail::Point::Loaded);
        generation::begin(&mut pen.database, &mut place);
        let loaded = Mutex::new(Some(loaded));
        let pen = Arc::new(Mutex::new(pen));
        let error = |source| OpenError::Unavailable {
            path: path.clone(),
            source: Box::new(source),
        };
        let keeper = Keeper::start(OwnFiles::new(&path, &pen), keeper::PAUSE);
        let keeper = keeper.map_err(error)?;
        let syncer = match options.durability {
            Durability::Synced => None,
            Durability::Relaxed { loss_window } => {
                let log = LogFile::new(&path, &pen);
                let syncer = Syncer::start(log, loss_window).map_err(error)?;
                Some(Box::new(syncer))
            }
        };
        Ok(Self {
            present: Box::new(Present::note(&path)),
            path,
            keeper,
            syncer,
            pen,
            loaded,
            _place: place,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the file have so many pages (of 4 KiB) and no more, as a full disk would.
    #[cfg(any(test, feature = "testing"))]
    pub fn set_pages_max(&self, pages: u32) {
        if let Err(error) = self.pen().database.set_pages_max(pages) {
            tracing::error!(%error, "the file has no bound now");
        }
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        lock(&self.pen)
    }
}

/// Opens the file for writing, reads it, and brings it to the newest version.
fn open_pen(path: &Path, options: Options) -> Result<(Pen, Loaded), OpenError> {
    let error = |trouble: Trouble| OpenError::of(path, trouble.into());
    let (mut database, version) = open_database(path, Access::Write)?;
    let is_synced = options.durability == Durability::Synced;
    database.prepare(is_synced).map_err(error)?;
    if version == 0 {
        write_ahead(&database, path, true)?;
    }
    #[cfg(any(test, feature = "testing"))]
    fail::pass(fail::Point::Created);
    if version < schema::STEPS.len() {
        let check = |rows: &Rows<'_>| {
            check_schema(rows)?;
            pen::load(rows, |_, _| {}).map(drop)
        };
        let migrated = database.migrate(version, check);
        migrated.map_err(|error| OpenError::of(path, error))?;
    }
    let mut pen = Pen::new(database, options.history_max).map_err(error)?;
    let checked = pen.database.read(check_schema);
    let loaded = checked.and_then(|()| pen.load());
    let loaded = loaded.map_err(|error| OpenError::of(path, error))?;
    write_ahead(&pen.database, path, false)?;
    pen.database.tidies_up().map_err(error)?;
    Ok((pen, loaded))
}

fn write_ahead(database: &Database, path: &Path, is_new: bool) -> Result<(), OpenError> {
    let mode = database.write_ahead(is_new);
    let mode = mode.map_err(|trouble| OpenError::of(path, trouble.into()))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(OpenError::Unavailable {
        path: path.to_owned(),
        source: format!("it is written with the journal mode {mode} instead of wal").into(),
    })
}

/// Opens a file that is ours, and tells its version; zero when it is new.
fn open_database(path: &Path, access: Access) -> Result<(Database, usize), OpenError> {
    let error = |trouble: Trouble| OpenError::of(path, trouble.into());
    let database = Database::open(path, access).map_err(error)?;
    let identity = match database.identity() {
        Ok(identity) => identity,
        Err(trouble) => {
            // Else, looking into the file would free the locks of SQLite.
            drop(database);
            // Something with another header has never been ours.
            if trouble.is_damage() && !place::has_header(path) {
                let path = path.to_owned();
                return Err(OpenError::Foreign { path });
            }
            return Err(error(trouble));
        }
    };
    check_identity(&identity, path).map(|version| (database, version))
}

fn check_identity(identity: &Identity, path: &Path) -> Result<usize, OpenError> {
    let is_new = identity.objects == 0 && identity.application == 0 && identity.version == 0;
    if is_new {
        return Ok(0);
    }
    if identity.application != schema::APPLICATION_ID {
        let path = path.to_owned();
        return Err(OpenError::Foreign { path });
    }
    let known = schema::STEPS.len();
    match usize::try_from(identity.version) {
        Ok(version) if (1..=known).contains(&version) => Ok(version),
        Ok(version) if version > known => Err(OpenError::Newer {
            path: path.to_owned(),
            found: identity.version,
            known,
        }),
        Ok(_) | Err(_) => Err(OpenError::damaged(path, "it has no version")),
    }
}

fn check_schema(rows: &Rows<'_>) -> Result<(), ReadError> {
    let found = database::tables(rows)?;
    let wanted = Database::schema_of_newest()?;
    // What a person added (an index, statistics) is no harm.
    if found.is_superset(&wanted) {
        Ok(())
    } else {
        let why = "its tables are not those of its version";
        Err(Damage::new("schema", &"(all)", &why).into())
    }
}

impl Store for SqliteStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        if let Some(syncer) = &self.syncer {
            syncer.check()?;
        }
        let mut pen = self.pen();
        // What was read at the opening is no longer all.
        drop(lock(&self.loaded).take());
        #[cfg(any(test, feature = "testing"))]
        fail::pass(fail::Point::Commit);
        pen.commit(batch)?;
        drop(pen);
        #[cfg(any(test, feature = "testing"))]
        fail::pass(fail::Point::Committed);
        // A commit to a file that nobody will find is none.
        self.present.check()?;
        if let Some(syncer) = &self.syncer {
            syncer.stir();
        }
        self.keeper.stir(!batch.removed.is_empty());
        Ok(())
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let mut pen = self.pen();
        if let Some(loaded) = lock(&self.loaded).take() {
            return Ok(loaded);
        }
        Ok(pen.load()?)
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        Ok(self.pen().events(after, limit)?)
    }

    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        let mut pen = self.pen();
        let lease = pen.lease(ask)?;
        self.present.check()?;
        #[cfg(any(test, feature = "testing"))]
        if *ask != LeaseAsk::Look {
            fail::pass(fail::Point::Leased);
        }
        // What was read at the opening may be what another one has gone on from.
        if matches!(ask, LeaseAsk::Claim { .. }) && pen.is_stale()? {
            drop(lock(&self.loaded).take());
        }
        Ok(lease)
    }

    /// The lock beside the file: who gets it may conclude that nobody else is there.
    fn tenancy(&self) -> Tenancy {
        Tenancy::Sole
    }

    fn latency(&self) -> Latency {
        Latency::Blocking
    }
}

/// A panic under the lock leaves at most a transaction that was not committed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
