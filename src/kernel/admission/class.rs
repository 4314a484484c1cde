//! One limit class: its size, its slots in use, and the lanes that wait for one.
//!
//! *Not here*: who gets a slot (`admission`).

use std::collections::{BTreeMap, VecDeque};

use super::super::bounds::Class;
use super::super::id::{ClassName, Kind, Scope};
use super::ClassSet;

/// Why a task is refused by a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFull {
    /// The class, as a person would name it.
    pub class: String,
    /// Slots in use.
    pub in_use: u32,
    /// Slots in all.
    pub size: u32,
    /// Tasks that wait for one.
    pub waiting: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClassKey {
    Global,
    Scope(Scope),
    Kind(Kind),
    Named(ClassName),
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct ClassState {
    pub(super) key: ClassKey,
    pub(super) class: Class,
    /// Live tasks that belong to it.
    pub(super) members: usize,
    pub(super) in_use: u32,
    /// Tasks in lanes that need it, wherever these are parked.
    pub(super) waiting: u32,
    /// The scopes that wait here, in the order of their turns.
    pub(super) turns: VecDeque<Scope>,
    /// The lanes of each scope that wait here.
    pub(super) parked: BTreeMap<Scope, Vec<ClassSet>>,
}

impl ClassState {
    pub(super) fn new(key: ClassKey, class: Class) -> Self {
        Self {
            key,
            class,
            members: 0,
            in_use: 0,
            waiting: 0,
            turns: VecDeque::new(),
            parked: BTreeMap::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_use < self.class.size
    }

    pub(super) fn describe(&self) -> ClassFull {
        let class = match &self.key {
            ClassKey::Global => "all tasks".to_owned(),
            ClassKey::Scope(scope) => format!("scope {scope}"),
            ClassKey::Kind(kind) => format!("kind {kind}"),
            ClassKey::Named(name) => format!("limit {name}"),
        };
        let (in_use, waiting, size) = (self.in_use, self.waiting, self.class.size);
        ClassFull {
            class,
            in_use,
            size,
            waiting,
        }
    }
}
