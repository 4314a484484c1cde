//! Sorted ids, apart by the states of their tasks, so that a list reads what it shows and no more.
//!
//! # Invariants
//! 1. An id is in the set of its task's state, and in no other one.
//! 2. What is read of several sets comes out as if it were one.
//!
//! *Not here*: which ids belong together (`order`).

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Bound;

use super::page::Direction;
use crate::kernel::{Filter, State};

const COUNT: usize = State::ALL.len();

/// Some of the states, as bits in the order of [`State::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct States(u16);

impl States {
    /// Those in which a task that the filter matches can be.
    pub(super) fn of(filter: &Filter) -> Self {
        let wanted = State::ALL.into_iter().filter(|state| filter.wants(*state));
        Self(wanted.fold(0, |bits, state| bits | 1 << state as u16))
    }

    /// Of these those of tasks that have not settled.
    pub(super) fn live(self) -> Self {
        let live = States::of(&Filter::all().live());
        Self(self.0 & live.0)
    }

    const fn has(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }
}

/// A part of a set.
pub(super) type Range<K> = (Bound<K>, Bound<K>);

/// A set of ids for each state.
#[derive(Debug)]
pub(super) struct Sets<K>([BTreeSet<K>; COUNT]);

impl<K> Default for Sets<K> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| BTreeSet::new()))
    }
}

impl<K: Copy + Ord> Sets<K> {
    pub(super) fn put(&mut self, key: K, old: Option<State>, new: State) {
        if let Some(old) = old {
            self.remove(&key, old);
        }
        self.0[new as usize].insert(key);
    }

    pub(super) fn remove(&mut self, key: &K, state: State) {
        self.0[state as usize].remove(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeSet::is_empty)
    }

    pub(super) fn len(&self, states: States) -> usize {
        self.of(states).map(BTreeSet::len).sum()
    }

    /// How many there are in the range; costs as much as there are.
    pub(super) fn count(&self, states: States, range: Range<K>) -> usize {
        self.of(states).map(|set| set.range(range).count()).sum()
    }

    /// The first ones of the range in this order, `max` at most.
    pub(super) fn part(
        &self,
        states: States,
        range: Range<K>,
        order: Direction,
        max: usize,
    ) -> Vec<K> {
        let sets = self.of(states).map(|set| set.range(range).copied());
        match order {
            Direction::OldestFirst => merge(sets, max, |one, other| one < other),
            Direction::NewestFirst => merge(sets.map(Iterator::rev), max, |one, other| one > other),
        }
    }

    fn of(&self, states: States) -> impl Iterator<Item = &BTreeSet<K>> {
        let sets = self.0.iter().enumerate();
        sets.filter(move |(place, _)| states.has(*place))
            .map(|(_, set)| set)
    }
}

/// The first `max` of several sorted rows: of their heads always the one that comes first.
fn merge<K: Copy, I: Iterator<Item = K>>(
    rows: impl Iterator<Item = I>,
    max: usize,
    is_before: impl Fn(&K, &K) -> bool,
) -> Vec<K> {
    let mut rows: Vec<Peekable<I>> = rows.map(Iterator::peekable).collect();
    rows.retain_mut(|row| row.peek().is_some());
    let mut merged = Vec::new();
    while merged.len() < max {
        let mut first: Option<(usize, K)> = None;
        for (place, row) in rows.iter_mut().enumerate() {
            let Some(head) = row.peek() else {
                continue;
            };
            if first.is_none_or(|(_, best)| is_before(head, &best)) {
                first = Some((place, *head));
            }
        }
        let Some((place, head)) = first else {
            break;
        };
        merged.push(head);
        rows[place].next();
    }
    merged
}
