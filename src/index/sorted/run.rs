//! Some sorted keys that follow each other, with the states of their tasks, counted.
//!
//! # Invariants
//! 1. Keys ascend, and none comes before `from`.
//! 2. The counts are those of the entries.
//!
//! *Not here*: how long a run may be, and where it ends (`sorted`).

use std::mem::replace;
use std::ops::Bound;

use super::{COUNT, Range, States};
use crate::kernel::State;

/// Some keys that follow each other.
#[derive(Debug)]
pub(super) struct Run<K> {
    /// No key here comes before it, and all those of the run before do.
    pub(super) from: K,
    counts: [u8; COUNT],
    entries: Vec<(K, State)>,
}

impl<K: Copy + Ord> Run<K> {
    pub(super) const fn starting(from: K) -> Self {
        Self {
            from,
            counts: [0; COUNT],
            entries: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by(|(it, _)| it.cmp(key))
    }

    pub(super) fn is_before(&self, key: &K) -> bool {
        self.entries.last().is_none_or(|(last, _)| last < key)
    }

    /// Gives the state in which it was, if it is here.
    pub(super) fn change(&mut self, key: &K, state: State) -> Option<State> {
        let at = self.find(key).ok()?;
        let before = replace(&mut self.entries[at].1, state);
        self.counts[before as usize] -= 1;
        self.counts[state as usize] += 1;
        Some(before)
    }

    /// Takes in a key that is not here.
    pub(super) fn insert(&mut self, key: K, state: State) {
        let (Ok(at) | Err(at)) = self.find(&key);
        self.from = self.from.min(key);
        self.entries.insert(at, (key, state));
        self.counts[state as usize] += 1;
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<State> {
        let at = self.find(key).ok()?;
        let (_, state) = self.entries.remove(at);
        self.counts[state as usize] -= 1;
        if self.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.len() * 2);
        }
        Some(state)
    }

    /// Gives its upper half away.
    pub(super) fn split(&mut self) -> Self {
        let entries = self.entries.split_off(self.entries.len() / 2);
        let mut upper = Self::starting(entries[0].0);
        for (_, state) in &entries {
            self.counts[*state as usize] -= 1;
            upper.counts[*state as usize] += 1;
        }
        upper.entries = entries;
        upper
    }

    pub(super) fn extend(&mut self, next: Self) {
        for (count, more) in self.counts.iter_mut().zip(next.counts) {
            *count += more;
        }
        self.entries.extend(next.entries);
    }

    pub(super) fn count(&self, states: States) -> usize {
        let counts = self.counts.iter().enumerate();
        let wanted = counts.filter(|(place, _)| states.has(*place));
        wanted.map(|(_, count)| usize::from(*count)).sum()
    }

    pub(super) fn has_any(&self, states: States) -> bool {
        let mut counts = self.counts.iter().enumerate();
        counts.any(|(place, count)| *count > 0 && states.has(place))
    }

    pub(super) fn within(
        &self,
        states: States,
        range: Range<K>,
    ) -> impl DoubleEndedIterator<Item = K> {
        let before = |key: K| self.entries.partition_point(|(it, _)| *it < key);
        let through = |key: K| self.entries.partition_point(|(it, _)| *it <= key);
        let first = match range.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) => before(key),
            Bound::Excluded(key) => through(key),
        };
        let end = match range.1 {
            Bound::Unbounded => self.entries.len(),
            Bound::Included(key) => through(key),
            Bound::Excluded(key) => before(key),
        };
        let entries = self.entries.get(first..end).unwrap_or_default().iter();
        let wanted = entries.filter(move |(_, state)| states.has(*state as usize));
        wanted.map(|(key, _)| *key)
    }

    /// Checks the invariants, and gives the counts.
    #[cfg(test)]
    pub(super) fn audit(&self) -> Result<[u8; COUNT], &'static str> {
        let mut counts = [0; COUNT];
        for (_, state) in &self.entries {
            counts[*state as usize] += 1;
        }
        if counts != self.counts {
            return Err("2: a run counts its keys by their states");
        }
        let is_sorted = self.entries.is_sorted_by(|(one, _), (next, _)| one < next);
        let is_from = self
            .entries
            .first()
            .is_none_or(|(key, _)| self.from <= *key);
        if !is_sorted || !is_from {
            return Err("1: keys of a run ascend, and none comes before its beginning");
        }
        Ok(counts)
    }
}
