//! Now, ids and dice: the one source of what is not determined.
//!
//! # Invariants
//! 1. Time here never goes backwards and does not follow jumps of the wall clock: it is the wall
//!    time of the start plus a monotonic clock.
//! 2. Each id of this process is greater than the one before.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use uuid::Uuid;

use crate::kernel::{TaskId, Timestamp};
use crate::store::Owner;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall_micros: u64,
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = wall();
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

    /// A UUID of version 7: milliseconds, their 4,096th parts, 62 bits of noise (RFC 9562, 6.2,
    /// method 3). The noise is spread from one throw per process, as each costs a call of the
    /// system: ids do not repeat, but who knows some can guess others. They are no secrets.
    pub(crate) fn new_id() -> TaskId {
        let wall = wall();
        let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX >> 16);
        let part = (u64::from(wall.subsec_nanos() % 1_000_000) << 12) / 1_000_000;
        let now = millis << 12 | part;
        // More than 4,096 ids in a millisecond run ahead of the time.
        let later = |last: u64| Some(now.max(last + 1));
        let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        let at = last.map_or(now, |last| now.max(last + 1));
        id_at(at)
    }

    /// The next id after those before, for what is made often: it reads no clock, so its time is
    /// that of the newest other id, or a little later.
    #[inline]
    pub(crate) fn next_id() -> TaskId {
        match LAST.fetch_add(1, Ordering::Relaxed) {
            0 => Self::new_id(),
            last => id_at(last + 1),
        }
    }

    /// An owner of leases that nobody else is.
    pub(super) fn new_owner() -> Owner {
        Owner::from_u128(Uuid::new_v4().as_u128())
    }

    pub(crate) fn dice() -> u64 {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        high ^ low
    }
}

/// The time of the newest id, in 4,096th parts of milliseconds.
static LAST: AtomicU64 = AtomicU64::new(0);
static NOISE: LazyLock<u64> = LazyLock::new(Clock::dice);

#[inline]
fn id_at(at: u64) -> TaskId {
    TaskId::from_u128(version_7(at, mixed(at ^ *NOISE)))
}

fn wall() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// The bits of an id of this time, in 4,096th parts of milliseconds.
const fn version_7(at: u64, noise: u64) -> u128 {
    let (millis, part) = ((at >> 12) as u128, (at & 0xfff) as u128);
    millis << 80 | 7 << 76 | part << 64 | 0b10 << 62 | (noise >> 2) as u128
}

/// Spreads each bit over all others (the finalizer of `SplitMix64`).
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_and_are_uuids_of_version_7_with_the_time_in_front() {
        let before = wall().as_millis();
        let id = |number: u32| match number % 2 {
            0 => Clock::new_id(),
            _ => Clock::next_id(),
        };
        let ids: Vec<_> = (0..10_000).map(id).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        for id in &ids {
            let uuid = Uuid::from_u128(id.as_u128());
            assert_eq!(uuid.get_version_num(), 7);
            assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        }
        let first = ids[0].as_u128() >> 80;
        assert!(first >= before && first < before + 60_000, "{first}");
        let noises = ids.iter().map(|id| id.as_u128() & (u128::MAX >> 66));
        let different: std::collections::BTreeSet<_> = noises.collect();
        assert_eq!(different.len(), ids.len());
    }
}
