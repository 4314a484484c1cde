//! Points of the store at which a process of a test dies.
//!
//! # Invariants
//! 1. Nothing happens until [`arm`] was called.
//!
//! *Not here*: who starts such a process and looks at what it left behind.

use std::process::abort;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The file is there and has no tables.
    Created,
    /// The file has a new generation, which is not noted beside it.
    Begun,
    /// Everything was read.
    Loaded,
    /// The lease is another one in the file.
    Leased,
    /// A batch comes.
    Commit,
    /// Its rows were written, and its transaction has not ended.
    Written,
    /// A batch is in the file.
    Committed,
    /// Part of the log was moved into the file. The store does so early then.
    Checkpoint,
    /// Some pages were given back. The store does so early then.
    Shrink,
}

/// Which point, by its place in [`Point::ALL`], and how many times it may still be passed.
static ARMED: AtomicUsize = AtomicUsize::new(usize::MAX);
static LEFT: AtomicU64 = AtomicU64::new(0);

impl Point {
    /// Every point.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Begun,
        Self::Loaded,
        Self::Leased,
        Self::Commit,
        Self::Written,
        Self::Committed,
        Self::Checkpoint,
        Self::Shrink,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Begun => "begun",
            Self::Loaded => "loaded",
            Self::Leased => "leased",
            Self::Commit => "commit",
            Self::Written => "written",
            Self::Committed => "committed",
            Self::Checkpoint => "checkpoint",
            Self::Shrink => "shrink",
        }
    }
}

/// Ends this process when it comes to that point for the `nth` time.
pub fn arm(point: Point, nth: u64) {
    LEFT.store(nth, Ordering::SeqCst);
    ARMED.store(point as usize, Ordering::SeqCst);
}

pub(super) fn is_armed(point: Point) -> bool {
    ARMED.load(Ordering::Relaxed) == point as usize
}

pub(super) fn pass(point: Point) {
    if is_armed(point) && LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        abort();
    }
}
