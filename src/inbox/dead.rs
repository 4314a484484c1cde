//! Dead letters: messages that were accepted and that nobody has read.
//!
//! # Invariants
//! 1. The newest letters are kept: at most so many, and so many bytes of JSON. How many were not,
//!    or not any more, is counted.
//! 2. A letter is in the scope in which its task is, or was at its end.
//! 3. Letters of one sender to one task stand in the order in which they were sent; a letter that
//!    was taken out and could not be delivered goes back to its place.
//!
//! *Not here*: delivering again (the public face). Letters are not durable: they end with their
//! manager.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::{Message, MessageId, Sender, Undelivered, size_of};
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

/// The most that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadBounds {
    pub(crate) letters_max: usize,
    /// Of what they say, as JSON.
    pub(crate) bytes_max: usize,
}

impl DeadBounds {
    pub(crate) const NONE: Self = Self {
        letters_max: 0,
        bytes_max: 0,
    };
}

/// All dead letters of one manager.
pub(crate) struct DeadLetters {
    bounds: DeadBounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the order in which they were kept.
    letters: BTreeMap<u64, Weighed>,
    /// Of all of them.
    bytes: usize,
    newest: u64,
    forgotten: u64,
}

struct Weighed {
    letter: DeadLetter,
    bytes: usize,
}

impl DeadLetters {
    pub(crate) fn new(bounds: DeadBounds) -> Self {
        Self {
            bounds,
            state: Mutex::default(),
        }
    }

    /// Keeps a message that nobody will read, to a task that is in this scope now.
    pub(crate) fn keep(
        &self,
        to: TaskId,
        spec: &Spec,
        scope: Scope,
        message: Message,
        why: Undelivered,
    ) {
        let letter = DeadLetter {
            id: message.id,
            to,
            scope,
            name: spec.name.clone(),
            number: message.number,
            from: message.from,
            body: message.body,
            why,
        };
        self.put(None, letter);
    }

    /// A task was moved to this scope, and takes its letters along.
    pub(crate) fn move_to(&self, task: TaskId, scope: &Scope) {
        let mut state = self.lock();
        let letters = state.letters.values_mut().map(|it| &mut it.letter);
        for letter in letters.filter(|letter| letter.to == task) {
            letter.scope = scope.clone();
        }
    }

    pub(crate) fn list(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        let state = self.lock();
        let letters = state.letters.values().map(|it| &it.letter);
        letters.filter(|it| filter.fits(it)).cloned().collect()
    }

    /// How many letters were too large, or went for newer ones.
    pub(crate) fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// Takes a letter out, to deliver it again. `Err` names an older one of the same sender to the
    /// same task, which has to go first.
    pub(crate) fn take(&self, id: MessageId) -> Option<Result<(u64, DeadLetter), MessageId>> {
        let mut state = self.lock();
        let mut all = state.letters.iter().map(|(place, it)| (*place, &it.letter));
        let (place, wanted) = all.find(|(_, letter)| letter.id == id)?;
        let is_older = |letter: &&DeadLetter| {
            (letter.to, letter.from) == (wanted.to, wanted.from) && letter.number < wanted.number
        };
        let mut letters = state.letters.values().map(|it| &it.letter);
        if let Some(older) = letters.find(is_older) {
            return Some(Err(older.id));
        }
        let taken = state.letters.remove(&place)?;
        state.bytes -= taken.bytes;
        Some(Ok((place, taken.letter)))
    }

    /// Puts a letter back that could not be delivered.
    pub(crate) fn put_back(&self, place: u64, letter: DeadLetter) {
        self.put(Some(place), letter);
    }

    /// Keeps a letter at its place, or behind all others. What goes for it is dropped outside of
    /// the lock.
    fn put(&self, place: Option<u64>, letter: DeadLetter) {
        let size = size_of(&letter.body, self.bounds.bytes_max);
        let mut state = self.lock();
        let Some(bytes) = size else {
            state.forgotten += 1;
            return;
        };
        let place = place.unwrap_or(state.newest + 1);
        state.newest = state.newest.max(place);
        let gone = state.put(place, Weighed { letter, bytes }, self.bounds);
        drop(state);
        drop(gone);
    }

    /// Drops the letters that are meant, and tells how many those were.
    pub(crate) fn clear(&self, filter: &DeadFilter) -> usize {
        let mut state = self.lock();
        let dropped = state
            .letters
            .extract_if(.., |_, it| filter.fits(&it.letter));
        let dropped: Vec<Weighed> = dropped.map(|(_, it)| it).collect();
        state.bytes -= dropped.iter().map(|it| it.bytes).sum::<usize>();
        drop(state);
        dropped.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps a letter; gives those that went for it.
    fn put(&mut self, place: u64, letter: Weighed, bounds: DeadBounds) -> Vec<Weighed> {
        self.bytes += letter.bytes;
        self.letters.insert(place, letter);
        let mut gone = Vec::new();
        while self.letters.len() > bounds.letters_max || self.bytes > bounds.bytes_max {
            let Some((_, oldest)) = self.letters.pop_first() else {
                break;
            };
            self.forgotten += 1;
            self.bytes -= oldest.bytes;
            gone.push(oldest);
        }
        gone
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("DeadLetters")
            .field("kept", &state.letters.len())
            .field("bytes", &state.bytes)
            .field("forgotten", &state.forgotten)
            .finish_non_exhaustive()
    }
}
