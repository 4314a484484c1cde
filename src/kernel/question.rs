//! What a body asks others and what others tell it: questions with their answers, interrupts.
//!
//! # Invariants
//! 1. A question is answered at most once, and its answer never changes.
//! 2. Questions and answers stay in the record over retries, suspensions and restarts; what is not
//!    answered when the task settles is told in an event and never answered.
//!
//! *Not here*: who may answer and when (`supervisor/talk`), the body that waits (the public face).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Key;
use super::record::{Record, Requester};
use super::spec::Payload;
use super::time::Timestamp;

/// Most questions of one task, answered or not.
pub const QUESTIONS_MAX: usize = 64;

/// The questions of a task by their keys.
pub type Questions = BTreeMap<Key, Question>;

/// A question of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What was asked.
    pub asked: Payload,
    /// When.
    pub asked_at: Timestamp,
    /// The answer, once somebody gave one.
    pub answer: Option<Arc<Answer>>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What was answered.
    pub value: Payload,
    /// By whom.
    pub by: Requester,
    /// When.
    pub at: Timestamp,
}

impl Record {
    /// The questions that wait for an answer; of a task that has settled there are none.
    pub fn open_questions(&self) -> impl Iterator<Item = (&Key, &Question)> {
        let is_live = !self.state.is_terminal();
        let all = self.questions.as_deref().filter(|_| is_live);
        let all = all.into_iter().flatten();
        all.filter(|(_, question)| question.answer.is_none())
    }

    /// Whether a question of it waits for an answer.
    pub fn is_asking(&self) -> bool {
        self.open_questions().next().is_some()
    }
}

/// Word to a running body that it shall look up from its work. It is no request to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interrupt {
    /// Why, in the words of who interrupts.
    pub reason: Arc<str>,
    /// Who interrupts.
    pub by: Requester,
    /// When it was decided.
    pub at: Timestamp,
}
