//! How often the rarer things happen in one seed: moves between scopes, next lives of ids, flights,
//! runs, requests that wait for nobody, records that go, tasks that run elsewhere, executors that
//! come and go.
//!
//! A third of the seeds has none of them, and each of the others has about half. They are drawn
//! from dice of their own, so that a seed without them is the world that it was before.

use std::time::Duration;

use super::dice::Dice;
use crate::kernel::{Bounds, State};

/// Percents, and weights of what a turn may be.
#[derive(Clone, Debug, Default)]
pub(in crate::kernel_tests) struct Rarer {
    /// Weight of transfers and of closing and opening scopes.
    pub(super) scopes: usize,
    /// Weight of what is done to records: giving up, removing, sweeping.
    pub(super) records: usize,
    /// Weight of what holders of external tasks say.
    pub(super) holders: usize,
    /// Weight of executors that come and go.
    pub(super) hosts: usize,
    /// Tasks with a wish for when their scope is closed.
    pub(super) wishes: u32,
    /// Spawns by the id of an earlier task.
    pub(super) reused: u32,
    /// Keys with a window of their own.
    pub(super) windows: u32,
    /// Tasks of a flight.
    pub(super) flights: u32,
    /// Tasks of a run, and cancels of one.
    pub(super) runs: u32,
    /// Requests to stop at once.
    pub(super) at_once: u32,
    /// States whose settled records are kept for a short time only.
    pub(super) retained: u32,
    /// Pieces of output that are too large for an event.
    pub(super) large: u32,
    /// Tasks whose body is elsewhere.
    pub(super) external: u32,
    /// Tasks of executors that are bound to their owner.
    pub(super) bound: u32,
}

impl Rarer {
    pub(in crate::kernel_tests) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x7265_7261_7265_7221);
        if dice.percent(33) {
            return Self::default();
        }
        let mut of = |levels: &[u32]| *dice.pick(levels).expect("there are levels");
        Self {
            scopes: of(&[0, 1, 4]) as usize,
            records: of(&[0, 1, 3]) as usize,
            holders: of(&[1, 3, 8]) as usize,
            hosts: of(&[0, 0, 2]) as usize,
            wishes: of(&[0, 30, 70]),
            reused: of(&[0, 10, 40]),
            windows: of(&[0, 0, 50]),
            flights: of(&[0, 20, 60]),
            runs: of(&[0, 20, 50]),
            at_once: of(&[0, 10, 40]),
            retained: of(&[0, 0, 50]),
            large: of(&[0, 50]),
            external: of(&[0, 0, 20, 50]),
            bound: of(&[0, 0, 30, 70]),
        }
    }

    /// Bounds of what is rarer.
    pub(in crate::kernel_tests) fn bound(&self, seed: u64, bounds: &mut Bounds) {
        let mut dice = Dice::new(seed ^ 0x626f_756e_6473_2121);
        if self.runs > 0 {
            bounds.cancelled_runs_max = 1 + dice.below(3);
        }
        let states = [
            State::Completed,
            State::Failed,
            State::TimedOut,
            State::Cancelled,
            State::Interrupted,
        ];
        for state in states {
            if self.retained > 0 && dice.percent(self.retained) {
                let kept = dice.time(Duration::from_millis(300));
                bounds.retain.insert(state, kept);
            }
        }
    }
}
