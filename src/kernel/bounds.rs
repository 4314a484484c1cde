//! The numbers that a host may set: bounds of the forest and sizes of limit classes.
//!
//! *Not here*: bounds of queues outside the kernel (`actors`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::id::{ClassName, Kind, Scope};
use super::spec::{Origin, Spec, Visibility};
use super::state::State;

/// Bounds and limit classes of one manager.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Most tasks that are not settled and stopped.
    pub live_max: usize,
    /// Most tasks above another one.
    pub depth_max: u32,
    /// Most live children of one task.
    pub children_max: usize,
    /// Most settled records that are kept; the oldest go first, and their keys with them.
    pub settled_max: usize,
    /// How long settled records of a state are kept; without an entry, as long as there is room.
    pub retain: BTreeMap<State, Duration>,
    /// Scopes that are closed from the start.
    pub closed_scopes: BTreeSet<Scope>,
    /// How many cancelled runs are remembered, to refuse their late tasks; the oldest go first.
    pub cancelled_runs_max: usize,
    /// Grace of a stop when neither the task nor the request names one.
    pub grace: Duration,
    /// Time that a body has between being dropped by force and being abandoned.
    pub abort_window: Duration,
    /// How long a key stays bound to its task after acceptance.
    pub key_window: Duration,
    /// Which tasks of executors may start in this process.
    pub hosts: Hosts,
    /// Which tasks have hooks that run before they settle.
    pub hooked: Hooked,
    /// Limit over all tasks.
    pub global: Option<Class>,
    /// Limit of each scope.
    pub per_scope: Option<Class>,
    /// Limits of particular scopes, instead of `per_scope`.
    pub scopes: BTreeMap<Scope, Class>,
    /// Limits of kinds.
    pub kinds: BTreeMap<Kind, Class>,
    /// Named classes, which a task asks for.
    pub named: BTreeMap<ClassName, Class>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            live_max: 100_000,
            depth_max: 64,
            children_max: 10_000,
            settled_max: 1_000_000,
            retain: BTreeMap::new(),
            closed_scopes: BTreeSet::new(),
            cancelled_runs_max: 1_024,
            grace: Duration::from_secs(5),
            abort_window: Duration::from_millis(500),
            key_window: Duration::from_hours(24),
            hosts: Hosts::default(),
            hooked: Hooked::default(),
            global: None,
            per_scope: None,
            scopes: BTreeMap::new(),
            kinds: BTreeMap::new(),
            named: BTreeMap::new(),
        }
    }
}

/// Which tasks of executors may start in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// All: who asks for a task makes sure that there is an executor.
    #[default]
    All,
    /// Those whose executor is registered here, for their scope or for all; others wait.
    Registered(BTreeSet<(Option<Scope>, Kind)>),
    /// None: this process takes tasks and runs nothing.
    Nothing,
}

impl Hosts {
    /// Whether the task may start here.
    pub fn runs(&self, spec: &Spec) -> bool {
        let kinds = match (self, spec.origin) {
            (Self::All, _) => return true,
            (_, origin) if origin != Origin::Executor => return true,
            (Self::Nothing, _) => return false,
            (Self::Registered(kinds), _) => kinds,
        };
        spec.kind.as_ref().is_none_or(|kind| {
            kinds.contains(&(Some(spec.scope.clone()), kind.clone()))
                || kinds.contains(&(None, kind.clone()))
        })
    }
}

/// Which tasks the host has hooks for that run before a task settles. A task may have one of its
/// own, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooked {
    /// All that are not hidden.
    pub all: bool,
    /// Those of these scopes that are not hidden.
    pub scopes: BTreeSet<Scope>,
    /// Those of these kinds that are not hidden.
    pub kinds: BTreeSet<Kind>,
}

impl Hooked {
    /// Whether a hook runs before such a task settles.
    pub fn covers(&self, spec: &Spec) -> bool {
        let by_host = || {
            self.all
                || self.scopes.contains(&spec.scope)
                || spec.kind.as_ref().is_some_and(|it| self.kinds.contains(it))
        };
        spec.before_settle || (spec.visibility == Visibility::Shown && by_host())
    }
}

/// How many tasks of a limit class may run at once, and what happens to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// How many slots it has.
    pub size: u32,
    /// What happens when all are in use.
    pub when_full: WhenFull,
}

impl Class {
    /// `size` at once; others wait in a queue without a bound of its own.
    pub const fn queue(size: u32) -> Self {
        Self {
            size,
            when_full: WhenFull::Queue {
                waiting_max: u32::MAX,
            },
        }
    }

    /// `size` at once; others are refused.
    pub const fn refuse(size: u32) -> Self {
        Self {
            size,
            when_full: WhenFull::Refuse,
        }
    }

    /// `size` at once; others run all the same, without a slot, and who asked waits for their end,
    /// unless it is external.
    pub const fn inline(size: u32) -> Self {
        Self {
            size,
            when_full: WhenFull::Inline,
        }
    }
}

/// What happens to a task when a limit class is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits, unless this many wait already.
    Queue {
        /// Most tasks that wait.
        waiting_max: u32,
    },
    /// It is refused.
    Refuse,
    /// It is taken and runs without a slot, while who asked for it waits for its end: so many more
    /// run as there are callers, and no caller gets ahead of its work. Who asked for an external
    /// task does not wait, as nobody else tells its end: such tasks are not bounded by it.
    Inline,
}
