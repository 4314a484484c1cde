//! Whether another attempt follows and when: functions of policy, history and dice.
//!
//! *Not here*: waiting for the delay (`supervisor/time.rs`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most attempts of one task.
pub const ATTEMPTS_MAX: u32 = 100;
/// Longest delay between two attempts unless the policy says otherwise.
pub const DELAY_CAP_DEFAULT: Duration = Duration::from_mins(1);
/// First delay of [`Retry::exponential`].
pub const DELAY_DEFAULT: Duration = Duration::from_millis(500);

/// How often a failed attempt is followed by another, and after which delay.
///
/// The n-th delay is `delay * factor^(n-1)`, at most `cap`; with jitter it is drawn evenly between
/// zero and that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    attempts_max: u32,
    delay: Duration,
    factor_percent: u32,
    cap: Duration,
    jitter: Jitter,
}

/// How the delay between attempts is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Jitter {
    /// The delay is exactly what the policy says.
    None,
    /// The delay is drawn evenly between zero and what the policy says.
    Full,
}

impl Retry {
    /// One attempt only: running an agent twice is rarely harmless.
    pub const fn never() -> Self {
        Self {
            attempts_max: 1,
            delay: Duration::ZERO,
            factor_percent: 100,
            cap: DELAY_CAP_DEFAULT,
            jitter: Jitter::None,
        }
    }

    /// Up to `retries` more attempts, each after the same `delay`.
    pub fn fixed(retries: u32, delay: Duration) -> Self {
        Self {
            attempts_max: attempts(retries),
            delay,
            cap: DELAY_CAP_DEFAULT.max(delay),
            ..Self::never()
        }
    }

    /// Up to `retries` more attempts; the delay starts at half a second and doubles, with full
    /// jitter.
    pub fn exponential(retries: u32) -> Self {
        Self {
            attempts_max: attempts(retries),
            delay: DELAY_DEFAULT,
            factor_percent: 200,
            cap: DELAY_CAP_DEFAULT,
            jitter: Jitter::Full,
        }
    }

    /// Sets the first delay; the longest one bounds it too.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets by how much each delay exceeds the one before, in percent: 200 doubles. At least 100.
    pub fn factor_percent(mut self, percent: u32) -> Self {
        self.factor_percent = percent.max(100);
        self
    }

    /// Sets the longest delay; without it, a minute, or what [`Retry::fixed`] was given if that is
    /// longer.
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets how delays are spread.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Attempts in all, the first one included.
    pub const fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// The delay before the attempt that follows attempt number `attempt` (1 is the first).
    ///
    /// `dice` is any number; the same dice give the same delay.
    pub fn delay_after(&self, attempt: u32, dice: u64) -> Duration {
        let delay = self.longest_delay_after(attempt);
        match self.jitter {
            Jitter::None => delay,
            Jitter::Full => {
                let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
                // The longest of all has no number after it.
                let count = micros.saturating_add(1);
                Duration::from_micros(mix(dice) % count)
            }
        }
    }

    /// The delay after attempt number `attempt` before jitter.
    pub fn longest_delay_after(&self, attempt: u32) -> Duration {
        let mut delay = self.delay.min(self.cap);
        for _ in 1..attempt {
            if delay >= self.cap || self.factor_percent == 100 {
                break;
            }
            delay = (delay.saturating_mul(self.factor_percent) / 100).min(self.cap);
        }
        delay
    }
}

fn attempts(retries: u32) -> u32 {
    retries.saturating_add(1).min(ATTEMPTS_MAX)
}

/// Spreads the bits of `dice` (the finalizer of splitmix64), so that neighbouring dice differ.
fn mix(dice: u64) -> u64 {
    let mut bits = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
