//! What a list is asked for and what it gives.
//!
//! *Not here*: where the records come from (`mod`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kernel::{InvalidText, Record, State, TaskId};

/// Most records of one page: enough for a screen, and some hundred kilobytes at most.
pub const PAGE_MAX: usize = 500;

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    order: Direction,
    after: Option<Cursor>,
}

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    NewestFirst,
    OldestFirst,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(TaskId);

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The tasks of this page.
    pub records: Vec<Arc<Record>>,
    /// How many tasks match, on all pages together.
    pub total: usize,
    /// Where the next page starts; `None` when this is the last one.
    pub next: Option<Cursor>,
}

impl Page {
    pub(super) const OLDEST_FIRST: Direction = Direction::OldestFirst;

    /// The first `limit` tasks, newest first. The limit is brought between 1 and [`PAGE_MAX`].
    pub fn first(limit: usize) -> Self {
        Self {
            limit: limit.clamp(1, PAGE_MAX),
            order: Direction::NewestFirst,
            after: None,
        }
    }

    /// The page that starts where another one, asked for with the same filter and order, ended.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// In the order in which the tasks were made.
    pub fn oldest_first(mut self) -> Self {
        self.order = Direction::OldestFirst;
        self
    }

    /// The task that was made last comes first.
    pub fn newest_first(mut self) -> Self {
        self.order = Direction::NewestFirst;
        self
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) const fn order(&self) -> Direction {
        self.order
    }

    pub(super) fn start(&self) -> Option<TaskId> {
        self.after.map(|cursor| cursor.0)
    }

    /// Whether the task lies behind the start of the page.
    fn has_reached(&self, id: TaskId) -> bool {
        self.start().is_none_or(|start| match self.order {
            Direction::NewestFirst => id < start,
            Direction::OldestFirst => id > start,
        })
    }
}

impl Default for Page {
    /// The first page, as long as a page may be.
    fn default() -> Self {
        Self::first(PAGE_MAX)
    }
}

impl Listing {
    /// Counts a task that matches, and keeps it if it belongs on the page.
    pub(super) fn add(&mut self, record: Arc<Record>, page: &Page) {
        self.total += 1;
        if !page.has_reached(record.id) {
            return;
        }
        if self.records.len() < page.limit {
            self.records.push(record);
        } else {
            self.next = self.records.last().map(|last| Cursor(last.id));
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.parse().map(Self)
    }
}

/// How many tasks are in each state.
// The place of a state is its discriminant, which is its place in `State::ALL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([usize; State::ALL.len()]);

impl Counts {
    /// How many tasks are in this state.
    pub fn of(&self, state: State) -> usize {
        self.0[state as usize]
    }

    /// Every state with its number of tasks, in the order of [`State::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (State, usize)> {
        State::ALL.into_iter().zip(self.0)
    }

    /// How many tasks have not settled.
    pub fn live(&self) -> usize {
        let live = self.iter().filter(|(state, _)| !state.is_terminal());
        live.map(|(_, count)| count).sum()
    }

    /// How many tasks there are.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    pub(super) fn enter(&mut self, state: State) {
        self.0[state as usize] += 1;
    }

    pub(super) fn leave(&mut self, state: State) {
        self.0[state as usize] -= 1;
    }
}
