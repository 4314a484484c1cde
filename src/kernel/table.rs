//! A map from task ids for the lookups of every step, many times as fast as an ordered one.
//!
//! # Invariants
//! 1. Nothing depends on the order inside: ids come out sorted, or not at all (K1).
//! 2. The same inserts and removals make the same table: its hash has no seed.
//!
//! *Not here*: ranges and queues, which stay ordered maps.

#![allow(
    clippy::disallowed_types,
    reason = "the order of this map is never seen, and its hash throws no dice"
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Index;

use super::id::TaskId;

/// The hash of ids, also for maps outside of the kernel.
///
/// Ids that somebody chose in order to collide make such a map slow, not wrong.
pub(crate) type IdHash = BuildHasherDefault<Fold>;

/// What is known of tasks, by their ids.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Table<T>(HashMap<TaskId, T, IdHash>);

impl<T> Table<T> {
    pub(super) fn get(&self, id: TaskId) -> Option<&T> {
        self.0.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut T> {
        self.0.get_mut(&id)
    }

    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn insert(&mut self, id: TaskId, value: T) -> Option<T> {
        self.0.insert(id, value)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<T> {
        self.0.remove(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Every id, sorted. This costs a walk over all of them.
    pub(super) fn ids(&self) -> Vec<TaskId> {
        let mut ids: Vec<_> = self.0.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Every entry, sorted by id, for checkers.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &T)> {
        self.ids().into_iter().map(|id| (id, &self.0[&id]))
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

/// # Panics
/// If nothing is known of the task.
impl<T> Index<TaskId> for Table<T> {
    type Output = T;

    fn index(&self, id: TaskId) -> &T {
        &self.0[&id]
    }
}

/// Folds the 128 bits of an id into 64: the upper ones are a time and hardly differ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fold(u64);

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, bits: u64) {
        let wide = u128::from(self.0 ^ bits) * u128::from(ODD);
        self.write_folded(wide);
    }

    /// One half after the other: a product of both would be nothing for all ids of one prefix.
    fn write_u128(&mut self, bits: u128) {
        let (upper, lower) = halves(bits);
        self.write_folded(u128::from(lower) * u128::from(ODD));
        self.write_folded(u128::from(self.0 ^ upper) * u128::from(ODD));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Fold {
    fn write_folded(&mut self, wide: u128) {
        let (upper, lower) = halves(wide);
        self.0 = self.0.rotate_left(5) ^ upper ^ lower;
    }
}

#[allow(clippy::cast_possible_truncation, reason = "each half is 64 bits")]
const fn halves(wide: u128) -> (u64, u64) {
    ((wide >> 64) as u64, wide as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_out_sorted_whatever_went_in_first() {
        let mut table = Table::default();
        for bits in [7_u128, 1 << 100, 3, 2, u128::MAX] {
            table.insert(TaskId::from_u128(bits), bits);
        }
        table.remove(TaskId::from_u128(3));
        let ids: Vec<_> = table.ids().into_iter().map(TaskId::as_u128).collect();
        assert_eq!(ids, [2, 7, 1 << 100, u128::MAX]);
    }

    #[test]
    fn ids_that_differ_in_few_bits_spread_over_all_buckets() {
        let hash = |bits: u128| {
            let mut fold = Fold::default();
            fold.write_u128(bits);
            fold.finish()
        };
        let version_7 = 0x0190_0000_0000_7000_8000_0000_0000_0000_u128;
        let one_after_another = |at: u128| hash(version_7 + at);
        let one_a_millisecond = |at: u128| hash(version_7 + (at << 80));
        let below_odd = |at: u128| hash(u128::from(ODD) << 64 | at);
        let below_not_odd = |at: u128| hash(u128::from(!ODD) << 64 | at);
        let above_odd = |at: u128| hash(at << 64 | u128::from(ODD));
        let patterns: [&dyn Fn(u128) -> u64; 6] = [
            &hash,
            &one_after_another,
            &one_a_millisecond,
            &below_odd,
            &below_not_odd,
            &above_odd,
        ];
        for pattern in patterns {
            let mut buckets = [0_u32; 256];
            for at in 0..25_600 {
                buckets[usize::try_from(pattern(at) & 255).expect("it is below 256")] += 1;
            }
            assert!(
                buckets.iter().all(|count| (40..200).contains(count)),
                "{buckets:?}"
            );
        }
    }
}
