//! The newest events, in the order of their numbers.
//!
//! # Invariants
//! 1. The numbers in `events` are consecutive and end with `newest`.
//! 2. At most `capacity` events are held, and those beside the newest hold at most `bytes_max`
//!    bytes of payloads.
//!
//! *Not here*: locks and waiting.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kernel::{Event, Seq};

/// What comes after a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At least one event, which was copied.
    Copied,
    /// The events up to before this number are gone.
    Gone(Seq),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    capacity: usize,
    /// Of the payloads of the events here, and the most of them beside one event.
    bytes: usize,
    bytes_max: usize,
    newest: Seq,
    is_closed: bool,
}

impl Ring {
    pub(super) fn new(newest: Seq, capacity: usize, bytes_max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            capacity: capacity.max(1),
            bytes: 0,
            bytes_max,
            newest,
            is_closed: false,
        }
    }

    pub(super) const fn newest(&self) -> Seq {
        self.newest
    }

    pub(super) fn oldest(&self) -> Option<Seq> {
        self.events.front().map(|event| event.seq)
    }

    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn extend(&mut self, events: &[Arc<Event>]) {
        if self.is_closed {
            return;
        }
        for event in events {
            self.push(event);
        }
    }

    fn push(&mut self, event: &Arc<Event>) {
        if event.seq <= self.newest {
            return;
        }
        if event.seq != self.newest.next() {
            self.events.clear();
            self.bytes = 0;
        }
        self.bytes += event.what.payload_bytes();
        while (self.events.len() >= self.capacity || self.bytes > self.bytes_max)
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= oldest.what.payload_bytes();
        }
        self.events.push_back(Arc::clone(event));
        self.newest = event.seq;
    }

    /// Copies the events that come after `after`, at most `max`, which is not zero.
    pub(super) fn copy_after(
        &self,
        after: Seq,
        max: usize,
        into: &mut VecDeque<Arc<Event>>,
    ) -> Next {
        if after >= self.newest {
            return if self.is_closed {
                Next::End
            } else {
                Next::Nothing
            };
        }
        let first = self.oldest().unwrap_or_else(|| self.newest.next());
        if after.next() < first {
            return Next::Gone(first);
        }
        // Invariant 1: an event lies as far from the front as its number is from the first one.
        let skip = usize::try_from(after.0 + 1 - first.0).expect("invariant 2: it is in the ring");
        into.extend(self.events.iter().skip(skip).take(max).cloned());
        Next::Copied
    }
}
