//! One limit class: its size, its slots in use, and the lanes that wait for one.
//!
//! *Not here*: who gets a slot (`admission`).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::super::bounds::{Class, WhenFull};
use super::super::id::{ClassName, Kind, Scope};
use super::ClassSet;

/// Which limit class it is: its sort and its name. As text it is what a person would say: `all
/// tasks`, `scope s`, `kind k`, `limit llm`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitName {
    /// The one over all tasks.
    Global,
    /// That of a scope.
    Scope(Scope),
    /// That of a kind.
    Kind(Kind),
    /// One that tasks ask for by its name.
    Named(ClassName),
}

impl LimitName {
    /// The plain name, without the sort; `None` for the one over all tasks.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Global => None,
            Self::Scope(scope) => Some(scope.as_str()),
            Self::Kind(kind) => Some(kind.as_str()),
            Self::Named(name) => Some(name.as_str()),
        }
    }

    /// The sort, in one word: `all`, `scope`, `kind`, `limit`.
    pub const fn sort(&self) -> &'static str {
        match self {
            Self::Global => "all",
            Self::Scope(_) => "scope",
            Self::Kind(_) => "kind",
            Self::Named(_) => "limit",
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            None => f.write_str("all tasks"),
            Some(name) => write!(f, "{} {name}", self.sort()),
        }
    }
}

/// Why a task is refused by a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFull {
    /// The class.
    pub class: LimitName,
    /// Slots in use.
    pub in_use: u32,
    /// Slots in all.
    pub size: u32,
    /// Tasks that wait for one.
    pub waiting: u32,
}

/// How a limit class stands: what there is room for before anything is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The class.
    pub class: LimitName,
    /// Slots in all.
    pub max: u32,
    /// Slots in use. Bodies that came back from waiting may raise it above `max` for a while.
    pub in_use: u32,
    /// Tasks that wait for one.
    pub queued: u32,
    /// How many more may wait; zero for a class that does not queue.
    pub queue_room: u32,
    /// What happens to a task that finds no room.
    pub when_full: WhenFull,
}

impl Capacity {
    /// How many more tasks could start at once.
    pub fn free(&self) -> u32 {
        self.max.saturating_sub(self.in_use + self.queued)
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct ClassState {
    pub(super) key: LimitName,
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
    pub(super) fn new(key: LimitName, class: Class) -> Self {
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

    /// Whether every slot is in use or waited for.
    pub(super) fn is_spoken_for(&self) -> bool {
        self.in_use + self.waiting >= self.class.size
    }

    pub(super) fn capacity(&self) -> Capacity {
        let queue_room = match self.class.when_full {
            WhenFull::Queue { waiting_max } => waiting_max.saturating_sub(self.waiting),
            WhenFull::Refuse | WhenFull::Inline => 0,
        };
        Capacity {
            class: self.key.clone(),
            max: self.class.size,
            in_use: self.in_use,
            queued: self.waiting,
            queue_room,
            when_full: self.class.when_full,
        }
    }

    pub(super) fn describe(&self) -> ClassFull {
        let class = self.key.clone();
        let (in_use, waiting, size) = (self.in_use, self.waiting, self.class.size);
        ClassFull {
            class,
            in_use,
            size,
            waiting,
        }
    }
}
