//! Now, ids and dice: the one source of what is not determined.
//!
//! # Invariants
//! 1. Time here never goes backwards and does not follow jumps of the wall clock: it is the wall
//!    time of the start plus a monotonic clock.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use uuid::Uuid;

use crate::kernel::{TaskId, Timestamp};

#[derive(Debug)]
pub(crate) struct Clock {
    wall_micros: u64,
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let wall_micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        Self {
            wall_micros,
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.wall_micros).after(self.start.elapsed())
    }

    /// The moment of this timestamp on tokio's clock.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let after_start = at.since(Timestamp::from_micros(self.wall_micros));
        // A deadline beyond what the clock can hold is as good as a year away.
        let year = Duration::from_hours(365 * 24);
        self.start
            .checked_add(after_start)
            .unwrap_or_else(|| self.start + year)
    }

    pub(crate) fn new_id() -> TaskId {
        Uuid::now_v7().into()
    }

    pub(crate) fn dice() -> u64 {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        high ^ low
    }
}
