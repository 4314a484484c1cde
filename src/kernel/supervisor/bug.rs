//! Planted bugs: each breaks one line of the law, and the seeded world must see it.
//!
//! # Invariants
//! 1. Outside tests no bug can be planted, and every check of one is the constant `false`.

use super::Supervisor;

/// A line of the law that a test may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Reports of an old epoch count.
    NoFence,
    /// A closed task takes children.
    SpawnBelowClosed,
    /// An abandoned task gives its slot back before its body stopped.
    SlotFreedEarly,
    /// A parent settles while children live.
    ParentSettlesFirst,
    /// A number is left out of the log.
    SeqGap,
    /// A cancel of a settled task is not answered.
    CancelUnanswered,
    /// A retry ignores a cancel that came before it.
    RetryAfterCancel,
    /// A name is free as soon as its holder settles.
    NameFreedEarly,
    /// The last slot of a class is given twice.
    OneTooMany,
    /// A dependency that failed counts as completed.
    DependencyIgnored,
    /// The late word of an abandoned body replaces the outcome.
    EndChanges,
    /// Elder siblings are asked to stop before younger ones, and children before their parents.
    ElderFirst,
    /// A start after a failure does not count as an attempt.
    AttemptNotCounted,
    /// A key is not remembered.
    KeyNotBound,
    /// What a task was resumed with is lost.
    ResumeLost,
    /// An answer is told and not kept.
    AnswerLost,
    /// A durable message is told and not kept.
    MessageLost,
    /// A task settles without its hooks.
    HookSkipped,
    /// Force follows the request to stop at once.
    GraceIgnored,
    /// A task is restarted however often it was.
    RestartedTooOften,
    /// The late word of a body that was given up counts while its task waits for its children.
    GivenUpRunsAgain,
    /// Hooks are called when their time is over.
    HooksGetNoTime,
    /// A root is moved to another scope and what is below it is not.
    FamilyTorn,
    /// A body that is moved takes no slot of its new scope.
    SlotNotMoved,
    /// A scope that is closed takes tasks.
    ClosedTakesMore,
    /// A scope is closed and tasks follow no policy but their own.
    PolicyNotHandedDown,
    /// The next life of an id counts its runs from the start.
    EpochsStartAgain,
    /// A flight is not remembered.
    FlightNotTaken,
    /// The window that a task wishes for its key is not heard.
    WindowIgnored,
    /// A run that was cancelled takes tasks.
    RunTakesMore,
    /// A request to stop at once waits for bodies.
    NowWaits,
    /// Who is given up leaves what is below to its grace.
    BelowNotGivenUp,
    /// Records are removed before their time is over.
    RemovedEarly,
    /// The time of a record is not watched.
    KeptTooLong,
    /// An external task whose grace is over waits for its callback.
    CallbackAwaited,
    /// What is said of an earlier life of an external task counts.
    EarlierLifeHeard,
    /// Tasks start whether or not their executor is here.
    HostIgnored,
}

impl Supervisor {
    /// Whether this bug is planted.
    #[cfg(test)]
    pub(super) fn planted(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether this bug is planted: never.
    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "the planted bugs exist in tests only")]
    pub(super) const fn planted(&self, _bug: Bug) -> bool {
        false
    }
}
