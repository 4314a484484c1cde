//! Who may have processes for the run of a file: a lock that every process of the run holds.
//!
//! # Invariants
//! 1. The lock is held until understory and everything that it started for the run are dead, as
//!    they inherit it. So a second attempt never begins beside what is left of the first one,
//!    also when understory and its shims were killed.
//!
//! *Not here*: who writes the file (the library).

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{RecordsError, beside};

/// How long processes of a run that was killed may take to end: their shims kill them.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether they have.
const LOOK_PERIOD: Duration = Duration::from_millis(10);
/// Processes that are named when they do not end.
const NAMED_MAX: usize = 8;

/// Held by this process and by all that it starts.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

impl Claim {
    /// Waits until no process of an earlier run is left.
    ///
    /// # Errors
    /// Which processes are, and what to do.
    pub(crate) fn take(file: &Path) -> Result<Self, RecordsError> {
        let path = beside(file, ".processes");
        let failed = |source: io::Error| RecordsError::System {
            path: path.clone(),
            source,
        };
        // Without `CLOEXEC`, so that what is started inherits it.
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW;
        let lock = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let lock = File::from(lock.map_err(|error| failed(error.into()))?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { _lock: lock }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOOK_PERIOD),
                Err(TryLockError::WouldBlock) => {
                    return Err(RecordsError::Store(format!(
                        "processes of the run before still go on{}; end them, then try again",
                        named(&holders(&path))
                    )));
                }
            }
        }
    }
}

fn named(holders: &[String]) -> String {
    if holders.is_empty() {
        return String::new();
    }
    let more = if holders.len() > NAMED_MAX {
        " and more"
    } else {
        ""
    };
    let first = &holders[..holders.len().min(NAMED_MAX)];
    format!(": {}{more}", first.join(", "))
}

/// The processes that hold a lock, but for this one; only Linux tells.
fn holders(lock: &Path) -> Vec<String> {
    let lock = fs::canonicalize(lock).unwrap_or_else(|_| lock.to_owned());
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let processes = entries.filter_map(Result::ok).filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        (number != own).then(|| (number, entry.path()))
    });
    let holding = processes.filter(|(_, process)| holds(process, &lock));
    let mut holders: Vec<_> = holding.collect();
    holders.sort_unstable();
    let name = |(number, process): (u32, PathBuf)| {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        format!("{number} ({})", name.trim_end())
    };
    holders.into_iter().map(name).collect()
}

fn holds(process: &Path, lock: &Path) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten();
    let mut targets = files
        .filter_map(Result::ok)
        .filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| target == *lock)
}
