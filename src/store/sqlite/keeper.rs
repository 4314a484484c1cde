//! A thread that does for the file what no commit should wait for: it moves the log into the file,
//! and gives unused pages back.
//!
//! # Invariants
//! 1. The log is moved when it has become long, and not again before it has become longer.
//! 2. Between two slices of pages that are given back, whoever waits to commit has its turn.
//! 3. What fails here fails no commit: it is logged and done again after the next one.
//!
//! *Not here*: the transactions (`pen`), syncing the log (`syncer`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::database::{Access, Database, Trouble};
#[cfg(any(test, feature = "testing"))]
use super::fail;
use super::pen::Pen;
use super::worker::{Bell, Worker};
use super::{lock, place};

/// How long it waits after the first commit, for more of them.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// A log of more than this is moved into the file. The one that comes after it begins at its
/// front again, and as the pragma `journal_size_limit` is this long, too, it is cut to that.
pub(super) const LOG_BYTES: u64 = 32 << 20;
/// How much longer a log must have become, when it could not begin at its front again.
const LOG_STEP_BYTES: u64 = LOG_BYTES / 4;
/// Pages that are given back while the store is held, and how many may stay unused.
const SHRINK_PAGES: u32 = 128;
const UNUSED_PAGES_MAX: i64 = 256;
/// Between two slices. A mutex alone is not fair: it may go to who had it last.
const SHRINK_PAUSE: Duration = Duration::from_millis(5);

/// The files, as far as they are kept in order.
pub(super) trait Files: Send + 'static {
    /// How long the log is.
    fn log_bytes(&mut self) -> io::Result<u64>;
    /// Moves the log into the file.
    fn checkpoint(&mut self) -> Result<(), Trouble>;
    /// Gives some pages back; tells whether there are more.
    fn shrink(&mut self) -> Result<bool, Trouble>;
}

/// The file and its log.
pub(super) struct OwnFiles {
    path: PathBuf,
    pen: Weak<Mutex<Pen>>,
    /// A connection of its own, so that commits go on.
    own: Option<Database>,
}

impl OwnFiles {
    pub(super) fn new(path: &Path, pen: &Arc<Mutex<Pen>>) -> Self {
        Self {
            path: path.to_owned(),
            pen: Arc::downgrade(pen),
            own: None,
        }
    }
}

impl Files for OwnFiles {
    fn log_bytes(&mut self) -> io::Result<u64> {
        let log = std::fs::metadata(place::beside(&self.path, "-wal"))?;
        Ok(log.len())
    }

    fn checkpoint(&mut self) -> Result<(), Trouble> {
        let own = match self.own.take() {
            Some(own) => own,
            None => Database::open(&self.path, Access::Write)?,
        };
        own.checkpoint()?;
        #[cfg(any(test, feature = "testing"))]
        fail::pass(fail::Point::Checkpoint);
        self.own = Some(own);
        // What was committed meanwhile is little, and without it the log could not begin anew.
        if let Some(pen) = self.pen.upgrade() {
            lock(&pen).database.checkpoint()?;
        }
        Ok(())
    }

    fn shrink(&mut self) -> Result<bool, Trouble> {
        let Some(pen) = self.pen.upgrade() else {
            return Ok(false);
        };
        let pen = lock(&pen);
        let (all, unused) = pen.database.pages()?;
        let is_worth_it = unused > unused_pages_max(all);
        if is_worth_it {
            pen.database.shrink(SHRINK_PAGES)?;
            #[cfg(any(test, feature = "testing"))]
            fail::pass(fail::Point::Shrink);
        }
        Ok(is_worth_it)
    }
}

/// How long a log may be.
fn log_bytes_max() -> u64 {
    #[cfg(any(test, feature = "testing"))]
    if fail::is_armed(fail::Point::Checkpoint) {
        return 0;
    }
    LOG_BYTES
}

/// How many pages of so many may stay unused.
fn unused_pages_max(all: i64) -> i64 {
    #[cfg(any(test, feature = "testing"))]
    if fail::is_armed(fail::Point::Shrink) {
        return 0;
    }
    UNUSED_PAGES_MAX.max(all / 8)
}

/// The thread and what it is told.
pub(super) struct Keeper {
    worker: Worker,
    /// Whether rows were removed, so that pages may be unused.
    has_removed: Arc<AtomicBool>,
}

impl Keeper {
    pub(super) fn start(files: impl Files, pause: Duration) -> io::Result<Self> {
        let has_removed = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            files,
            has_removed: Arc::clone(&has_removed),
            log_bytes_max: log_bytes_max(),
        };
        let worker = Worker::start(move |bell| work.until_over(bell, pause))?;
        Ok(Self {
            worker,
            has_removed,
        })
    }

    /// Something was committed.
    pub(super) fn stir(&self, has_removed: bool) {
        if has_removed {
            self.has_removed.store(true, Ordering::Release);
        }
        self.worker.ring();
    }
}

struct Work<F> {
    files: F,
    has_removed: Arc<AtomicBool>,
    log_bytes_max: u64,
}

impl<F: Files> Work<F> {
    fn until_over(&mut self, bell: &Bell, pause: Duration) {
        while bell.wait(pause) {
            self.shorten_log();
            let mut has_more = self.has_removed.swap(false, Ordering::AcqRel);
            while has_more && bell.rest(SHRINK_PAUSE) {
                has_more = self.files.shrink().unwrap_or_else(|error| {
                    tracing::debug!(%error, "the file of the store was not made smaller");
                    // Not lost: the next commit asks for it again.
                    self.has_removed.store(true, Ordering::Release);
                    false
                });
                self.shorten_log();
            }
        }
    }

    /// Invariant 1.
    fn shorten_log(&mut self) {
        let bytes = match self.files.log_bytes() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(%error, "the log of the store has no length");
                return;
            }
        };
        if bytes <= log_bytes_max() {
            self.log_bytes_max = log_bytes_max();
        } else if bytes > self.log_bytes_max {
            match self.files.checkpoint() {
                Ok(()) => self.log_bytes_max = bytes + LOG_STEP_BYTES,
                Err(error) => {
                    tracing::debug!(%error, "the log of the store was not moved into it");
                }
            }
        }
    }
}
