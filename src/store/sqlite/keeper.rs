//! A thread that does for the file what no commit should wait for: it syncs, moves the log into
//! the file, and gives unused pages back.
//!
//! # Invariants
//! 1. With a loss window, a commit is on the disk before that has passed.
//! 2. It sleeps while nothing was committed, and ends with the store.
//! 3. What fails here fails no commit: it is logged and done again after the next one.
//!
//! *Not here*: the transactions (`pen`).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::database::{Access, Database};
use super::pen::Pen;
use super::{Durability, lock, place};

/// How long it waits after the first commit, for more of them.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// From this length on the log is moved into the file: a sixteenth of where a commit would do it.
const LOG_BYTES: u64 = 4 << 20;
/// Pages that are given back while the store is held, and how many may stay unused.
const SHRINK_PAGES: u32 = 128;
const UNUSED_PAGES_MAX: i64 = 256;

/// The thread and what it is told.
pub(super) struct Keeper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Desk {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Default)]
struct Orders {
    is_stirred: bool,
    /// Whether rows were removed, so that pages may be unused.
    has_removed: bool,
    is_over: bool,
    /// How often the log was synced here.
    #[cfg(test)]
    syncs: u64,
}

struct Work {
    path: PathBuf,
    pen: Weak<Mutex<Pen>>,
    pause: Duration,
    syncs: bool,
}

impl Keeper {
    pub(super) fn start(
        path: &Path,
        pen: &Arc<Mutex<Pen>>,
        durability: Durability,
    ) -> io::Result<Self> {
        let (pause, syncs) = match durability {
            Durability::Synced => (PAUSE_MAX, false),
            // The other half of the window is for the sync itself.
            Durability::Relaxed { loss_window } => (loss_window / 2, true),
        };
        let desk = Arc::new(Desk::default());
        let (path, pen) = (path.to_owned(), Arc::downgrade(pen));
        let work = Work {
            path,
            pen,
            pause,
            syncs,
        };
        let its = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("understory-store".to_owned());
        let thread = Some(thread.spawn(move || work.until_over(&its))?);
        Ok(Self { desk, thread })
    }

    /// Something was committed.
    pub(super) fn stir(&self, has_removed: bool) {
        let mut orders = lock(&self.desk.orders);
        let was_stirred = std::mem::replace(&mut orders.is_stirred, true);
        orders.has_removed |= has_removed;
        drop(orders);
        if !was_stirred {
            self.desk.changed.notify_one();
        }
    }
}

#[cfg(test)]
impl Keeper {
    /// How often the log was synced here.
    pub(super) fn syncs(&self) -> u64 {
        lock(&self.desk.orders).syncs
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        lock(&self.desk.orders).is_over = true;
        self.desk.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keeper of the store panicked");
        }
    }
}

impl Work {
    fn until_over(&self, desk: &Desk) {
        while let Some(has_removed) = self.wait(desk) {
            if self.syncs {
                let synced = self.sync();
                #[cfg(test)]
                {
                    lock(&desk.orders).syncs += u64::from(synced.is_ok());
                }
                if let Err(error) = synced {
                    tracing::error!(%error, "the log of the store could not be synced");
                }
            }
            self.checkpoint();
            while has_removed && self.shrink() && !lock(&desk.orders).is_over {}
        }
    }

    /// Waits for a commit, and then for the pause; tells whether rows were removed.
    fn wait(&self, desk: &Desk) -> Option<bool> {
        let waits = |orders: &mut Orders| !orders.is_stirred && !orders.is_over;
        let orders = desk.changed.wait_while(lock(&desk.orders), waits);
        let orders = orders.unwrap_or_else(std::sync::PoisonError::into_inner);
        let goes_on = |orders: &mut Orders| !orders.is_over;
        let paused = desk.changed.wait_timeout_while(orders, self.pause, goes_on);
        let (mut orders, _) = paused.unwrap_or_else(std::sync::PoisonError::into_inner);
        if orders.is_over {
            return None;
        }
        orders.is_stirred = false;
        Some(std::mem::take(&mut orders.has_removed))
    }

    /// SQLite holds no locks on its log, so it may be opened and closed here.
    fn sync(&self) -> io::Result<()> {
        match File::open(place::beside(&self.path, "-wal")) {
            Ok(log) => log.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves a long log into the file, over a connection of its own, so that commits go on.
    fn checkpoint(&self) {
        let log = std::fs::metadata(place::beside(&self.path, "-wal"));
        if log.is_ok_and(|log| log.len() < LOG_BYTES) {
            return;
        }
        let done = Database::open(&self.path, Access::Write).and_then(|file| file.checkpoint());
        if let Err(error) = done {
            tracing::debug!(%error, "the log of the store was not moved into it");
        }
    }

    /// Gives some pages back; tells whether there are more.
    fn shrink(&self) -> bool {
        let Some(pen) = self.pen.upgrade() else {
            return false;
        };
        let pen = lock(&pen);
        let shrunk = pen.database.pages().and_then(|(all, unused)| {
            let is_worth_it = unused > UNUSED_PAGES_MAX.max(all / 8);
            if is_worth_it {
                pen.database.shrink(SHRINK_PAGES)?;
            }
            Ok(is_worth_it)
        });
        shrunk.unwrap_or_else(|error| {
            tracing::debug!(%error, "the file of the store was not made smaller");
            false
        })
    }
}
