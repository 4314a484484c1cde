//! A live task as the kernel holds it: its record and the facts beside the record.
//!
//! # Invariants
//! 1. `slot` is `Lent` only while the body is parked; `queued` is there only while it waits for a
//!    slot.
//! 2. `unmet` and `awaits_parent` are nothing once it has started.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::admission::{self, ClassSet};
use super::super::id::TaskId;
use super::super::rarely::{Ordinary, Rarely};
use super::super::record::Record;
use super::super::time::Timestamp;
use super::alarm::Alarm;
use super::hook::Calling;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Task {
    pub(super) record: Arc<Record>,
    pub(super) classes: ClassSet,
    pub(super) slot: Slot,
    /// Dependencies that have not completed.
    pub(super) unmet: u32,
    /// Whether its parent has not started yet.
    pub(super) awaits_parent: bool,
    pub(super) park_turn: u64,
    pub(super) dirty: bool,
    pub(super) ties: Rarely<Ties>,
}

/// What few tasks wait for, and who waits for them.
#[derive(Clone, Debug)]
pub(super) struct Ties {
    pub(super) queued: Option<admission::Ticket>,
    /// Tasks that come after this one.
    pub(super) dependents: VecDeque<TaskId>,
    pub(super) alarms: SmallVec<[(Timestamp, Alarm); 1]>,
    /// The call of its hooks that keeps it from settling.
    pub(super) hook: Option<Box<Calling>>,
    /// Requests that are answered when this task has settled.
    pub(super) watches: SmallVec<[u64; 1]>,
}

static ORDINARY: Ties = Ties {
    queued: None,
    dependents: VecDeque::new(),
    alarms: SmallVec::new_const(),
    hook: None,
    watches: SmallVec::new_const(),
};

impl Ordinary for Ties {
    fn ordinary() -> &'static Self {
        &ORDINARY
    }
}

impl Deref for Task {
    type Target = Ties;

    fn deref(&self) -> &Ties {
        &self.ties
    }
}

impl DerefMut for Task {
    fn deref_mut(&mut self) -> &mut Ties {
        &mut self.ties
    }
}

/// Whether the task holds its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// It has none.
    None,
    /// It holds one of each of its classes.
    Held,
    /// It gave them back while its body is parked.
    Lent,
}

impl Task {
    pub(super) fn new(record: Record, classes: ClassSet) -> Self {
        Self {
            record: Arc::new(record),
            classes,
            slot: Slot::None,
            unmet: 0,
            awaits_parent: false,
            park_turn: 0,
            dirty: false,
            ties: Rarely::not(),
        }
    }
}
