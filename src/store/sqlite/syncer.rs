//! A thread that syncs the log where commits do not wait for the disk.
//!
//! # Invariants
//! 1. A commit is on the disk before its loss window has passed, as long as a sync takes less than
//!    a third of it. Nothing else is done by this thread, and it syncs once more before it ends.
//! 2. A sync that fails is made again without a further commit, and until one has succeeded no
//!    commit is taken: more than the window would be at stake. Nor is one while another has waited
//!    for the disk as long as the window: a sync may hang. That is the time of the disk, which no
//!    decision depends on, so it is asked for here.
//! 3. The system tells of a failed write once, so after a failure a sync alone proves nothing: what
//!    is in the log is written again, into the file.
//! 4. It tells each open file once, and those that are opened later nothing: so the log is kept
//!    open, and what the keeper hears is not lost here.
//!
//! *Not here*: commits that wait for the disk themselves; for these there is no such thread.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::pen::Pen;
use super::worker::{Bell, Worker};
use super::{lock, place};
use crate::store::StoreError;

/// How long it waits at least before it tries again.
const RETRY_MIN: Duration = Duration::from_millis(10);

/// The files, as far as they are synced.
pub(super) trait Log: Send + 'static {
    /// Brings what was written to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// The same after a failure.
    fn mend(&mut self) -> io::Result<()>;
}

/// The log beside the file.
pub(super) struct LogFile {
    path: PathBuf,
    pen: Weak<Mutex<Pen>>,
    /// Open from before the first commit on.
    log: Option<File>,
}

impl LogFile {
    pub(super) fn new(path: &Path, pen: &Arc<Mutex<Pen>>) -> Self {
        let (path, pen) = (place::beside(path, "-wal"), Arc::downgrade(pen));
        // If it cannot be opened now, the first sync says so.
        let log = File::open(&path).ok();
        Self { path, pen, log }
    }
}

impl Log for LogFile {
    /// SQLite holds no locks on its log, so it may be opened and closed here. The log is the same
    /// for as long as the store is open; should there be another one, that one is synced.
    fn sync(&mut self) -> io::Result<()> {
        let there = fs::metadata(&self.path)?;
        let same = |log: &File| log.metadata().is_ok_and(|ours| is_same(&ours, &there));
        let log = match self.log.take().filter(same) {
            Some(log) => log,
            None => File::open(&self.path)?,
        };
        self.log.insert(log).sync_data()
    }

    fn mend(&mut self) -> io::Result<()> {
        if let Some(pen) = self.pen.upgrade() {
            let moved = lock(&pen).database.checkpoint();
            if !moved.map_err(io::Error::other)? {
                let why = "a reader is in the way of writing the log again";
                return Err(io::Error::other(why));
            }
        }
        self.sync()
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

/// What did not reach the disk.
#[derive(Debug, thiserror::Error)]
#[error("the log could not be synced within {within:?}: {why}")]
struct Unsynced {
    within: Duration,
    why: Arc<io::Error>,
}

/// The thread, and what it is about.
pub(super) struct Syncer {
    worker: Worker,
    loss_window: Duration,
    stake: Arc<Mutex<Stake>>,
}

/// What a power cut would take away, and what is wrong.
#[derive(Default)]
struct Stake {
    /// When the oldest commit was made that no sync has begun to bring to the disk.
    left: Option<Instant>,
    /// The same of those that the sync is for which has begun and has not succeeded.
    under_way: Option<Instant>,
    trouble: Option<Arc<io::Error>>,
}

impl Stake {
    fn begin(&mut self) {
        self.under_way = self.left.take();
    }

    fn succeed(&mut self) {
        (self.under_way, self.trouble) = (None, None);
    }

    /// Why nothing is to be committed now.
    fn refusal(&self, now: Instant, window: Duration) -> Option<Arc<io::Error>> {
        let oldest = self.under_way.or(self.left);
        let age = oldest.map(|oldest| now.saturating_duration_since(oldest));
        let overdue = || {
            let why = "what was committed before is not on the disk yet";
            Arc::new(io::Error::new(io::ErrorKind::TimedOut, why))
        };
        // With a window of nothing a commit is overdue as soon as it is made.
        let is_overdue = age.is_some_and(|age| age > window);
        self.trouble.clone().or_else(|| is_overdue.then(overdue))
    }
}

/// The thread is about to end: what is committed later, nobody syncs.
struct Ends(Arc<Mutex<Stake>>);

impl Drop for Ends {
    fn drop(&mut self) {
        let why = || Arc::new(io::Error::other("the thread that syncs it has ended"));
        lock(&self.0).trouble.get_or_insert_with(why);
    }
}

impl Syncer {
    pub(super) fn start(mut log: impl Log, loss_window: Duration) -> io::Result<Self> {
        // The rest of the window is for two syncs: a commit may come when one has just begun, and
        // waits for that, for the pause, and for its own.
        let pause = loss_window / 3;
        let stake = Arc::new(Mutex::new(Stake::default()));
        let its = Arc::clone(&stake);
        let worker = Worker::start(move |bell| {
            let ends = Ends(its);
            until_over(bell, &mut log, pause, &ends.0);
        })?;
        Ok(Self {
            worker,
            loss_window,
            stake,
        })
    }

    /// This was committed.
    pub(super) fn stir(&self) {
        lock(&self.stake).left.get_or_insert_with(Instant::now);
        self.worker.ring();
    }

    /// Invariant 2.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let within = self.loss_window;
        let refusal = lock(&self.stake).refusal(Instant::now(), within);
        let Some(why) = refusal else {
            return Ok(());
        };
        let source = Box::new(Unsynced { within, why });
        Err(StoreError::Unavailable { source })
    }

    #[cfg(test)]
    pub(super) const fn loss_window(&self) -> Duration {
        self.loss_window
    }
}

fn until_over(bell: &Bell, log: &mut impl Log, pause: Duration, stake: &Mutex<Stake>) {
    loop {
        let mut goes_on = bell.wait(pause);
        lock(stake).begin();
        let mut synced = log.sync();
        while let Err(error) = synced {
            tracing::error!(%error, "the log of the store could not be synced");
            lock(stake).trouble = Some(Arc::new(error));
            if !goes_on {
                return;
            }
            goes_on = bell.rest(pause.max(RETRY_MIN));
            synced = log.mend();
        }
        lock(stake).succeed();
        if !goes_on {
            return;
        }
    }
}
