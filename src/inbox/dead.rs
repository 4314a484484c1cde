//! Dead letters: messages that were accepted and that nobody has read.
//!
//! # Invariants
//! 1. At most `max` letters are kept, the newest; how many went for newer ones is counted.
//! 2. Letters of one sender to one task stand in the order in which they were sent; a letter that
//!    was taken out and could not be delivered goes back to its place.
//!
//! *Not here*: delivering again (the public face). Letters are not durable: they end with their
//! manager.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::{Message, MessageId, Sender, Undelivered};
use crate::kernel::{Name, Scope, Spec, TaskId};

/// A message that was accepted and that nobody has read.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its identity, which stays when it is replayed.
    pub id: MessageId,
    /// The task it was sent to.
    pub to: TaskId,
    /// That task's scope.
    pub scope: Scope,
    /// That task's name, if it had one.
    pub name: Option<Name>,
    /// Its place in that task's inbox.
    pub number: u64,
    /// Who sent it.
    pub from: Sender,
    /// What it says.
    pub body: Value,
    /// Why nobody has read it.
    pub why: Undelivered,
}

/// Which dead letters are meant: those that fit everything that was set.
#[derive(Clone, Debug, Default)]
#[must_use = "a filter does nothing by itself"]
pub struct DeadFilter {
    to: Option<TaskId>,
    scope: Option<String>,
    from: Option<Sender>,
    why: Option<Undelivered>,
}

impl DeadFilter {
    /// Every dead letter.
    pub fn all() -> Self {
        Self::default()
    }

    /// Letters to this task.
    pub fn to(mut self, task: TaskId) -> Self {
        self.to = Some(task);
        self
    }

    /// Letters to tasks of this scope.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = Some(scope.to_owned());
        self
    }

    /// Letters of this sender.
    pub fn from(mut self, sender: Sender) -> Self {
        self.from = Some(sender);
        self
    }

    /// Letters that nobody has read for this reason.
    pub fn why(mut self, why: Undelivered) -> Self {
        self.why = Some(why);
        self
    }

    fn fits(&self, letter: &DeadLetter) -> bool {
        self.to.is_none_or(|to| to == letter.to)
            && self.from.is_none_or(|from| from == letter.from)
            && self.why.is_none_or(|why| why == letter.why)
            && (self.scope.as_ref()).is_none_or(|scope| scope == letter.scope.as_str())
    }
}

/// All dead letters of one manager.
pub(crate) struct DeadLetters {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the order in which they were kept.
    letters: BTreeMap<u64, DeadLetter>,
    newest: u64,
    forgotten: u64,
}

impl DeadLetters {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            state: Mutex::default(),
        }
    }

    /// Keeps a message that nobody will read.
    pub(crate) fn keep(&self, to: TaskId, spec: &Spec, message: Message, why: Undelivered) {
        let letter = DeadLetter {
            id: message.id,
            to,
            scope: spec.scope.clone(),
            name: spec.name.clone(),
            number: message.number,
            from: message.from,
            body: message.body,
            why,
        };
        let mut state = self.lock();
        state.newest += 1;
        let place = state.newest;
        let gone = state.put(place, letter, self.max);
        drop(state);
        drop(gone);
    }

    pub(crate) fn list(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        let state = self.lock();
        let letters = state.letters.values();
        letters.filter(|it| filter.fits(it)).cloned().collect()
    }

    /// How many letters went for newer ones.
    pub(crate) fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// Takes a letter out, to deliver it again. `Err` names an older one of the same sender to the
    /// same task, which has to go first.
    pub(crate) fn take(&self, id: MessageId) -> Option<Result<(u64, DeadLetter), MessageId>> {
        let mut state = self.lock();
        let (place, wanted) = state.letters.iter().find(|(_, letter)| letter.id == id)?;
        let is_older = |letter: &&DeadLetter| {
            (letter.to, letter.from) == (wanted.to, wanted.from) && letter.number < wanted.number
        };
        if let Some(older) = state.letters.values().find(is_older) {
            return Some(Err(older.id));
        }
        let place = *place;
        let letter = state.letters.remove(&place)?;
        Some(Ok((place, letter)))
    }

    /// Puts a letter back that could not be delivered.
    pub(crate) fn put_back(&self, place: u64, letter: DeadLetter) {
        let gone = self.lock().put(place, letter, self.max);
        drop(gone);
    }

    /// Drops the letters that are meant, and tells how many those were.
    pub(crate) fn clear(&self, filter: &DeadFilter) -> usize {
        let mut state = self.lock();
        let before = state.letters.len();
        state.letters.retain(|_, letter| !filter.fits(letter));
        before - state.letters.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps a letter; gives the one that went for it.
    fn put(&mut self, place: u64, letter: DeadLetter, max: usize) -> Option<DeadLetter> {
        self.letters.insert(place, letter);
        if self.letters.len() <= max {
            return None;
        }
        self.forgotten += 1;
        self.letters.pop_first().map(|(_, oldest)| oldest)
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("DeadLetters")
            .field("kept", &state.letters.len())
            .field("forgotten", &state.forgotten)
            .finish_non_exhaustive()
    }
}
