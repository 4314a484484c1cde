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

/// Those who wait, the first one first.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: VecDeque<(u64, Waker)>,
    entered: u64,
}

impl Waiters {
    pub(super) const fn none() -> Self {
        Self {
            list: VecDeque::new(),
            entered: 0,
        }
    }

    /// Takes out the first one, to be woken.
    pub(super) fn next(&mut self) -> Option<Waker> {
        self.list.pop_front().map(|(_, waker)| waker)
    }

    /// Takes out all.
    pub(super) fn all(&mut self) -> VecDeque<(u64, Waker)> {
        std::mem::take(&mut self.list)
    }

    /// Enters it, or renews its waker where it stands already; gives the one before.
    fn enter(&mut self, entry: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        if let Some(at) = self.place(*entry) {
            return Some(std::mem::replace(&mut self.list[at].1, waker));
        }
        self.entered += 1;
        *entry = Some(self.entered);
        self.list.push_back((self.entered, waker));
        None
    }

    fn leave(&mut self, entry: Option<u64>) -> Option<Waker> {
        let at = self.place(entry)?;
        self.list.remove(at).map(|(_, waker)| waker)
    }

    /// Entries ascend, as they are taken out anywhere and put in at the end.
    fn place(&self, entry: Option<u64>) -> Option<usize> {
        let by_entry = |(it, _): &(u64, Waker)| *it;
        self.list.binary_search_by_key(&entry?, by_entry).ok()
    }
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
    fn leave(&mut self, state: &mut State, has_none: bool) -> [Option<Waker>; 2] {
        let Some(entry) = self.entry.take() else {
            return [None, None];
        };
        let own = state.waiters.leave(Some(entry));
        let hands_on = own.is_none() && has_none && !state.queue.is_empty();
        let next = hands_on.then(|| state.waiters.next()).flatten();
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
        let mut state = inbox.lock();
        let mut found = me.look(&mut state);
        if found.is_pending() {
            drop(state);
            let waker = cx.waker().clone();
            state = inbox.lock();
            found = me.look(&mut state);
            if found.is_pending() {
                let before = state.waiters.enter(&mut me.entry, waker);
                drop(state);
                drop(before);
                return Poll::Pending;
            }
        }
        let taken = ready!(found);
        let [own, next] = me.leave(&mut state, taken.is_none());
        drop(state);
        drop(own);
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
