//! Dead letters: messages that were accepted and that nobody has read.
//!
//! # Invariants
//! 1. The newest letters are kept: at most so many, and so many bytes of JSON. How many were not,
//!    or not any more, is counted.
//! 2. A letter is in the scope in which its task is, or was at its end.
//! 3. Letters of one sender to one task stand in the order in which they were sent; one that is on
//!    its way to its task has its place until it is delivered, and does not count meanwhile.
//!
//! *Not here*: delivering again (the public face). Letters are not durable: they end with their
//! manager.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// How many of them are on their way.
    taken: usize,
    /// Of the others.
    bytes: usize,
    newest: u64,
    forgotten: u64,
}

struct Weighed {
    letter: Arc<DeadLetter>,
    bytes: usize,
    /// Whether it is on its way to its task.
    is_taken: bool,
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
        self.put(letter);
    }

    /// A task was moved to this scope, and takes its letters along.
    pub(crate) fn move_to(&self, task: TaskId, scope: &Scope) {
        let mut state = self.lock();
        let letters = state.letters.values_mut().map(|it| &mut it.letter);
        for letter in letters.filter(|letter| letter.to == task) {
            Arc::make_mut(letter).scope = scope.clone();
        }
    }

    pub(crate) fn list(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        let state = self.lock();
        let letters = state.letters.values().filter(|it| !it.is_taken);
        let meant = letters.filter(|it| filter.fits(&it.letter));
        meant.map(|it| DeadLetter::clone(&it.letter)).collect()
    }

    /// How many letters were too large, or went for newer ones.
    pub(crate) fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// Takes a letter, to deliver it again, with its place. `Err` names an older one of the same
    /// sender to the same task, which has to go first.
    pub(crate) fn take(&self, id: MessageId) -> Option<Result<(u64, Arc<DeadLetter>), MessageId>> {
        let mut state = self.lock();
        let mut free = state.letters.iter().filter(|(_, it)| !it.is_taken);
        let (place, wanted) = free.find(|(_, it)| it.letter.id == id)?;
        let (place, letter, bytes) = (*place, Arc::clone(&wanted.letter), wanted.bytes);
        let is_older = |it: &&Arc<DeadLetter>| {
            (it.to, it.from) == (letter.to, letter.from) && it.number < letter.number
        };
        let mut letters = state.letters.values().map(|it| &it.letter);
        if let Some(older) = letters.find(is_older) {
            return Some(Err(older.id));
        }
        state.letters.get_mut(&place)?.is_taken = true;
        state.taken += 1;
        state.bytes -= bytes;
        Some(Ok((place, letter)))
    }

    /// A letter that was taken is delivered.
    pub(crate) fn delivered(&self, place: u64) {
        let mut state = self.lock();
        let gone = state.letters.remove(&place);
        state.taken -= usize::from(gone.is_some());
        drop(state);
        drop(gone);
    }

    /// A letter that was taken could not be delivered, and is kept; others may go for it.
    pub(crate) fn put_back(&self, place: u64) {
        let mut state = self.lock();
        let Some(letter) = state.letters.get_mut(&place) else {
            return;
        };
        letter.is_taken = false;
        state.bytes += letter.bytes;
        state.taken -= 1;
        let gone = state.trim(self.bounds, Some(place));
        drop(state);
        drop(gone);
    }

    /// Keeps a letter behind all others. What goes for it is dropped outside of the lock.
    fn put(&self, letter: DeadLetter) {
        let size = size_of(&letter.body, self.bounds.bytes_max);
        let mut state = self.lock();
        let Some(bytes) = size else {
            state.forgotten += 1;
            return;
        };
        state.newest += 1;
        state.bytes += bytes;
        let place = state.newest;
        let letter = Weighed {
            letter: Arc::new(letter),
            bytes,
            is_taken: false,
        };
        state.letters.insert(place, letter);
        let gone = state.trim(self.bounds, None);
        drop(state);
        drop(gone);
    }

    /// Drops the letters that are meant, and tells how many those were.
    pub(crate) fn clear(&self, filter: &DeadFilter) -> usize {
        let mut state = self.lock();
        let is_meant = |it: &Weighed| !it.is_taken && filter.fits(&it.letter);
        let dropped = state.letters.extract_if(.., |_, it| is_meant(it));
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
    /// Takes out the oldest letters, but for this one, until the others are within their bounds.
    fn trim(&mut self, bounds: DeadBounds, but: Option<u64>) -> Vec<Weighed> {
        let mut gone = Vec::new();
        while self.letters.len() - self.taken > bounds.letters_max || self.bytes > bounds.bytes_max
        {
            let may_go = |(place, it): &(&u64, &Weighed)| !it.is_taken && Some(**place) != but;
            let Some((place, _)) = self.letters.iter().find(may_go) else {
                break;
            };
            let place = *place;
            if let Some(oldest) = self.letters.remove(&place) {
                self.forgotten += 1;
                self.bytes -= oldest.bytes;
                gone.push(oldest);
            }
        }
        gone
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("DeadLetters")
            .field("kept", &state.letters.len())
            .field("taken", &state.taken)
            .field("bytes", &state.bytes)
            .field("forgotten", &state.forgotten)
            .finish_non_exhaustive()
    }
}
