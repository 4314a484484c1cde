//! Receivers that wait for a message.
//!
//! # Invariants
//! 1. A receiver looks and enters the list in one hold of the inbox's lock, and a sender queues and
//!    takes one out in one: a message never lies beside a receiver that sleeps.
//! 2. One that was taken out and is dropped hands its wake on, if a message waits.
//! 3. Wakers are cloned, woken and dropped outside of the lock: they are foreign code.
//!
//! *Not here*: the queue (`state`).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop;

use super::state::{State, Taken};
use super::{Inbox, Message};

/// What a receiver may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// Take a message, or wait for one.
    Wait,
    /// Take a message that is there.
    Take,
    /// Nothing: its attempt is over.
    Nothing,
}

/// Those who wait, the first one first. Mostly it is one at most, which takes no room of its own.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    first: Option<(u64, Waker)>,
    /// Those behind it; none stands here when there is no first one.
    #[expect(
        clippy::box_collection,
        reason = "nearly no inbox has them: a pointer is less"
    )]
    others: Option<Box<VecDeque<(u64, Waker)>>>,
    entered: u64,
}

impl Waiters {
    pub(super) const fn none() -> Self {
        Self {
            first: None,
            others: None,
            entered: 0,
        }
    }

    /// Takes out the first one, to be woken.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Waker> {
        let (_, waker) = self.first.take()?;
        self.first = self.others.as_mut().and_then(|others| others.pop_front());
        Some(waker)
    }

    /// Takes out all.
    pub(super) fn all(&mut self) -> Vec<Waker> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Enters it, or renews its waker where it stands already; gives the one before.
    fn enter(&mut self, entry: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        if let Some(stands) = entry.and_then(|entry| self.stands(entry)) {
            return Some(std::mem::replace(&mut stands.1, waker));
        }
        self.entered += 1;
        *entry = Some(self.entered);
        let entered = (self.entered, waker);
        if self.first.is_none() {
            self.first = Some(entered);
        } else {
            self.others.get_or_insert_default().push_back(entered);
        }
        None
    }

    fn leave(&mut self, entry: u64) -> Option<Waker> {
        if self.first.as_ref().is_some_and(|(it, _)| *it == entry) {
            return self.next();
        }
        let others = self.others.as_mut()?;
        let at = place(others, entry)?;
        others.remove(at).map(|(_, waker)| waker)
    }

    fn stands(&mut self, entry: u64) -> Option<&mut (u64, Waker)> {
        if self.first.as_ref().is_some_and(|(it, _)| *it == entry) {
            return self.first.as_mut();
        }
        let others = self.others.as_mut()?;
        let at = place(others, entry)?;
        others.get_mut(at)
    }
}

/// Entries ascend, as they are taken out anywhere and put in at the end.
fn place(others: &VecDeque<(u64, Waker)>, entry: u64) -> Option<usize> {
    others.binary_search_by_key(&entry, |(it, _)| *it).ok()
}

/// Wakes those who were taken out, outside of the lock.
pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// Takes the next message of an inbox, or waits for it.
pub(super) struct Recv<'a, F> {
    inbox: &'a Inbox,
    may: F,
    /// Where it stands, or stood, among the waiters.
    entry: Option<u64>,
}

impl<'a, F: Fn() -> May + Unpin> Recv<'a, F> {
    pub(super) fn new(inbox: &'a Inbox, may: F) -> Self {
        let entry = None;
        Self { inbox, may, entry }
    }

    /// Looks under the lock: who may not read when a message comes in does not get it.
    #[inline]
    fn look(&self, state: &mut State) -> Poll<Option<Taken>> {
        match (self.may)() {
            May::Nothing => Poll::Ready(None),
            may @ (May::Take | May::Wait) => match state.pop() {
                Some(taken) => Poll::Ready(Some(taken)),
                None if state.is_closed || may == May::Take => Poll::Ready(None),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> Recv<'_, F> {
    /// Leaves the waiters: gives its own waker, if it was not woken, and otherwise the one that is
    /// woken in its place, if it `has_none` and a message waits.
    #[inline]
    fn leave(&mut self, state: &mut State, has_none: bool) -> [Option<Waker>; 2] {
        let Some(entry) = self.entry.take() else {
            return [None, None];
        };
        let Some(held) = state.known() else {
            return [None, None];
        };
        let own = held.waiters.leave(entry);
        let hands_on = own.is_none() && has_none && !held.queue.is_empty();
        let next = hands_on.then(|| held.waiters.next()).flatten();
        [own, next]
    }
}

impl<F: Fn() -> May + Unpin> Future for Recv<'_, F> {
    type Output = Option<Message>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let me = self.get_mut();
        let inbox = me.inbox;
        // A body that does nothing but receive still lets its thread do other work.
        let budget = ready!(coop::poll_proceed(cx));
        let mut waker = None;
        let (taken, [own, next], unused) = loop {
            let mut state = inbox.lock();
            match (me.look(&mut state), waker.take()) {
                (Poll::Ready(taken), unused) => {
                    let left = me.leave(&mut state, taken.is_none());
                    break (taken, left, unused);
                }
                (Poll::Pending, None) => {
                    drop(state);
                    waker = Some(cx.waker().clone());
                }
                (Poll::Pending, Some(waker)) => {
                    let before = state.held().waiters.enter(&mut me.entry, waker);
                    drop(state);
                    drop(before);
                    return Poll::Pending;
                }
            }
        };
        drop((own, unused));
        wake(next);
        budget.made_progress();
        Poll::Ready(taken.map(|taken| inbox.read(taken)))
    }
}

impl<F> Drop for Recv<'_, F> {
    fn drop(&mut self) {
        if self.entry.is_some() {
            let mut state = self.inbox.lock();
            let [own, next] = self.leave(&mut state, true);
            drop(state);
            drop(own);
            wake(next);
        }
    }
}
