//! A table whose entries stand side by side in the order they came: most of a step is about one
//! task, and most steps about the one that came after it.
//!
//! # Invariants
//! 1. `places` has the place of each entry, and `free` every other place.
//! 2. An entry keeps its place until it is removed.
//! 3. Nothing depends on the places: ids come out sorted, or not at all (K1).
//!
//! *Not here*: the hash of ids (`table`).

use std::cell::Cell;
use std::ops::Index;

use super::id::TaskId;
use super::table::Table;

/// What is known of live tasks, by their ids.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Slab<T> {
    places: Table<usize>,
    entries: Vec<Option<(TaskId, T)>>,
    free: Vec<usize>,
    /// Where the last one stood that was looked for: mostly that of the next look, too.
    last: Cell<usize>,
}

impl<T> Slab<T> {
    pub(super) fn get(&self, id: TaskId) -> Option<&T> {
        let place = self.place(id)?;
        self.at(place).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut T> {
        let place = self.place(id)?;
        let entry = self.entries.get_mut(place)?.as_mut();
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
        let place = self.free.pop().unwrap_or(self.entries.len());
        match self.entries.get_mut(place) {
            Some(vacant) => *vacant = entry,
            None => self.entries.push(entry),
        }
        self.places.insert(id, place);
        self.last.set(place);
        None
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<T> {
        let place = self.places.remove(id)?;
        let entry = self.entries.get_mut(place)?.take();
        if self.places.len() == 0 {
            // What comes next stands in its order again.
            self.entries.clear();
            self.free.clear();
        } else {
            self.free.push(place);
        }
        entry.map(|(_, value)| value)
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

    fn place(&self, id: TaskId) -> Option<usize> {
        let last = self.last.get();
        if self.at(last).is_some_and(|(it, _)| *it == id) {
            return Some(last);
        }
        let place = *self.places.get(id)?;
        self.last.set(place);
        Some(place)
    }

    fn at(&self, place: usize) -> Option<&(TaskId, T)> {
        self.entries.get(place)?.as_ref()
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Table::default(),
            entries: Vec::new(),
            free: Vec::new(),
            last: Cell::new(0),
        }
    }
}

/// # Panics
/// If nothing is known of the task.
impl<T> Index<TaskId> for Slab<T> {
    type Output = T;

    fn index(&self, id: TaskId) -> &T {
        self.get(id).expect("callers hold ids of live tasks")
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
        Remove(u8),
    }

    fn deeds() -> impl Strategy<Value = Vec<Do>> {
        let deed = prop_oneof![
            3 => (0..12_u8, any::<u32>()).prop_map(|(id, value)| Do::Put(id, value)),
            1 => (0..12_u8, any::<u32>()).prop_map(|(id, value)| Do::Change(id, value)),
            3 => (0..12_u8).prop_map(Do::Remove),
        ];
        prop::collection::vec(deed, 0..80)
    }

    fn id(short: u8) -> TaskId {
        TaskId::from_u128(u128::from(short))
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
                    Do::Remove(it) => {
                        prop_assert_eq!(slab.remove(id(it)), map.remove(&id(it)));
                    }
                }
                let all: Vec<_> = slab.iter().map(|(id, value)| (id, *value)).collect();
                prop_assert_eq!(all, map.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(slab.len(), map.len());
                for short in 0..12 {
                    prop_assert_eq!(slab.get(id(short)), map.get(&id(short)));
                    prop_assert_eq!(slab.contains(id(short)), map.contains_key(&id(short)));
                }
                prop_assert!(slab.entries.len() == slab.len() + slab.free.len(), "1: {slab:?}");
            }
        }
    }
}
