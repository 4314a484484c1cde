//! May a task run now, must it wait, or is it refused: limit classes and their slots.
//!
//! A task takes one slot of each class it belongs to, all at once or none. Tasks of one scope that
//! need the same classes stand in one **lane**, first in first out among those of one priority, the
//! higher ones first. A lane that cannot move is
//! parked at one class that is full; when that class gets room, its lanes are tried, scope after
//! scope in turn.
//!
//! # Invariants
//! 1. A lane with tasks is parked at exactly one class, and that class is full, but for those that
//!    [`Admission::fill`] has not seen yet.
//! 2. Within a lane nobody overtakes but by priority; between scopes at a class the turn goes
//!    round, whatever the priorities. A lane that needs another class, too, which is full at its
//!    turn, is parked there and keeps nothing free: no slot is idle while somebody could use it.
//! 3. `in_use` counts held slots; a slot that comes back from a parked body may raise it above the
//!    size, and then nobody is admitted until it is below again.
//!
//! *Not here*: when a slot is given back (`supervisor`).

#[cfg(test)]
#[allow(dead_code, reason = "used by the proofs, which the library declares")]
mod audit;
mod class;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::bounds::{Bounds, Class, WhenFull};
use super::id::{ClassName, Scope, TaskId};
use super::spec::{Spec, Visibility};
use class::ClassState;
pub use class::{Capacity, ClassFull, LimitName};

/// The classes of a task, as indices into [`Admission::classes`], in a fixed order.
pub(super) type ClassSet = Vec<u32>;
type LaneKey = (Scope, ClassSet);

/// A place in a lane: the higher priority first, then who came first.
type Place = (Reverse<i16>, u64);

/// Where a waiting task stands, to take it out again.
#[derive(Clone, Debug)]
pub(super) struct Ticket(Place);

/// Slots and queues of all limit classes.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Admission {
    classes: Vec<ClassState>,
    /// Places in `classes` of scopes in which nothing lives.
    vacant: Vec<u32>,
    index: BTreeMap<LimitName, u32>,
    per_scope: Option<Class>,
    scopes: BTreeMap<Scope, Class>,
    lanes: BTreeMap<LaneKey, BTreeMap<Place, TaskId>>,
    tickets: u64,
}

impl Admission {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let mut admission = Self {
            classes: Vec::new(),
            vacant: Vec::new(),
            index: BTreeMap::new(),
            per_scope: bounds.per_scope,
            scopes: bounds.scopes.clone(),
            lanes: BTreeMap::new(),
            tickets: 0,
        };
        if let Some(class) = bounds.global {
            admission.add(LimitName::Global, class);
        }
        for (kind, class) in &bounds.kinds {
            admission.add(LimitName::Kind(kind.clone()), *class);
        }
        for (name, class) in &bounds.named {
            admission.add(LimitName::Named(name.clone()), *class);
        }
        admission
    }

    fn add(&mut self, key: LimitName, class: Class) -> u32 {
        let state = ClassState::new(key.clone(), class);
        let at = if let Some(at) = self.vacant.pop() {
            self.classes[at as usize] = state;
            at
        } else {
            self.classes.push(state);
            u32::try_from(self.classes.len() - 1).expect("fewer classes than u32::MAX")
        };
        self.index.insert(key, at);
        at
    }

    /// A task of these classes was accepted.
    pub(super) fn join(&mut self, set: &ClassSet) {
        for at in set {
            self.classes[*at as usize].members += 1;
        }
    }

    /// A task of these classes is gone.
    pub(super) fn leave(&mut self, set: &ClassSet) {
        for at in set {
            self.classes[*at as usize].members -= 1;
        }
        self.prune(set);
    }

    /// Drops the class of a scope when nothing of that scope lives.
    pub(super) fn prune(&mut self, set: &ClassSet) {
        for at in set {
            let state = &self.classes[*at as usize];
            if state.members == 0 && matches!(state.key, LimitName::Scope(_)) {
                self.index.remove(&state.key);
                self.vacant.push(*at);
            }
        }
    }

    /// The classes of a task, or the name of the one that nobody configured.
    pub(super) fn classes_of(&mut self, spec: &Spec) -> Result<ClassSet, ClassName> {
        let mut named = ClassSet::new();
        for name in &spec.limits {
            named.push(self.named(name).ok_or_else(|| name.clone())?);
        }
        Ok(self.with_unnamed(named, spec))
    }

    /// The classes of a task that was accepted before. One that nobody configured any more does not
    /// strand it: the others still hold.
    pub(super) fn classes_left_of(&mut self, spec: &Spec) -> ClassSet {
        let named = spec.limits.iter().filter_map(|name| self.named(name));
        let named = named.collect();
        self.with_unnamed(named, spec)
    }

    fn named(&self, name: &ClassName) -> Option<u32> {
        self.index.get(&LimitName::Named(name.clone())).copied()
    }

    /// These classes and those that a task belongs to without asking for them.
    fn with_unnamed(&mut self, mut set: ClassSet, spec: &Spec) -> ClassSet {
        // Housekeeping takes no slot of a user's, but where it asks for one.
        let is_shown = spec.visibility == Visibility::Shown;
        if is_shown {
            set.extend(self.index.get(&LimitName::Global));
        }
        if let (Some(kind), true) = (&spec.kind, is_shown) {
            set.extend(self.index.get(&LimitName::Kind(kind.clone())));
        }
        let of_scope = self.scopes.get(&spec.scope).copied().or(self.per_scope);
        if let (Some(class), true) = (of_scope, is_shown) {
            let key = LimitName::Scope(spec.scope.clone());
            let known = self.index.get(&key).copied();
            set.push(known.unwrap_or_else(|| self.add(key, class)));
        }
        set.sort_unstable();
        set.dedup();
        set
    }

    /// If a class of the set that lets tasks run inline is full, takes all such classes out of it,
    /// and tells so.
    pub(super) fn waive_if_full(&mut self, set: &mut ClassSet) -> bool {
        let is_full = |at: &u32| {
            let state = &self.classes[*at as usize];
            state.class.when_full == WhenFull::Inline && state.is_spoken_for()
        };
        let waives = set.iter().any(is_full);
        if waives {
            self.waive(set);
        }
        waives
    }

    /// Takes the classes that let tasks run inline out of the set.
    pub(super) fn waive(&mut self, set: &mut ClassSet) {
        let is_inline = |at: &u32| self.classes[*at as usize].class.when_full == WhenFull::Inline;
        let (waived, kept) = set.iter().partition::<ClassSet, _>(|at| is_inline(at));
        *set = kept;
        self.prune(&waived);
    }

    /// How each class stands that is for this scope, or for all.
    pub(super) fn capacity(&self, scope: Option<&Scope>) -> Vec<Capacity> {
        let mut found = Vec::new();
        for (key, at) in &self.index {
            let is_meant = match key {
                LimitName::Scope(of) => scope == Some(of),
                LimitName::Global | LimitName::Kind(_) | LimitName::Named(_) => true,
            };
            if is_meant {
                found.push(self.classes[*at as usize].capacity());
            }
        }
        // The class of a scope in which nothing lives is made when something does.
        if let Some(scope) = scope
            && let key = LimitName::Scope(scope.clone())
            && !self.index.contains_key(&key)
            && let Some(class) = self.scopes.get(scope).copied().or(self.per_scope)
        {
            found.push(ClassState::new(key, class).capacity());
        }
        found
    }

    /// Whether the class of a scope takes tasks that come with `held` slots and `queued` waits.
    pub(super) fn check_arrivals(
        &self,
        scope: &Scope,
        held: u32,
        queued: u32,
    ) -> Result<(), ClassFull> {
        let Some(class) = self.scopes.get(scope).copied().or(self.per_scope) else {
            return Ok(());
        };
        let key = LimitName::Scope(scope.clone());
        let fresh = ClassState::new(key.clone(), class);
        let at = self.index.get(&key);
        let state = at.map_or(&fresh, |at| &self.classes[*at as usize]);
        let is_full = match class.when_full {
            WhenFull::Refuse => state.in_use + state.waiting + held + queued > class.size,
            WhenFull::Queue { waiting_max } => {
                queued > 0 && state.waiting.saturating_add(queued) > waiting_max
            }
            WhenFull::Inline => false,
        };
        if is_full && held + queued > 0 {
            Err(state.describe())
        } else {
            Ok(())
        }
    }

    /// Whether a class of the set refuses a new task.
    pub(super) fn check(&self, set: &ClassSet) -> Result<(), ClassFull> {
        let refuses = |state: &&ClassState| match state.class.when_full {
            WhenFull::Refuse => state.is_spoken_for(),
            WhenFull::Queue { waiting_max } => !state.has_room() && state.waiting >= waiting_max,
            WhenFull::Inline => false,
        };
        match set
            .iter()
            .map(|at| &self.classes[*at as usize])
            .find(refuses)
        {
            None => Ok(()),
            Some(full) => Err(full.describe()),
        }
    }

    /// Whether each class has a slot now, or the first one that is full.
    pub(super) fn room(&self, set: &ClassSet) -> Result<(), ClassFull> {
        match self.blocking(set) {
            None => Ok(()),
            Some(at) => Err(self.classes[at as usize].describe()),
        }
    }

    /// Takes a slot of each class, if all have one.
    pub(super) fn try_take(&mut self, set: &ClassSet) -> bool {
        let free = self.blocking(set).is_none();
        if free {
            self.take(set);
        }
        free
    }

    /// Takes the slots whether or not there is room: a parked body comes back.
    pub(super) fn take(&mut self, set: &ClassSet) {
        for at in set {
            self.classes[*at as usize].in_use += 1;
        }
    }

    /// Queues a task that found no room. After a crash it may find some: then [`Self::fill`] says
    /// whose turn it is, once all stand there.
    pub(super) fn enqueue(
        &mut self,
        task: TaskId,
        scope: &Scope,
        set: &ClassSet,
        priority: i16,
    ) -> Ticket {
        self.tickets += 1;
        let ticket = (Reverse(priority), self.tickets);
        let lane = self.lanes.entry((scope.clone(), set.clone())).or_default();
        let was_empty = lane.is_empty();
        lane.insert(ticket, task);
        for at in set {
            self.classes[*at as usize].waiting += 1;
        }
        if was_empty {
            let at = self.blocking(set).or_else(|| set.first().copied());
            self.park(
                at.expect("only a task that needs slots is queued"),
                scope,
                set,
            );
        }
        Ticket(ticket)
    }

    /// Takes a waiting task out of its lane.
    pub(super) fn withdraw(&mut self, ticket: &Ticket, scope: &Scope, set: &ClassSet) {
        let key = (scope.clone(), set.clone());
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if lane.remove(&ticket.0).is_none() {
            return;
        }
        for at in set {
            self.classes[*at as usize].waiting -= 1;
        }
        if lane.is_empty() {
            self.lanes.remove(&key);
            for at in set {
                self.unpark(*at, scope, set);
            }
        }
    }

    /// Gives slots back and tells who may run now, in order. Their slots are taken.
    pub(super) fn release(&mut self, set: &ClassSet) -> Vec<TaskId> {
        for at in set {
            let state = &mut self.classes[*at as usize];
            state.in_use = state
                .in_use
                .checked_sub(1)
                .expect("a slot is given back once");
        }
        let mut admitted = Vec::new();
        for at in set {
            self.pump(*at, &mut admitted);
        }
        admitted
    }

    /// Tells who may run of those who were queued while there was room, in order. Their slots are
    /// taken.
    pub(super) fn fill(&mut self) -> Vec<TaskId> {
        let mut admitted = Vec::new();
        for at in (0_u32..).take(self.classes.len()) {
            self.pump(at, &mut admitted);
        }
        admitted
    }

    /// Tries the lanes parked at a class until it is full again or none is left.
    fn pump(&mut self, at: u32, admitted: &mut Vec<TaskId>) {
        while self.classes[at as usize].has_room() {
            let Some((scope, set)) = self.next_lane(at) else {
                return;
            };
            if let Some(other) = self.blocking(&set) {
                self.park(other, &scope, &set);
                continue;
            }
            let key = (scope, set);
            let lane = self.lanes.get_mut(&key).expect("a parked lane has tasks");
            let (_, task) = lane.pop_first().expect("a parked lane has tasks");
            let is_empty = lane.is_empty();
            let (scope, set) = key;
            self.take(&set);
            for class in &set {
                self.classes[*class as usize].waiting -= 1;
            }
            admitted.push(task);
            if is_empty {
                self.lanes.remove(&(scope, set));
            } else {
                let full = self.blocking(&set).unwrap_or(at);
                self.park(full, &scope, &set);
            }
        }
    }

    /// Takes the lane whose turn it is at a class: the next scope's lane with the first head.
    fn next_lane(&mut self, at: u32) -> Option<LaneKey> {
        let state = &mut self.classes[at as usize];
        let scope = state.turns.pop_front()?;
        let lanes = state
            .parked
            .get_mut(&scope)
            .expect("a scope in turn has parked lanes");
        let head = |set: &ClassSet| {
            let lane = self.lanes.get(&(scope.clone(), set.clone()));
            lane.and_then(|lane| lane.first_key_value())
                .map(|(ticket, _)| *ticket)
        };
        let first = (0..lanes.len()).min_by_key(|i| head(&lanes[*i]))?;
        let set = lanes.swap_remove(first);
        if lanes.is_empty() {
            state.parked.remove(&scope);
        } else {
            state.turns.push_back(scope.clone());
        }
        Some((scope, set))
    }

    fn park(&mut self, at: u32, scope: &Scope, set: &ClassSet) {
        let state = &mut self.classes[at as usize];
        let lanes = state.parked.entry(scope.clone()).or_default();
        if lanes.is_empty() {
            state.turns.push_back(scope.clone());
        }
        lanes.push(set.clone());
    }

    fn unpark(&mut self, at: u32, scope: &Scope, set: &ClassSet) {
        let state = &mut self.classes[at as usize];
        let Some(lanes) = state.parked.get_mut(scope) else {
            return;
        };
        lanes.retain(|lane| lane != set);
        if lanes.is_empty() {
            state.parked.remove(scope);
            state.turns.retain(|turn| turn != scope);
        }
    }

    fn blocking(&self, set: &ClassSet) -> Option<u32> {
        set.iter()
            .copied()
            .find(|at| !self.classes[*at as usize].has_room())
    }
}
