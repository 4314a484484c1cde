//! Sorted ids, each with the state of its task, so that a list reads what it shows and little more.
//!
//! # Invariants
//! 1. Keys ascend, over all runs; no run is empty, or longer than it may be.
//! 2. A run counts its keys by their states: one without a state that is wanted is passed over.
//! 3. Two runs side by side have more than half of one together: what was removed leaves no room
//!    behind for long.
//! 4. A state that changes is written where its key stands, as most changes are of that kind.
//!
//! *Not here*: one run (`run`), which ids belong together (`order`).

mod run;

use std::collections::VecDeque;
use std::ops::Bound;

use super::page::{Counts, Direction};
use crate::kernel::{Filter, State};
use run::Run;

const COUNT: usize = State::ALL.len();

/// Keys in a run: to find one takes some seven looks, and to make room for one moves 5 KB at most.
/// Few in tests, so that their tasks are in several.
pub(super) const RUN: usize = if cfg!(test) { 8 } else { 128 };

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

/// A part of all keys.
pub(super) type Range<K> = (Bound<K>, Bound<K>);

/// Keys in their order, with the states of their tasks.
#[derive(Debug)]
pub(super) struct Sorted<K, const MAX: usize = RUN> {
    /// Old keys go first mostly, and new ones come last: neither moves the others.
    runs: VecDeque<Run<K>>,
    counts: Counts,
    /// Where the last key was put: the next one is mostly there, too.
    newest: usize,
}

impl<K, const MAX: usize> Default for Sorted<K, MAX> {
    fn default() -> Self {
        const { assert!(MAX >= 2 && MAX <= u8::MAX as usize, "a run counts in bytes") };
        Self {
            runs: VecDeque::new(),
            counts: Counts::default(),
            newest: 0,
        }
    }
}

impl<K: Copy + Ord, const MAX: usize> Sorted<K, MAX> {
    /// The task of this key is in this state now, whether it was known before or not.
    pub(super) fn put(&mut self, key: K, state: State) {
        self.counts.enter(state);
        let is_there = self.is_in(self.newest, &key);
        let mut at = if is_there {
            self.newest
        } else {
            self.run_of(&key)
        };
        let known = self.runs.get_mut(at);
        if let Some(before) = known.and_then(|run| run.change(&key, state)) {
            self.counts.leave(before);
        } else {
            at = self.room_for(&key, at);
            self.runs[at].insert(key, state);
        }
        self.newest = at;
    }

    pub(super) fn remove(&mut self, key: &K) {
        let at = self.run_of(key);
        let Some(state) = self.runs.get_mut(at).and_then(|run| run.remove(key)) else {
            return;
        };
        self.counts.leave(state);
        if self.runs[at].len() == 0 {
            self.runs.remove(at);
            return;
        }
        self.join(at);
        if let Some(before) = at.checked_sub(1) {
            self.join(before);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn len(&self, states: States) -> usize {
        let counts = self.counts.iter();
        let wanted = counts.filter(|(state, _)| states.has(*state as usize));
        wanted.map(|(_, count)| count).sum()
    }

    /// How many there are in each state.
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many there are in the range; costs a look at each run of it.
    pub(super) fn count(&self, states: States, range: Range<K>) -> usize {
        let (first, end) = self.span(range);
        let count = |at: usize| {
            let run = &self.runs[at];
            if at == first || at + 1 == end {
                run.within(states, range).count()
            } else {
                run.count(states)
            }
        };
        (first..end).map(count).sum()
    }

    /// The first ones of the range in this order, `max` at most.
    pub(super) fn part(
        &self,
        states: States,
        range: Range<K>,
        order: Direction,
        max: usize,
    ) -> Vec<K> {
        let within = self.within(states, range);
        match order {
            Direction::OldestFirst => within.take(max).collect(),
            Direction::NewestFirst => within.rev().take(max).collect(),
        }
    }

    fn within(&self, states: States, range: Range<K>) -> impl DoubleEndedIterator<Item = K> {
        let (first, end) = self.span(range);
        let runs = self.runs.range(first..end);
        runs.filter(move |run| run.has_any(states))
            .flat_map(move |run| run.within(states, range))
    }

    /// The runs, from the first one to before the last one, that have what is in the range.
    fn span(&self, range: Range<K>) -> (usize, usize) {
        let end = match range.1 {
            Bound::Unbounded => self.runs.len(),
            Bound::Included(key) | Bound::Excluded(key) => self.run_of(&key) + 1,
        };
        let end = end.min(self.runs.len());
        let first = match range.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => self.run_of(&key),
        };
        (first.min(end), end)
    }

    /// Makes room for a new key, which would stand in this run, and tells where.
    fn room_for(&mut self, key: &K, at: usize) -> usize {
        let is_last = at + 1 >= self.runs.len();
        match self.runs.get_mut(at) {
            Some(run) if run.len() < MAX => at,
            // Most keys come in their order, and leave full runs behind.
            Some(run) if !is_last || !run.is_before(key) => {
                let upper = run.split();
                let is_above = upper.from <= *key;
                self.runs.insert(at + 1, upper);
                at + usize::from(is_above)
            }
            Some(_) | None => {
                self.runs.push_back(Run::starting(*key));
                self.runs.len() - 1
            }
        }
    }

    /// Whether the key stands, or would stand, in this run.
    fn is_in(&self, at: usize, key: &K) -> bool {
        let run = self.runs.get(at);
        let next = self.runs.get(at + 1);
        run.is_some_and(|run| run.from <= *key) && next.is_none_or(|next| *key < next.from)
    }

    /// Where the run is in which the key stands, or would stand.
    fn run_of(&self, key: &K) -> usize {
        let after = self.runs.partition_point(|run| run.from <= *key);
        after.saturating_sub(1)
    }

    /// Makes one run of this one and the next, if they have at most half of one together.
    fn join(&mut self, at: usize) {
        let len = |at: usize| self.runs.get(at).map(Run::len);
        let both = len(at).zip(len(at + 1));
        if both.is_some_and(|(one, next)| one + next <= MAX / 2)
            && let Some(next) = self.runs.remove(at + 1)
        {
            self.runs[at].extend(next);
        }
    }
}

#[cfg(test)]
impl<K: Copy + Ord, const MAX: usize> Sorted<K, MAX> {
    /// In how many runs the keys are.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Checks the invariants.
    pub(super) fn audit(&self) -> Result<(), &'static str> {
        let mut counts = [0; COUNT];
        for run in &self.runs {
            if !(1..=MAX).contains(&run.len()) {
                return Err("1: no run is empty or too long");
            }
            for (count, own) in counts.iter_mut().zip(run.audit()?) {
                *count += usize::from(own);
            }
        }
        if !self.counts.iter().map(|(_, count)| count).eq(counts) {
            return Err("the counts are those of all runs");
        }
        let mut pairs = self.runs.iter().zip(self.runs.iter().skip(1));
        pairs.try_for_each(|(one, next)| {
            if !one.is_before(&next.from) {
                return Err("1: keys ascend over all runs");
            }
            if one.len() + next.len() <= MAX / 2 {
                return Err("3: two runs side by side have more than half of one together");
            }
            Ok(())
        })
    }
}
