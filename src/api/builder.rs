//! What a task shall be: the builder and its wishes.
//!
//! *Not here*: asking the manager for it (`spawn`).

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context;
use super::core::Core;
use crate::kernel::{
    ClassName, Epoch, InvalidText, Key, Kind, LateSuccess, Name, OnParentEnd, Retry, Scope, Spec,
    StopPolicy, TaskId,
};

/// Messages that wait in an inbox unless the task says otherwise.
const INBOX_CAPACITY_DEFAULT: u32 = 64;

/// Marks a builder whose body may be called once.
#[derive(Clone, Copy, Debug)]
pub struct Once;
/// Marks a builder whose body may be called again for another attempt.
#[derive(Clone, Copy, Debug)]
pub struct Again;

/// A task to be: set what it needs, then spawn it.
///
/// After [`TaskBuilder::retry`] the body must be callable again (`Fn`).
#[must_use = "a task that is not spawned does not exist"]
pub struct TaskBuilder<Mode = Once> {
    pub(super) core: Arc<Core>,
    pub(super) spec: Option<Spec>,
    pub(super) mistake: Option<InvalidText>,
    pub(super) id: Option<TaskId>,
    pub(super) by: Option<(TaskId, Epoch)>,
    pub(super) inbox_capacity: u32,
    pub(super) tokens: Vec<CancellationToken>,
    mode: PhantomData<Mode>,
}

impl TaskBuilder<Once> {
    pub(super) fn new(core: Arc<Core>, scope: Result<Scope, InvalidText>) -> Self {
        let (spec, mistake) = match scope {
            Ok(scope) => (Some(Spec::new(scope)), None),
            Err(mistake) => (None, Some(mistake)),
        };
        Self {
            core,
            spec,
            mistake,
            id: None,
            by: None,
            inbox_capacity: INBOX_CAPACITY_DEFAULT,
            tokens: Vec::new(),
            mode: PhantomData,
        }
    }
}

impl<Mode> TaskBuilder<Mode> {
    /// Names the task.
    pub fn name(mut self, name: &str) -> Self {
        let name = self.keep(Name::new(name));
        self.set(|spec| spec.name = name)
    }

    /// Chooses the id; by default it is a new version 7 UUID.
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = Some(id);
        self
    }

    /// Hangs it below this task instead of the current one.
    pub fn parent(self, parent: TaskId) -> Self {
        self.set(|spec| spec.parent = Some(parent))
    }

    /// Makes it a root, also inside a body.
    pub fn root(self) -> Self {
        self.set(|spec| spec.parent = None)
    }

    /// Says what sort of work it is.
    pub fn kind(mut self, kind: &str) -> Self {
        let kind = self.keep(Kind::new(kind));
        self.set(|spec| spec.kind = kind)
    }

    /// Adds a label.
    pub fn label(self, key: &str, value: &str) -> Self {
        self.set(|spec| {
            spec.labels.insert(key.into(), value.into());
        })
    }

    /// Lets it wait until these tasks have completed; if one ends otherwise, it is cancelled.
    pub fn after(self, tasks: impl IntoIterator<Item = TaskId>) -> Self {
        self.set(|spec| spec.after.extend(tasks))
    }

    /// Lets it take a slot of this limit class while it runs.
    pub fn limit(mut self, class: &str) -> Self {
        let class = self.keep(ClassName::new(class));
        self.set(|spec| spec.limits.extend(class))
    }

    /// Ends an attempt that takes longer.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.timeout = Some(timeout).filter(|timeout| !timeout.is_zero()))
    }

    /// Ends an attempt that gives no sign of life for so long: no progress, output, event, message or touch.
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.idle_timeout = Some(timeout).filter(|timeout| !timeout.is_zero()))
    }

    /// Sets how long it may go on after it was asked to stop.
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|spec| spec.grace = Some(grace))
    }

    /// Says what becomes of it when its parent ends.
    pub fn on_parent_end(self, policy: OnParentEnd) -> Self {
        self.set(|spec| spec.on_parent_end = Some(policy))
    }

    /// Never drops its body by force: after the grace it is abandoned and goes on.
    pub fn cooperative(self) -> Self {
        self.set(|spec| spec.stop_policy = StopPolicy::Cooperative)
    }

    /// Says what a value means that arrives after a cancel was asked.
    pub fn late_success(self, meaning: LateSuccess) -> Self {
        self.set(|spec| spec.late_success = meaning)
    }

    /// Asking again with the same key and the same wishes gives the same task.
    pub fn key(mut self, key: &str) -> Self {
        let key = self.keep(Key::new(key));
        self.set(|spec| spec.key = key)
    }

    /// Sets how many messages may wait for it (64); zero gives it no inbox.
    pub fn inbox_capacity(mut self, messages: u32) -> Self {
        self.inbox_capacity = messages;
        self
    }

    /// Cancels it and everything below it when this token is cancelled.
    pub fn cancel_with(mut self, token: CancellationToken) -> Self {
        self.tokens.push(token);
        self
    }

    /// Lets a failed attempt be followed by another one.
    pub fn retry(self, retry: Retry) -> TaskBuilder<Again> {
        let this = self.set(|spec| spec.retry = retry);
        TaskBuilder {
            core: this.core,
            spec: this.spec,
            mistake: this.mistake,
            id: this.id,
            by: this.by,
            inbox_capacity: this.inbox_capacity,
            tokens: this.tokens,
            mode: PhantomData,
        }
    }

    pub(super) fn below(self, parent: TaskId, epoch: Epoch) -> Self {
        let mut this = self.parent(parent);
        this.by = Some((parent, epoch));
        this
    }

    /// Hangs it below the current body's task, if that is of this manager and scope.
    pub(super) fn below_current(self) -> Self {
        let Some(context) = context::current() else {
            return self;
        };
        let is_here = Arc::ptr_eq(context.core(), &self.core);
        let scope = self.spec.as_ref().map(|spec| &spec.scope);
        if is_here && scope == Some(context.scope()) {
            let (id, epoch) = (context.id(), context.epoch());
            return self.below(id, epoch);
        }
        self
    }

    pub(super) fn set(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        if let Some(spec) = &mut self.spec {
            change(spec);
        }
        self
    }

    fn keep<T>(&mut self, checked: Result<T, InvalidText>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.mistake.get_or_insert(mistake);
                None
            }
        }
    }
}

impl<Mode> fmt::Debug for TaskBuilder<Mode> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
