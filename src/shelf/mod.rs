//! What bodies wrote, piece by piece: bounded by bytes, read by page.
//!
//! # Invariants
//! 1. A piece can be read when the event that tells of it is durable, not before.
//! 2. The pieces of a task are numbered from 1 on; those that are kept follow each other and end
//!    with the newest. A page says how many are gone before its first one.
//! 3. One task keeps at most `task_bytes_max`, or one piece; all together keep `bytes_max`. The
//!    oldest pieces of a task go first, and of all tasks those of the one that was silent longest.
//!
//! *Not here*: events, which tell of each piece (`feed`); what a process before this one wrote.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kernel::{Payload, TaskId};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShelfBounds {
    pub(crate) task_bytes_max: usize,
    pub(crate) bytes_max: usize,
}

/// Some pieces of the output of one task, in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputPage {
    /// The number of the first piece here, or of the one that would come next.
    pub first: u64,
    /// The pieces.
    pub pieces: Vec<Payload>,
    /// How many pieces were asked for that are no longer kept: they came before `first`.
    pub missed: u64,
    /// How many pieces were written in all.
    pub written: u64,
}

impl OutputPage {
    /// The number of the last piece here: to ask for what comes after it goes on without a gap.
    pub fn last(&self) -> u64 {
        self.first + self.pieces.len() as u64 - 1
    }
}

/// The output of all tasks.
#[derive(Debug)]
pub(crate) struct Shelf {
    bounds: ShelfBounds,
    inner: Mutex<Inner>,
    /// How many pieces were ever held: while there are none, the end of a task costs no lock.
    holds: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    rows: HashMap<TaskId, Row>,
    /// Rows that hold bytes, by when they last got some.
    by_age: BTreeMap<u64, TaskId>,
    bytes: usize,
    /// Counts up with each piece that comes.
    ticks: u64,
}

#[derive(Debug, Default)]
struct Row {
    pieces: VecDeque<Payload>,
    /// How many were written.
    written: u64,
    /// Pieces too large for their event, which is not durable yet.
    held: BTreeMap<u64, Payload>,
    bytes: usize,
    /// Its place in `by_age`; zero when it has none.
    age: u64,
}

impl Shelf {
    pub(crate) fn new(bounds: ShelfBounds) -> Self {
        let (inner, holds) = (Mutex::default(), AtomicU64::new(0));
        Self {
            bounds,
            inner,
            holds,
        }
    }

    /// Keeps a piece that its event has, too.
    pub(crate) fn put(&self, task: TaskId, piece: Payload) {
        let inner = &mut *self.lock();
        inner.add(task, &piece);
        let row = inner.rows.entry(task).or_default();
        row.written += 1;
        row.pieces.push_back(piece);
        inner.trim(task, self.bounds);
    }

    /// Keeps a piece that its event will only point to; gives the number to reveal it by.
    pub(crate) fn hold(&self, task: TaskId, piece: Payload) -> u64 {
        self.holds.fetch_add(1, Ordering::Relaxed);
        let inner = &mut *self.lock();
        inner.add(task, &piece);
        let ticket = inner.ticks;
        inner
            .rows
            .entry(task)
            .or_default()
            .held
            .insert(ticket, piece);
        inner.trim(task, self.bounds);
        ticket
    }

    /// The event of a held piece is durable: it can be read. One that had to go counts as gone.
    pub(crate) fn reveal(&self, task: TaskId, ticket: u64) {
        let inner = &mut *self.lock();
        let row = inner.rows.entry(task).or_default();
        row.written += 1;
        match row.held.remove(&ticket) {
            Some(piece) => row.pieces.push_back(piece),
            None => inner.clear_pieces(task),
        }
    }

    /// A held piece whose event will not come.
    pub(crate) fn drop_held(&self, task: TaskId, ticket: u64) {
        let inner = &mut *self.lock();
        let row = inner.rows.get_mut(&task);
        if let Some(piece) = row.and_then(|row| row.held.remove(&ticket)) {
            inner.take_off(task, piece.as_json().len());
        }
    }

    /// The attempts of a task are over: what is still held has no event that could come.
    pub(crate) fn settle(&self, task: TaskId) {
        if self.holds.load(Ordering::Relaxed) == 0 {
            return;
        }
        let inner = &mut *self.lock();
        let Some(row) = inner.rows.get_mut(&task) else {
            return;
        };
        let held = std::mem::take(&mut row.held);
        let bytes = held.values().map(|piece| piece.as_json().len()).sum();
        inner.take_off(task, bytes);
    }

    /// These tasks are no longer known.
    pub(crate) fn forget(&self, tasks: &[TaskId]) {
        if tasks.is_empty() {
            return;
        }
        let inner = &mut *self.lock();
        for task in tasks {
            if let Some(row) = inner.rows.remove(task) {
                inner.bytes -= row.bytes;
                inner.by_age.remove(&row.age);
            }
        }
    }

    /// The pieces of a task with numbers above `after`, at most `limit` of them.
    pub(crate) fn read(&self, task: TaskId, after: u64, limit: usize) -> OutputPage {
        let inner = self.lock();
        let Some(row) = inner.rows.get(&task) else {
            return OutputPage {
                first: 1,
                ..OutputPage::default()
            };
        };
        let gone = row.written - row.pieces.len() as u64;
        let first = after.clamp(gone, row.written) + 1;
        let skip = usize::try_from(first - 1 - gone).expect("invariant 2: it is kept");
        let pieces = row.pieces.iter().skip(skip).take(limit).cloned().collect();
        let missed = gone.saturating_sub(after);
        OutputPage {
            first,
            pieces,
            missed,
            written: row.written,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing foreign runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Makes the task the newest one and counts the bytes of a piece that it gets.
    fn add(&mut self, task: TaskId, piece: &Payload) {
        self.ticks += 1;
        let row = self.rows.entry(task).or_default();
        let bytes = piece.as_json().len();
        row.bytes += bytes;
        self.bytes += bytes;
        self.by_age.remove(&row.age);
        row.age = self.ticks;
        self.by_age.insert(row.age, task);
    }

    fn take_off(&mut self, task: TaskId, bytes: usize) {
        let Some(row) = self.rows.get_mut(&task) else {
            return;
        };
        row.bytes -= bytes;
        self.bytes -= bytes;
        if row.bytes == 0 {
            self.by_age.remove(&row.age);
            row.age = 0;
        }
    }

    /// Brings the task, and then all of them, within their bounds.
    fn trim(&mut self, task: TaskId, bounds: ShelfBounds) {
        while let Some(row) = self.rows.get_mut(&task)
            && row.bytes > bounds.task_bytes_max
            && row.pieces.len() + row.held.len() > 1
            && let Some(piece) = row.take_oldest()
        {
            self.take_off(task, piece.as_json().len());
        }
        while self.bytes > bounds.bytes_max
            && self.by_age.len() > 1
            && let Some((_, silent)) = self.by_age.pop_first()
        {
            self.clear_pieces(silent);
            self.clear_held(silent);
        }
    }

    fn clear_pieces(&mut self, task: TaskId) {
        let Some(row) = self.rows.get_mut(&task) else {
            return;
        };
        let pieces = std::mem::take(&mut row.pieces);
        let bytes = pieces.iter().map(|piece| piece.as_json().len()).sum();
        self.take_off(task, bytes);
    }

    fn clear_held(&mut self, task: TaskId) {
        let Some(row) = self.rows.get_mut(&task) else {
            return;
        };
        let held = std::mem::take(&mut row.held);
        let bytes = held.values().map(|piece| piece.as_json().len()).sum();
        self.take_off(task, bytes);
    }
}

impl Row {
    fn take_oldest(&mut self) -> Option<Payload> {
        let oldest = self.pieces.pop_front();
        oldest.or_else(|| self.held.pop_first().map(|(_, piece)| piece))
    }
}
