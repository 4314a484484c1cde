//! Makes an actor panic on its next turn, or at one of the points that they pass, for tests of the
//! guard.
//!
//! *Not here*: what follows (`guard`).

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::hub::Hub;

/// Where the manager can be broken, along the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The manager, with requests in hand of which none is decided.
    Manager,
    /// Who writes, with decisions in hand of which none is durable: the writer, or the manager with
    /// a store that never waits.
    Writer,
    /// Who writes, with decisions that are durable and of which nothing has followed.
    Carrier,
    /// Who writes, with decisions that are shown and of which nothing else has followed.
    Shown,
    /// Who writes, with decisions that are told and of whose effects some are carried out.
    Effects,
    /// The publisher, with events in hand of which none is told.
    Publisher,
    /// The guard, when it starts the others again from a store that it holds.
    Guard,
    /// The manager as it is started again.
    Start,
}

/// Which parts shall fail, and at which of the points that they pass.
#[derive(Debug, Default)]
pub(super) struct Sabotage {
    parts: AtomicU8,
    /// How many points are passed before each failure, the last one first.
    points: Mutex<Vec<u64>>,
}

impl Part {
    /// Whether requests pass it, and not only those who start again.
    const fn is_on_the_way(self) -> bool {
        !matches!(self, Self::Guard | Self::Start)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Manager => 1,
            Self::Writer => 2,
            Self::Carrier => 4,
            Self::Publisher => 8,
            Self::Guard => 16,
            Self::Start => 32,
            Self::Shown => 64,
            Self::Effects => 128,
        }
    }
}

impl Sabotage {
    /// Whether this part is to be broken.
    pub(super) fn awaits(&self, part: Part) -> bool {
        self.parts.load(Ordering::Acquire) & part.bit() != 0
    }

    /// Panics if this part, or whatever passes this point, was to be broken; it works again
    /// afterwards.
    pub(super) fn strike(&self, part: Part) {
        let bits = self.parts.fetch_and(!part.bit(), Ordering::AcqRel);
        let is_meant = bits & part.bit() != 0 || part.is_on_the_way() && self.is_point();
        assert!(!is_meant, "{part:?} was told to fail");
    }

    /// Passes a point, and tells whether it is one to fail at.
    fn is_point(&self) -> bool {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        match points.last_mut() {
            None => false,
            Some(0) => points.pop().is_some(),
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }
}

impl Hub {
    /// Lets this part panic on its next turn, which comes when it has something to do.
    pub(crate) fn break_part(&self, part: Part) {
        self.sabotage.parts.fetch_or(part.bit(), Ordering::AcqRel);
    }

    /// Lets whatever part comes to a point panic after so many were passed, again and again, and
    /// forgets what was asked of this kind before.
    pub(crate) fn break_after(&self, points: impl IntoIterator<Item = u64>) {
        let mut points: Vec<_> = points.into_iter().collect();
        points.reverse();
        let kept = &self.sabotage.points;
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = points;
    }
}
