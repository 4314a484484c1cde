//! What tasks of a kind take: checks of their inputs, messages, answers and events.
//!
//! # Invariants
//! 1. A check runs in the task of who asks, under `catch_unwind`, before anything is recorded or
//!    placed; a panic of it refuses the value, and holds up nobody else.
//! 2. What was accepted is not checked again when it goes on after a failure or a restart.
//!
//! *Not here*: what is refused for its size (each verb).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::config::Builder;
use crate::engine::{catch_call, cut};
use crate::kernel::Kind;

/// Why a value is not what a kind takes, and where.
///
/// ```
/// use understory::Mismatch;
///
/// let why = Mismatch::at("/pages/3", "a page number is expected");
/// assert_eq!(why.to_string(), "at /pages/3: a page number is expected");
/// assert_eq!(Mismatch::from("too many pages").path(), "");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", place(.path))]
pub struct Mismatch {
    path: String,
    reason: String,
}

fn place(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("at {path}: ")
    }
}

impl Mismatch {
    /// The part at this path (a JSON pointer by custom) is wrong, for this reason; at most 4 KiB of
    /// each are kept.
    pub fn at(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: cut(path.into()),
            reason: cut(reason.into()),
        }
    }

    /// Where it is; empty for the value as a whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<String> for Mismatch {
    fn from(reason: String) -> Self {
        Self::at("", reason)
    }
}

impl From<&str> for Mismatch {
    fn from(reason: &str) -> Self {
        Self::at("", reason)
    }
}

type Check = Arc<dyn Fn(&Value) -> Result<(), Mismatch> + Send + Sync>;
type NamedCheck = Arc<dyn Fn(&str, &Value) -> Result<(), Mismatch> + Send + Sync>;

/// What tasks of one kind take; see [`Builder::checks`].
///
/// Each check is called in the task of who asks and should be short: who asks waits for it, and
/// nobody else does. A panic in it refuses the value.
#[derive(Clone, Default)]
#[must_use = "checks do nothing until they are given to a builder"]
pub struct Checks {
    input: Option<Check>,
    messages: Option<Check>,
    answers: Option<NamedCheck>,
    events: Option<NamedCheck>,
}

impl Checks {
    /// None: everything is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the input of a task of the kind's executor before the task is taken.
    pub fn input<F>(mut self, check: F) -> Self
    where
        F: Fn(&Value) -> Result<(), Mismatch> + Send + Sync + 'static,
    {
        self.input = Some(Arc::new(check));
        self
    }

    /// Checks each message to a task of the kind before it is placed in the inbox.
    pub fn messages<F>(mut self, check: F) -> Self
    where
        F: Fn(&Value) -> Result<(), Mismatch> + Send + Sync + 'static,
    {
        self.messages = Some(Arc::new(check));
        self
    }

    /// Checks each answer to a question of a task of the kind, by the question's key.
    pub fn answers<F>(mut self, check: F) -> Self
    where
        F: Fn(&str, &Value) -> Result<(), Mismatch> + Send + Sync + 'static,
    {
        self.answers = Some(Arc::new(check));
        self
    }

    /// Checks each event that a body of the kind [emits](crate::Context::emit), by its type.
    pub fn events<F>(mut self, check: F) -> Self
    where
        F: Fn(&str, &Value) -> Result<(), Mismatch> + Send + Sync + 'static,
    {
        self.events = Some(Arc::new(check));
        self
    }
}

impl Builder {
    /// Says what tasks of this kind take, in all scopes; the newest checks of a kind count.
    ///
    /// A value that is not taken is refused by the error of the verb, with the path and the reason,
    /// and nothing of it is recorded. Messages come back in it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use serde_json::{Value, json};
    /// use understory::{Checks, Context, Failure, Manager, Mismatch, SpawnError};
    ///
    /// async fn fetch(_: Context, input: Value) -> Result<Value, Failure> {
    ///     Ok(input)
    /// }
    ///
    /// let has_url = |input: &Value| match input["url"].as_str() {
    ///     Some(_) => Ok(()),
    ///     None => Err(Mismatch::at("/url", "a text is expected")),
    /// };
    /// let manager = Manager::builder()
    ///     .executor("fetch", fetch)
    ///     .checks("fetch", Checks::new().input(has_url))
    ///     .build()?;
    /// let scope = manager.scope("s");
    /// let Err(SpawnError::InvalidInput { why, .. }) =
    ///     scope.task("t").spawn_kind("fetch", json!({ "uri": "x" })).await
    /// else {
    ///     panic!("it has no url")
    /// };
    /// assert_eq!((why.path(), why.reason()), ("/url", "a text is expected"));
    /// # Ok(()) }
    /// ```
    pub fn checks(mut self, kind: &str, checks: Checks) -> Self {
        if let Some(kind) = self.keep(Kind::new(kind)) {
            self.checks_mut().0.insert(kind, checks);
        }
        self
    }
}

/// The checks of one manager, by kind.
#[derive(Default)]
pub(super) struct AllChecks(BTreeMap<Kind, Checks>);

impl AllChecks {
    pub(super) fn input(&self, kind: &Kind, input: &Value) -> Result<(), Mismatch> {
        let check = self.of(Some(kind)).and_then(|it| it.input.as_ref());
        check.map_or(Ok(()), |check| isolated(|| check(input)))
    }

    pub(super) fn message(&self, kind: Option<&Kind>, message: &Value) -> Result<(), Mismatch> {
        let check = self.of(kind).and_then(|it| it.messages.as_ref());
        check.map_or(Ok(()), |check| isolated(|| check(message)))
    }

    /// The check of answers of a kind, if it has one.
    pub(super) fn answer(
        &self,
        kind: Option<&Kind>,
        key: &str,
        answer: impl FnOnce() -> Value,
    ) -> Result<(), Mismatch> {
        let check = self.of(kind).and_then(|it| it.answers.as_ref());
        check.map_or(Ok(()), |check| {
            let answer = answer();
            isolated(|| check(key, &answer))
        })
    }

    pub(super) fn event(
        &self,
        kind: Option<&Kind>,
        label: &str,
        data: impl FnOnce() -> Value,
    ) -> Result<(), Mismatch> {
        let check = self.of(kind).and_then(|it| it.events.as_ref());
        check.map_or(Ok(()), |check| {
            let data = data();
            isolated(|| check(label, &data))
        })
    }

    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Most managers have none, and pay nothing for it.
    fn of(&self, kind: Option<&Kind>) -> Option<&Checks> {
        if self.are_none() {
            return None;
        }
        self.0.get(kind?)
    }
}

/// Calls the host's check; a panic of it is a mismatch.
fn isolated(check: impl FnOnce() -> Result<(), Mismatch>) -> Result<(), Mismatch> {
    catch_call(check).unwrap_or_else(|panic| {
        tracing::warn!(panic, "a check panicked");
        Err(Mismatch::at("", format!("its check panicked: {panic}")))
    })
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks")
            .field("input", &self.input.is_some())
            .field("messages", &self.messages.is_some())
            .field("answers", &self.answers.is_some())
            .field("events", &self.events.is_some())
            .finish()
    }
}

impl fmt::Debug for AllChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}
