//! P16: how many slots of each class are in use, counted from starts, reports and parks.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::{Bounds, Class, Record, WhenFull};

/// The classes, in the order of their bits.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    /// Name as the kernel describes it, size, slots in use.
    classes: Vec<(String, u32, i64)>,
    index: BTreeMap<String, usize>,
    /// Those that an inline task takes no slot of.
    inline: BTreeSet<usize>,
}

impl Slots {
    pub(super) fn new(bounds: &Bounds, scopes: &[&str]) -> Self {
        let mut slots = Self {
            classes: Vec::new(),
            index: BTreeMap::new(),
            inline: BTreeSet::new(),
        };
        slots.add("all tasks".to_owned(), bounds.global);
        for text in scopes {
            let own = bounds.scopes.get(*text).copied();
            slots.add(format!("scope {text}"), own.or(bounds.per_scope));
        }
        for (kind, class) in &bounds.kinds {
            slots.add(format!("kind {kind}"), Some(*class));
        }
        for (name, class) in &bounds.named {
            slots.add(format!("limit {name}"), Some(*class));
        }
        slots
    }

    fn add(&mut self, name: String, class: Option<Class>) {
        if let Some(class) = class {
            self.index.insert(name.clone(), self.classes.len());
            if class.when_full == WhenFull::Inline {
                self.inline.insert(self.classes.len());
            }
            self.classes.push((name, class.size, 0));
        }
    }

    /// The classes of a task, as bits.
    pub(super) fn of(&self, record: &Record) -> u32 {
        let spec = &record.spec;
        let mut names = vec!["all tasks".to_owned(), format!("scope {}", spec.scope)];
        names.extend(spec.kind.iter().map(|kind| format!("kind {kind}")));
        names.extend(spec.limits.iter().map(|name| format!("limit {name}")));
        let bits = names.iter().filter_map(|name| self.index.get(name));
        let is_due = |at: &&usize| !(record.inline && self.inline.contains(at));
        let bits = bits.filter(is_due);
        bits.fold(0, |bits, at| bits | 1 << at)
    }

    pub(super) fn change(&mut self, classes: u32, by: i64) {
        for (at, class) in self.classes.iter_mut().enumerate() {
            if classes & 1 << at != 0 {
                class.2 += by;
            }
        }
    }

    pub(super) fn clear(&mut self) {
        for class in &mut self.classes {
            class.2 = 0;
        }
    }

    /// The first of these classes that is above its size.
    pub(super) fn overfull(&self, classes: u32) -> Option<&str> {
        let over = |(at, (_, size, used)): &(usize, &(String, u32, i64))| {
            classes & 1 << at != 0 && *used > i64::from(*size)
        };
        let found = self.classes.iter().enumerate().find(over);
        found.map(|(_, (name, ..))| name.as_str())
    }

    /// Whether the kernel counts the same.
    pub(super) fn compare(&self, kernel: &[(String, u32, u32, u32)]) -> Result<(), String> {
        for (name, used, ..) in kernel {
            let counted = self.index.get(name).map(|at| self.classes[*at].2);
            if counted != Some(i64::from(*used)) {
                return Err(format!(
                    "P16: the kernel counts {used} slots of {name}, there are {counted:?}"
                ));
            }
        }
        Ok(())
    }
}
