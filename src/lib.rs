//! A supervision tree for background tasks and sub-agents.
// The bans of `.clippy.toml` are for the kernel, which denies them.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

#[allow(dead_code, reason = "used by the actors")]
mod feed;
#[allow(dead_code, reason = "used by the actors")]
mod inbox;
#[allow(dead_code, reason = "used by the actors")]
mod index;
pub mod kernel;
#[cfg(test)]
#[path = "kernel/tests/mod.rs"]
mod kernel_tests;
#[cfg(any(test, feature = "testing"))]
mod sample;
#[allow(dead_code, reason = "used by the actors")]
mod store;

pub use feed::{FeedItem, Subscription, TooManySubscribers};
pub use inbox::{Message, Receipt, Rejected, Sender, Why};
pub use index::{Counts, Cursor, Listing, PAGE_MAX, Page};
pub use store::{
    Batch, EVENTS_PAGE_MAX, HISTORY_DEFAULT, Latency, Loaded, MemoryStore, Store, StoreError,
};
#[cfg(any(test, feature = "testing"))]
pub use store::{FaultyStore, contract};
