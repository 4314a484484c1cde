//! Makes an actor panic on its next turn, for tests of the guard.
//!
//! *Not here*: what follows (`guard`).

use std::sync::atomic::{AtomicU8, Ordering};

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
    /// The publisher, with events in hand of which none is told.
    Publisher,
    /// The guard, when it starts the others again from a store that it holds.
    Guard,
    /// The manager as it is started again.
    Start,
}

/// Which parts shall fail.
#[derive(Debug, Default)]
pub(super) struct Sabotage(AtomicU8);

impl Part {
    const fn bit(self) -> u8 {
        match self {
            Self::Manager => 1,
            Self::Writer => 2,
            Self::Carrier => 4,
            Self::Publisher => 8,
            Self::Guard => 16,
            Self::Start => 32,
            Self::Shown => 64,
        }
    }
}

impl Sabotage {
    /// Whether this part is to be broken.
    pub(super) fn awaits(&self, part: Part) -> bool {
        self.0.load(Ordering::Acquire) & part.bit() != 0
    }

    /// Panics if this part was to be broken; it works again afterwards.
    pub(super) fn strike(&self, part: Part) {
        let bits = self.0.fetch_and(!part.bit(), Ordering::AcqRel);
        assert!(bits & part.bit() == 0, "{part:?} was told to fail");
    }
}

impl Hub {
    /// Lets this part panic on its next turn, which comes when it has something to do.
    pub(crate) fn break_part(&self, part: Part) {
        self.sabotage.0.fetch_or(part.bit(), Ordering::AcqRel);
    }
}
