//! One reader of the feed, at its own pace.
//!
//! # Invariants
//! 1. `seq` is the last number looked at: delivered, filtered or missed. `chunk` continues it.
//! 2. `waits` is true while `wait` stands among the waiters or holds a signal that was not taken.
//!
//! *Not here*: which snapshot goes in front (the public face).

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::futures::OwnedNotified;
use tokio::task::coop;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Feed;
use super::ring::Next;
use crate::kernel::{Event, Filter, Record, Seq};

/// Most events taken from the ring under one lock: enough to make the lock cheap per event, few
/// enough to keep the publisher's wait under a microsecond.
const CHUNK_MAX: usize = 64;

/// One thing that a subscription tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem {
    /// How things stood at a number; the events after that number follow.
    Snapshot {
        /// The number of the newest event that is part of it.
        seq: Seq,
        /// The live tasks that the filter lets through.
        records: Vec<Arc<Record>>,
    },
    /// Something happened.
    Event(Arc<Event>),
    /// The subscriber was too slow, or began too far back: events are gone from the feed. From
    /// here on the numbers are without a gap again.
    Lagged {
        /// How many numbers of the log are left out.
        missed: u64,
        /// The number that is looked at next.
        resume_at: Seq,
    },
    /// The manager has stopped: this is the last item.
    Stopped,
}

/// A stream of events after a number, without a gap or with a [`FeedItem::Lagged`] for each gap.
///
/// It ends after [`FeedItem::Stopped`] when the manager has shut down, or when the token of
/// [`Subscription::until`] is cancelled. One that is not read costs nobody anything.
pub struct Subscription {
    feed: Arc<Feed>,
    filter: Filter,
    seq: Seq,
    snapshot: Option<FeedItem>,
    chunk: VecDeque<Arc<Event>>,
    wait: Pin<Box<OwnedNotified>>,
    waits: bool,
    /// Whether the last item was told.
    has_ended: bool,
    is_counted: bool,
    until: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Subscription {
    pub(super) fn new(feed: Arc<Feed>, after: Seq, filter: Filter) -> Self {
        let wait = Box::pin(Arc::clone(&feed.changed).notified_owned());
        Self {
            feed,
            filter,
            seq: after,
            snapshot: None,
            chunk: VecDeque::new(),
            wait,
            waits: false,
            has_ended: false,
            is_counted: true,
            until: None,
        }
    }

    pub(super) fn uncounted(mut self) -> Self {
        self.is_counted = false;
        self
    }

    /// Puts a snapshot in front and goes on after its number.
    pub(crate) fn with_snapshot(mut self, seq: Seq, records: Vec<Arc<Record>>) -> Self {
        self.chunk.clear();
        self.seq = seq;
        self.snapshot = Some(FeedItem::Snapshot { seq, records });
        self
    }

    /// Ends the subscription when this token is cancelled, whatever is left to be told then.
    pub fn until(mut self, token: CancellationToken) -> Self {
        self.until = Some(Box::pin(token.cancelled_owned()));
        self
    }

    /// The next item, or `None` when nothing more will come.
    ///
    /// # Cancel safety
    /// A dropped future has taken nothing; the next call goes on where it was.
    pub async fn next(&mut self) -> Option<FeedItem> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The next item, or `None` when everything up to this number was looked at: to catch up with
    /// what is already decided, and with no more. It waits for numbers that are still to be told.
    ///
    /// # Cancel safety
    /// A dropped future has taken nothing; the next call goes on where it was.
    pub async fn next_by(&mut self, seq: Seq) -> Option<FeedItem> {
        // Each change of the feed wakes it, also one that its filter leaves out.
        poll_fn(|cx| self.poll_up_to(Some(seq), cx)).await
    }

    /// The last number that was looked at, also of events that the filter left out: to subscribe
    /// after this number later is to miss nothing and to see nothing twice.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// What can be told, up to this number, from what was already taken from the ring.
    fn take_item(&mut self, last: Option<Seq>) -> Option<FeedItem> {
        if let Some(snapshot) = self.snapshot.take() {
            return Some(snapshot);
        }
        let is_due = |event: &mut Arc<Event>| last.is_none_or(|last| event.seq <= last);
        while let Some(event) = self.chunk.pop_front_if(is_due) {
            self.seq = event.seq;
            if self.filter.matches_event(&event) {
                return Some(FeedItem::Event(event));
            }
        }
        None
    }

    fn skip_to(&mut self, resume_at: Seq) -> FeedItem {
        let missed = resume_at.0 - 1 - self.seq.0;
        self.seq = Seq(resume_at.0 - 1);
        #[cfg(feature = "metrics")]
        crate::meter::lagged(missed);
        FeedItem::Lagged { missed, resume_at }
    }

    /// The next item, or `None` when all up to this number was looked at or nothing more will come.
    fn poll_up_to(&mut self, last: Option<Seq>, cx: &mut Context<'_>) -> Poll<Option<FeedItem>> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            // Polled no more: it stays ended.
            self.until = None;
            self.has_ended = true;
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        loop {
            // A reader that never catches up still lets its thread do other work.
            let budget = ready!(coop::poll_proceed(cx));
            if let Some(item) = self.take_item(last) {
                budget.made_progress();
                return Poll::Ready(Some(item));
            }
            if last.is_some_and(|last| self.seq >= last) {
                return Poll::Ready(None);
            }
            match self.refill() {
                Next::Copied => budget.made_progress(),
                Next::Gone(first) => return Poll::Ready(Some(self.skip_to(first))),
                Next::End => {
                    self.has_ended = true;
                    return Poll::Ready(Some(FeedItem::Stopped));
                }
                Next::Nothing if self.waits => {
                    ready!(self.wait.as_mut().poll(cx));
                    self.waits = false;
                }
                // It hears every signal from here on, and looks once more before it sleeps.
                Next::Nothing => {
                    self.wait
                        .set(Arc::clone(&self.feed.changed).notified_owned());
                    self.waits = true;
                }
            }
        }
    }

    /// Looks into the ring for more.
    fn refill(&mut self) -> Next {
        let ring = self.feed.read();
        ring.copy_after(self.seq, CHUNK_MAX, &mut self.chunk)
    }
}

impl Stream for Subscription {
    type Item = FeedItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FeedItem>> {
        self.poll_up_to(None, cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.is_counted {
            self.feed.leave();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("seq", &self.seq)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
