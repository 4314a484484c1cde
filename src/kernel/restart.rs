//! Whether a long-lived task is started again after its body ended, and when: functions of policy,
//! history and dice.
//!
//! # Invariants
//! 1. A task is never restarted more often than its intensity within the period.
//! 2. Both are within their bounds, also those of a policy that was stored.
//!
//! *Not here*: waiting for the delay (`supervisor/alarm.rs`), attempts of a task that has an end of
//! its own (`retry`).

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::retry::Retry;
use super::time::Timestamp;

/// Most restarts within the period of a policy.
pub const INTENSITY_MAX: u32 = 100;
/// The shortest period within which restarts are counted: a shorter one would count none, and a
/// body that fails at once would be started for ever.
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// After which ends of its body a long-lived task is started again, how often at most, and after
/// which delay.
///
/// More than `intensity` restarts within the period are a failure that says so. A cancel, a limit
/// of the whole task and a failure that is [permanent](crate::Failure::permanent), also by its
/// classifier, end the task whatever the policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    after: After,
    #[serde(deserialize_with = "capped")]
    intensity: u32,
    #[serde(deserialize_with = "not_too_short")]
    period: Duration,
    delays: Retry,
}

/// The ends after which a restart follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum After {
    Any,
    Bad,
    Nothing,
}

impl RestartPolicy {
    /// It is started again whenever its body ends, also with a value: at most three times a minute,
    /// at once.
    pub const fn permanent() -> Self {
        Self {
            after: After::Any,
            intensity: 3,
            period: Duration::from_mins(1),
            delays: Retry::never(),
        }
    }

    /// It is started again when its body fails, panics, is lost or takes too long; a value
    /// completes it. Otherwise as [`RestartPolicy::permanent`].
    pub const fn transient() -> Self {
        let after = After::Bad;
        Self {
            after,
            ..Self::permanent()
        }
    }

    /// It is never started again, as without a policy.
    pub const fn temporary() -> Self {
        let after = After::Nothing;
        Self {
            after,
            ..Self::permanent()
        }
    }

    /// Sets how many restarts there are at most (100 is the most) within which period (100 ms is
    /// the shortest).
    pub fn intensity(mut self, restarts: u32, period: Duration) -> Self {
        self.intensity = restarts.min(INTENSITY_MAX);
        self.period = period.max(PERIOD_MIN);
        self
    }

    /// Sets the delay before each restart.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delays = Retry::fixed(0, delay).cap(delay);
        self
    }

    /// Lets the delay begin with `first` and double with each further restart within the period, up
    /// to `longest`, with full jitter.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.delays = Retry::exponential(0).delay(first).cap(longest);
        self
    }

    /// How many restarts there are at most, and within which period.
    pub const fn most(&self) -> (u32, Duration) {
        (self.intensity, self.period)
    }

    /// Whether a value does not end it either.
    pub const fn is_permanent(&self) -> bool {
        matches!(self.after, After::Any)
    }

    /// Whether it restarts nothing.
    pub const fn is_temporary(&self) -> bool {
        matches!(self.after, After::Nothing)
    }

    /// The delay before the restart that is the `number`th within the period; the same dice give
    /// the same delay.
    pub fn delay_of(&self, number: u32, dice: u64) -> Duration {
        self.delays.delay_after(number, dice)
    }

    /// The delay before the restart that is the `number`th within the period, before jitter.
    pub fn longest_delay_of(&self, number: u32) -> Duration {
        self.delays.longest_delay_after(number)
    }

    /// Forgets the restarts that no longer count, and tells whether one more is allowed.
    pub(super) fn allows(&self, now: Timestamp, restarts: &mut Vec<Timestamp>) -> bool {
        for at in restarts.iter_mut() {
            // Where the clock went back, as it may between two processes, they count as of now.
            *at = (*at).min(now);
        }
        restarts.retain(|at| at.after(self.period) > now);
        restarts.len() < self.intensity as usize
    }

    /// Why there is no further restart, given how the body ended.
    pub(super) fn used_up(&self, ended: &str) -> String {
        let times = match self.intensity {
            0 => "its policy allows no restart".to_owned(),
            1 => format!("it was restarted once within {:?} and no more", self.period),
            many => format!(
                "it was restarted {many} times within {:?} and no more",
                self.period
            ),
        };
        format!("{times}; then: {ended}")
    }
}

fn capped<'de, D: Deserializer<'de>>(stored: D) -> Result<u32, D::Error> {
    u32::deserialize(stored).map(|intensity| intensity.min(INTENSITY_MAX))
}

fn not_too_short<'de, D: Deserializer<'de>>(stored: D) -> Result<Duration, D::Error> {
    Duration::deserialize(stored).map(|period| period.max(PERIOD_MIN))
}
