//! Numbers that look random and follow from a seed alone.

use std::time::Duration;

/// A splitmix64 sequence.
#[derive(Clone, Debug)]
pub(in crate::kernel_tests) struct Dice(u64);

impl Dice {
    pub(in crate::kernel_tests) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::kernel_tests) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(in crate::kernel_tests) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.roll()) * end as u128;
        usize::try_from(wide >> 64).expect("below a usize")
    }

    /// Whether something that happens so often in a hundred happens now.
    pub(in crate::kernel_tests) fn percent(&mut self, often: u32) -> bool {
        self.below(100) < often as usize
    }

    /// One of the items, if there is one.
    pub(in crate::kernel_tests) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            return None;
        }
        Some(&items[self.below(items.len())])
    }

    /// A time below `longest`, which is not zero.
    pub(in crate::kernel_tests) fn time(&mut self, longest: Duration) -> Duration {
        let micros = usize::try_from(longest.as_micros()).unwrap_or(usize::MAX);
        Duration::from_micros(self.below(micros) as u64)
    }
}
