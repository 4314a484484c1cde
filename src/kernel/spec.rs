//! What a caller asks for: everything about a task that never changes after it was accepted, but
//! for its scope, when it is transferred: then a new spec takes the place of the old one.
//!
//! *Not here*: whether it may run (`admission`), what became of it (`record`).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{ClassName, Counter, Key, Kind, Name, Scope, TaskId};
use super::rarely::{Ordinary, Rarely};
use super::restart::RestartPolicy;
use super::retry::Retry;
use super::trace::Trace;

/// JSON text that the kernel carries and never reads: inputs, values, progress, output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(Arc<str>);

impl Payload {
    /// Takes a text that its maker knows to be JSON.
    pub fn from_json(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes of a live child when its parent's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum OnParentEnd {
    /// The parent waits for it.
    Wait,
    /// It is cancelled.
    Cancel,
    /// It becomes a root of its scope.
    Detach,
}

/// What becomes of a live task when its scope is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum OnScopeClose {
    /// It goes on.
    Keep,
    /// It is cancelled, with everything below it.
    Cancel,
    /// It moves to this scope, with everything below it; a task below another one is kept.
    Transfer(Scope),
}

/// What happens to a body that has not stopped when its grace is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum StopPolicy {
    /// It is dropped at its next `.await`.
    #[default]
    Abort,
    /// It is never forced: it is abandoned and goes on until it ends by itself.
    Cooperative,
}

/// What an inbox does with one more message when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Overflow {
    /// It refuses the message, which comes back.
    #[default]
    Reject,
    /// It drops the oldest one, which becomes a dead letter.
    DropOldest,
    /// It lets the sender wait until there is room or the task ends.
    Wait,
}

/// What a body's success means when it arrives after a cancel was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum LateSuccess {
    /// The task is cancelled; the value is kept as its late result.
    #[default]
    Cancelled,
    /// The task is completed.
    Completed,
}

/// Who may run the body of an executor's task when its process has died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Disposition {
    /// Any process, while attempts are left.
    #[default]
    Rerunnable,
    /// Any process before its first start, and nobody after it: it is bound to the one that
    /// started it.
    OwnerBound,
}

/// Where the body of a task comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Origin {
    /// A closure of this process: it cannot outlive it.
    Closure,
    /// It is not here: whoever holds the task tells what becomes of it.
    External,
    /// The executor registered for the task's kind: it can run again elsewhere.
    Executor,
}

/// Whether a task is shown to users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Visibility {
    /// It is.
    #[default]
    Shown,
    /// It is housekeeping: outside of their limits, lists and feeds.
    Hidden,
}

/// What at most one live task does at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Flight {
    /// By a key that its asker chose.
    Canonical(Key),
    /// By a role and what it works on, when nobody chose a key.
    Derived {
        /// What it does.
        role: Key,
        /// To what.
        target: Key,
    },
}

/// How far a single flight reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Reach {
    /// One task of the scope.
    #[default]
    Scope,
    /// One task of all scopes whose flight reaches as far.
    Manager,
}

/// Whether a task may take the id of one that has settled and stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// It may not.
    #[default]
    Refused,
    /// It may: it is the next life of that id.
    Allowed,
}

/// Free key and value pairs, at most [`LABELS_MAX`].
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;
/// Most labels of one task.
pub const LABELS_MAX: usize = 32;
/// Most dependencies of one task.
pub const AFTER_MAX: usize = 1_024;
/// Most limit classes that one task may name.
pub const CLASSES_MAX: usize = 16;

/// A task as it was asked for.
///
/// It reads like one struct: what few tasks ask for stands in [`Options`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Who owns it.
    pub scope: Scope,
    /// Its name, if it has one.
    pub name: Option<Name>,
    /// What sort of work it is.
    pub kind: Option<Kind>,
    /// The task it was spawned below.
    pub parent: Option<TaskId>,
    /// Free key and value pairs.
    pub labels: Labels,
    /// The input of its executor.
    pub input: Option<Payload>,
    /// Where its body comes from.
    pub origin: Origin,
    /// Everything else.
    pub options: Rarely<Options>,
}

/// What few tasks ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What it is about, in words.
    pub description: Option<Arc<str>>,
    /// Whether users see it.
    pub visibility: Visibility,
    /// Tasks that must settle as completed before it starts.
    pub after: Vec<TaskId>,
    /// Named limit classes it takes a slot of, beside the global, scope and kind classes.
    pub limits: Vec<ClassName>,
    /// How much of each counter it and everything below it may use.
    pub budgets: BTreeMap<Counter, u64>,
    /// Among the tasks of its scope that wait for the same slots, higher ones go first.
    pub priority: i16,
    /// Whether and when a failed attempt is followed by another.
    pub retry: Retry,
    /// Whether and when it is started again whenever its body ends, instead of further attempts.
    pub restart: Option<RestartPolicy>,
    /// Longest time of one attempt; `None` is unlimited.
    pub timeout: Option<Duration>,
    /// Longest time without activity while running; `None` is unlimited.
    pub idle_timeout: Option<Duration>,
    /// Longest time without a word about an external task; `None` is unlimited.
    pub heartbeat_timeout: Option<Duration>,
    /// Longest time from acceptance to the end, over all attempts; `None` is unlimited.
    pub lifetime: Option<Duration>,
    /// Longest time of one wait for a slot; `None` is unlimited.
    pub queue_timeout: Option<Duration>,
    /// Longest time of one suspension; `None` is unlimited.
    pub suspend_timeout: Option<Duration>,
    /// Time between the request to stop and force; `None` takes the manager's default.
    pub grace: Option<Duration>,
    /// What becomes of it when its parent ends; `None` waits after `Ok` and is cancelled otherwise.
    pub on_parent_end: Option<OnParentEnd>,
    /// What becomes of it when its scope is closed; `None` is as the task above it, and keeps a
    /// root.
    pub on_scope_close: Option<OnScopeClose>,
    /// Whether force follows the grace.
    pub stop_policy: StopPolicy,
    /// What a success after a cancel means.
    pub late_success: LateSuccess,
    /// Asking again with the same key and the same spec gives the same task.
    pub key: Option<Key>,
    /// How long the key stays bound; `None` takes the manager's window.
    pub key_window: Option<Duration>,
    /// Of the live tasks with the same flight there is one.
    pub flight: Option<Flight>,
    /// How far its flight reaches.
    pub flight_reach: Reach,
    /// How many messages may wait for it; `None` is the default.
    pub inbox_capacity: Option<u32>,
    /// What becomes of one more.
    pub inbox_overflow: Overflow,
    /// The shortest time between two of its progress notes; `None` takes the manager's.
    pub progress_interval: Option<Duration>,
    /// Who may run its body when the process that has started it is gone.
    pub disposition: Disposition,
    /// Whether it has a hook of its own that runs before it settles.
    pub before_settle: bool,
    /// The trace in which it was asked for.
    pub trace: Option<Trace>,
}

/// Nothing beside the ordinary.
static ORDINARY: Options = Options {
    description: None,
    visibility: Visibility::Shown,
    after: Vec::new(),
    limits: Vec::new(),
    budgets: BTreeMap::new(),
    priority: 0,
    retry: Retry::never(),
    restart: None,
    timeout: None,
    idle_timeout: None,
    heartbeat_timeout: None,
    lifetime: None,
    queue_timeout: None,
    suspend_timeout: None,
    grace: None,
    on_parent_end: None,
    on_scope_close: None,
    stop_policy: StopPolicy::Abort,
    late_success: LateSuccess::Cancelled,
    key: None,
    key_window: None,
    flight: None,
    flight_reach: Reach::Scope,
    inbox_capacity: None,
    inbox_overflow: Overflow::Reject,
    progress_interval: None,
    disposition: Disposition::Rerunnable,
    before_settle: false,
    trace: None,
};

impl Ordinary for Options {
    fn ordinary() -> &'static Self {
        &ORDINARY
    }
}

impl Deref for Spec {
    type Target = Options;

    fn deref(&self) -> &Options {
        &self.options
    }
}

impl DerefMut for Spec {
    fn deref_mut(&mut self) -> &mut Options {
        &mut self.options
    }
}

impl Spec {
    /// A spec with nothing but a scope: unnamed, a closure, no limits.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            name: None,
            kind: None,
            parent: None,
            labels: Labels::new(),
            input: None,
            origin: Origin::Closure,
            options: Rarely::not(),
        }
    }

    /// The first wish in which two specs differ, and of labels which one; `None` when they ask for
    /// the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        self.wish_that_differs(other).map(|wish| match wish {
            "labels" => match differing_label(&self.labels, &other.labels) {
                Some(label) => format!("label {label}"),
                None => wish.to_owned(),
            },
            wish => wish.to_owned(),
        })
    }

    fn wish_that_differs(&self, other: &Self) -> Option<&'static str> {
        macro_rules! first_of {
            ($of:ident of $these:expr, $those:expr; $($field:ident)*; $($other:ident)*) => {{
                // Without `..`, so that no field is forgotten.
                let $of { $($field: _,)* $($other: _,)* } = $these;
                $(if $these.$field != $those.$field {
                    return Some(stringify!($field));
                })*
            }};
        }
        first_of!(Spec of self, other; scope name kind parent labels input origin; options);
        // Who asks again does so in a trace of its own.
        first_of!(
            Options of &**self, other;
            heartbeat_timeout description visibility after limits budgets priority retry restart
            timeout idle_timeout lifetime queue_timeout suspend_timeout grace on_parent_end
            on_scope_close stop_policy late_success key key_window flight flight_reach
            inbox_capacity inbox_overflow progress_interval disposition before_settle;
            trace
        );
        None
    }

    /// The policy by which it is restarted, if it ever is. Who holds an external task has its body.
    pub fn restarts(&self) -> Option<&RestartPolicy> {
        let policy = self.restart.as_ref()?;
        let is_here = self.origin != Origin::External;
        (is_here && !policy.is_temporary()).then_some(policy)
    }

    /// Whether a failure of attempt number `attempt` is final.
    pub fn is_last(&self, attempt: u32) -> bool {
        attempt >= self.retry.attempts_max() && self.restarts().is_none()
    }

    /// Whether a value of its body ends it.
    pub fn ends_with_value(&self) -> bool {
        !self.restarts().is_some_and(RestartPolicy::is_permanent)
    }

    /// The name, or the short form of `id`: this task's segment of a path.
    pub fn segment(&self, id: TaskId) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => id.short(),
        }
    }
}

/// The first label that only one has, or that has another value.
fn differing_label<'a>(ours: &'a Labels, theirs: &'a Labels) -> Option<&'a str> {
    let mut keys = ours.keys().chain(theirs.keys());
    let key = keys.find(|key| ours.get(*key) != theirs.get(*key));
    key.map(|key| &**key)
}
