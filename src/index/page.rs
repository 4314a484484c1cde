//! What a list is asked for and what it gives.
//!
//! *Not here*: where the records come from (`mod`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kernel::{Date, InvalidText, Record, State, TaskId, Timestamp};

/// Most records of one page: enough for a screen, and some hundred kilobytes at most.
pub const PAGE_MAX: usize = 500;

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    order: Direction,
    by: Option<Date>,
    after: Option<Cursor>,
    number: usize,
}

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    NewestFirst,
    OldestFirst,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    id: TaskId,
    /// The date that the list is ordered by.
    at: Option<Timestamp>,
}

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
    /// The first `limit` tasks, newest first. The limit is brought between 1 and [`PAGE_MAX`].
    pub fn first(limit: usize) -> Self {
        Self {
            limit: limit.clamp(1, PAGE_MAX),
            order: Direction::NewestFirst,
            by: None,
            after: None,
            number: 0,
        }
    }

    /// The page of this number, from 0 on, when all have `limit` tasks. A list that changes between
    /// two pages can show a task twice or leave one out, which [`Page::after`] cannot.
    pub fn number(number: usize, limit: usize) -> Self {
        Self {
            number,
            ..Self::first(limit)
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

    /// In the order of this date, and of ids where it is the same. Tasks whose date has not come
    /// are last in both directions. It costs a scan of all that match.
    pub fn order_by(mut self, date: Date) -> Self {
        self.by = Some(date);
        self
    }

    /// Whether it can be cut out of the ids in their order, without a look at what lies before.
    pub(super) const fn is_plain(&self) -> bool {
        self.by.is_none() && self.number == 0
    }

    /// The page of these tasks, which are all that match.
    pub(super) fn cut(&self, mut records: Vec<Arc<Record>>) -> Listing {
        let total = records.len();
        records.sort_by(|one, other| self.compare(self.cursor(one), self.cursor(other)));
        let after = self.after.map_or(0, |start| {
            let is_before = |record: &Arc<Record>| self.compare(self.cursor(record), start).is_le();
            records.partition_point(is_before)
        });
        let skip = after
            .saturating_add(self.number.saturating_mul(self.limit))
            .min(total);
        let mut records = records.split_off(skip);
        let is_more = records.len() > self.limit;
        records.truncate(self.limit);
        let next = records
            .last()
            .filter(|_| is_more)
            .map(|last| self.cursor(last));
        Listing {
            records,
            total,
            next,
        }
    }

    fn cursor(&self, record: &Record) -> Cursor {
        let at = self.by.and_then(|date| record.date(date));
        Cursor { id: record.id, at }
    }

    fn compare(&self, one: Cursor, other: Cursor) -> Ordering {
        let forward = |ordering: Ordering| match self.order {
            Direction::OldestFirst => ordering,
            Direction::NewestFirst => ordering.reverse(),
        };
        let dates = match (one.at, other.at) {
            (Some(one), Some(other)) => forward(one.cmp(&other)),
            (one, other) => one.is_none().cmp(&other.is_none()),
        };
        dates.then_with(|| forward(one.id.cmp(&other.id)))
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) const fn order(&self) -> Direction {
        self.order
    }

    pub(super) fn start(&self) -> Option<TaskId> {
        self.after.map(|cursor| cursor.id)
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
            self.next = self.records.last().map(|last| page.cursor(last));
        }
    }
}

impl Cursor {
    /// Behind this task, in a list that is ordered by no date.
    pub(crate) const fn behind(id: TaskId) -> Self {
        Self { id, at: None }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}@{}", self.id, at.as_micros()),
            None => self.id.fmt(f),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (id, at) = match text.split_once('@') {
            Some((id, micros)) => (id, Some(micros)),
            None => (text, None),
        };
        let at = at.map(|micros| micros.parse().map(Timestamp::from_micros));
        match at.transpose() {
            Ok(at) => Ok(Self {
                id: id.parse()?,
                at,
            }),
            // The whole text is no id: that is what the error says.
            Err(_) => Err(text
                .parse::<TaskId>()
                .err()
                .unwrap_or_else(|| unreachable!("an id has no @ in it"))),
        }
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
