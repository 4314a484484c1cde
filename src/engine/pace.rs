//! How often the progress of an attempt is told: at once, then at most once an interval.
//!
//! # Invariants
//! 1. What is held is the newest note; it is told at the end of the interval, or before the end of
//!    the attempt, or when that is asked to stop: it may be abandoned without another word.
//! 2. At most one timer is set per attempt, and it is called off with the last word of that.
//!
//! *Not here*: timers, and telling (`actors`).

use std::time::Duration;

use tokio::sync::oneshot;

use crate::kernel::{Epoch, Payload, Timestamp};

/// The pace of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    epoch: Epoch,
    last: Option<Timestamp>,
    held: Option<Payload>,
    /// Called off when this is dropped.
    timer: Option<oneshot::Sender<()>>,
}

/// When what is held is to be told.
#[derive(Debug)]
pub(crate) enum Due {
    /// Now.
    Now,
    /// Then, and nobody watches for that yet. The receiver fails when nobody needs to any more.
    At(Timestamp, oneshot::Receiver<()>),
    /// When the timer that is set rings.
    Later,
}

impl Pace {
    pub(super) fn of(epoch: Epoch) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// Holds a note in place of what is held.
    pub(crate) fn offer(&mut self, note: Payload, now: Timestamp, interval: Duration) -> Due {
        self.held = Some(note);
        if self.timer.is_some() {
            return Due::Later;
        }
        match self.last.map(|last| last.after(interval)) {
            Some(due) if due > now => {
                let (timer, off) = oneshot::channel();
                self.timer = Some(timer);
                Due::At(due, off)
            }
            Some(_) | None => {
                self.last = Some(now);
                Due::Now
            }
        }
    }

    /// What is held, to be told at once, and no timer for it any more.
    pub(crate) fn take(&mut self, epoch: Epoch) -> Option<Payload> {
        if self.epoch != epoch {
            return None;
        }
        self.timer = None;
        self.held.take()
    }

    /// The timer has rung: what is held, to be told at once.
    pub(crate) fn ring(&mut self, epoch: Epoch, now: Timestamp) -> Option<Payload> {
        if self.epoch != epoch {
            return None;
        }
        self.timer = None;
        self.last = Some(now);
        self.held.take()
    }
}
