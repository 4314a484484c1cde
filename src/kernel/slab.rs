//! A table whose entries stand side by side: a step is about one task mostly, and the next one
//! about the task that came after it.
//!
//! # Invariants
//! 1. `places` has the place of each entry, and `free` every other place once.
//! 2. An entry keeps its place until it is removed. The first ones stand in the order they came,
//!    later ones where others were removed, until none is left.
//! 3. `last` is a guess: whoever follows it compares the id.
//! 4. Nothing depends on the places: ids come out sorted, or not at all (K1).
//!
//! *Not here*: the hash of ids (`table`).

use std::ops::{Index, IndexMut};

use super::id::TaskId;
use super::table::Table;

/// A slab that gets empty keeps at most so many places; one with more keeps none.
const KEPT: usize = 1_024;

/// What is known of live tasks, by their ids. It takes room for the most that there were since it
/// was empty: one task that lives on keeps the room of a burst.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Slab<T> {
    places: Table<usize>,
    entries: Vec<Option<(TaskId, T)>>,
    free: Vec<usize>,
    /// Where the last one stands that was put in or fetched to be changed, or stood: mostly that of
    /// the next look, too.
    last: usize,
}

impl<T> Slab<T> {
    #[inline]
    pub(super) fn get(&self, id: TaskId) -> Option<&T> {
        let place = self.place(id)?;
        let entry = self.entries[place].as_ref();
        entry.map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut T> {
        self.last = self.place(id)?;
        let entry = self.entries[self.last].as_mut();
        entry.map(|(_, value)| value)
    }

    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.place(id).is_some()
    }

    /// Puts an entry in, and gives the one of this id that was here before.
    pub(super) fn insert(&mut self, id: TaskId, value: T) -> Option<T> {
        if let Some(known) = self.get_mut(id) {
            return Some(std::mem::replace(known, value));
        }
        let entry = Some((id, value));
        self.last = self.free.pop().unwrap_or(self.entries.len());
        match self.entries.get_mut(self.last) {
            Some(vacant) => *vacant = entry,
            None => self.entries.push(entry),
        }
        self.places.insert(id, self.last);
        None
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<T> {
        let place = self.places.remove(id)?;
        let entry = self.entries[place].take();
        self.free.push(place);
        if self.places.len() == 0 {
            self.reset();
        }
        entry.map(|(_, value)| value)
    }

    /// Gives back what a burst has taken, once none is left, and begins with the first place again.
    fn reset(&mut self) {
        if self.entries.len() > KEPT {
            *self = Self::default();
        } else {
            self.entries.clear();
            self.free.clear();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Every id, sorted. This costs a walk over all of them.
    pub(super) fn ids(&self) -> Vec<TaskId> {
        self.places.ids()
    }

    /// Every entry, sorted by id, for checkers.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &T)> {
        self.ids().into_iter().map(|id| (id, &self[id]))
    }

    #[inline]
    fn place(&self, id: TaskId) -> Option<usize> {
        match self.entries.get(self.last) {
            Some(Some((last, _))) if *last == id => Some(self.last),
            Some(_) | None => self.find(id),
        }
    }

    fn find(&self, id: TaskId) -> Option<usize> {
        self.places.get(id).copied()
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Table::default(),
            entries: Vec::new(),
            free: Vec::new(),
            last: 0,
        }
    }
}

/// # Panics
/// If nothing is known of the task.
impl<T> Index<TaskId> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: TaskId) -> &T {
        self.get(id).expect("callers hold ids of live tasks")
    }
}

/// # Panics
/// If nothing is known of the task.
impl<T> IndexMut<TaskId> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: TaskId) -> &mut T {
        self.get_mut(id).expect("callers hold ids of live tasks")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Do {
        Put(u8, u32),
        Change(u8, u32),
        Look(u8),
        Remove(u8),
    }

    fn deeds() -> impl Strategy<Value = Vec<Do>> {
        let id = || 0..12_u8;
        let deed = prop_oneof![
            3 => (id(), any::<u32>()).prop_map(|(id, value)| Do::Put(id, value)),
            1 => (id(), any::<u32>()).prop_map(|(id, value)| Do::Change(id, value)),
            2 => id().prop_map(Do::Look),
            3 => id().prop_map(Do::Remove),
        ];
        prop::collection::vec(deed, 0..80)
    }

    fn id(short: u8) -> TaskId {
        TaskId::from_u128(u128::from(short))
    }

    /// Checks the first invariant.
    fn audit(slab: &Slab<u32>) {
        for it in slab.ids() {
            let entry = slab.entries[slab.places[it]];
            assert_eq!(entry.map(|(id, _)| id), Some(it), "1: {slab:?}");
        }
        let vacant = |place: &usize| slab.entries[*place].is_none();
        let vacant: Vec<_> = (0..slab.entries.len()).filter(vacant).collect();
        let mut free = slab.free.clone();
        free.sort_unstable();
        assert_eq!(free, vacant, "1: {slab:?}");
        assert_eq!(slab.entries.len(), slab.len() + free.len(), "1: {slab:?}");
    }

    proptest! {
        #[test]
        fn slab_has_what_a_map_has_whatever_is_put_in_and_taken_out(deeds in deeds()) {
            let mut slab = Slab::default();
            let mut map = BTreeMap::new();
            for deed in deeds {
                match deed {
                    Do::Put(it, value) => {
                        prop_assert_eq!(slab.insert(id(it), value), map.insert(id(it), value));
                    }
                    Do::Change(it, value) => {
                        let known = slab.get_mut(id(it)).map(|known| *known = value);
                        let before = map.get_mut(&id(it)).map(|known| *known = value);
                        prop_assert_eq!(known, before);
                    }
                    Do::Look(it) => {
                        prop_assert_eq!(slab.get(id(it)), map.get(&id(it)));
                        prop_assert_eq!(slab.contains(id(it)), map.contains_key(&id(it)));
                    }
                    Do::Remove(it) => {
                        prop_assert_eq!(slab.remove(id(it)), map.remove(&id(it)));
                    }
                }
                prop_assert_eq!(slab.len(), map.len());
                audit(&slab);
            }
            let all: Vec<_> = slab.iter().map(|(id, value)| (id, *value)).collect();
            prop_assert_eq!(all, map.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn entries_stand_in_their_order_again_once_none_was_left() {
        let mut slab = Slab::default();
        let places = |slab: &Slab<u32>| [0, 1, 2].map(|it| slab.places.get(id(it)).copied());
        for _ in 0..2 {
            for it in 0..3 {
                slab.insert(id(it), 0);
            }
            assert_eq!(places(&slab), [Some(0), Some(1), Some(2)]);
            for it in [1, 2, 0] {
                slab.remove(id(it));
            }
        }
    }

    #[test]
    fn burst_leaves_no_room_behind_once_all_of_it_is_gone() {
        let many = || (0..=KEPT).map(|at| TaskId::from_u128(at as u128));
        let mut slab = Slab::default();
        for id in many() {
            slab.insert(id, 0);
        }
        for id in many() {
            slab.remove(id);
        }
        assert_eq!((slab.entries.capacity(), slab.free.capacity()), (0, 0));
        assert_eq!(slab.insert(id(1), 1), None);
        assert_eq!(slab[id(1)], 1);
    }
}
