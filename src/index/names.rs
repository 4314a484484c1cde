//! Who holds which name, for those who send by name: one look-up that allocates nothing.
//!
//! # Invariants
//! 1. A name belongs to the task that holds it: from its first record until it is settled and
//!    stopped.
//! 2. Only the writer of the index changes it, under the lock of `order`; readers take no lock but
//!    that of one shard.
//!
//! *Not here*: paths of several names (the public face).

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use dashmap::DashMap;

use crate::kernel::{Name, Record, Scope, TaskId};

/// The holders of names.
#[derive(Debug, Default)]
pub(super) struct Names(DashMap<Key, TaskId>);

/// A name in its scope.
#[derive(Debug)]
struct Key {
    scope: Scope,
    name: Name,
}

/// A key, or what looks like one: it is found by texts that belong to others.
trait AsTexts {
    fn texts(&self) -> (&str, &str);
}

impl Names {
    pub(super) fn holder(&self, scope: &Scope, name: &str) -> Option<TaskId> {
        let key: &dyn AsTexts = &(scope.as_str(), name);
        self.0.get(key).map(|holder| *holder)
    }

    /// Takes in a record.
    pub(super) fn put(&self, record: &Record) {
        let Some(name) = &record.spec.name else {
            return;
        };
        if record.is_held() {
            let (scope, name) = (record.scope().clone(), name.clone());
            self.0.insert(Key { scope, name }, record.id);
        } else {
            self.release(record);
        }
    }

    /// Frees the name of a record, unless another task holds it by now.
    pub(super) fn release(&self, record: &Record) {
        if let Some(name) = &record.spec.name {
            let key: &dyn AsTexts = &(record.scope().as_str(), name.as_str());
            self.0.remove_if(key, |_, holder| *holder == record.id);
        }
    }
}

impl AsTexts for Key {
    fn texts(&self) -> (&str, &str) {
        (self.scope.as_str(), self.name.as_str())
    }
}

impl AsTexts for (&str, &str) {
    fn texts(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn AsTexts + 'a> for Key {
    fn borrow(&self) -> &(dyn AsTexts + 'a) {
        self
    }
}

impl Hash for dyn AsTexts + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.texts().hash(state);
    }
}

impl PartialEq for dyn AsTexts + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.texts() == other.texts()
    }
}

impl Eq for dyn AsTexts + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.texts().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.texts() == other.texts()
    }
}

impl Eq for Key {}
