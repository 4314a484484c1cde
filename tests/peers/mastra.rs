//! What the suites of Mastra's background tasks show, on our face, where no other test shows it.

mod admission;
mod agent;
#[cfg(feature = "testing")]
pub(crate) mod crash;
mod lifecycle;
mod stream;
mod suspend;
