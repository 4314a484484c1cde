//! What users of the library may rely on, verb by verb.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod adopt;
mod ask;
mod authority;
mod beginning;
mod body_host;
mod cancel;
mod checks;
mod control;
mod deadlines;
mod executors;
mod external;
mod family;
mod feed;
mod filter;
mod flight;
mod grants;
mod guard;
mod hidden;
mod hooks;
mod identity;
mod idle;
mod interrupt;
mod json;
#[cfg(feature = "testing")]
mod leases;
mod limits;
mod liveness;
mod mail;
#[cfg(feature = "metrics")]
mod meter;
mod models;
mod notes;
mod observers;
mod options;
mod order;
mod output;
mod outside;
mod panics;
mod query;
#[cfg(feature = "testing")]
mod restart;
mod restarts;
mod retries;
mod send;
mod shutdown;
#[cfg(feature = "testing")]
mod sick;
mod spawn;
mod stage;
mod stale;
#[cfg(feature = "sqlite")]
mod store;
mod storm;
mod suspend;
mod time;
#[cfg(feature = "testing")]
mod together;
mod tokens;
mod tools;
mod trace;
mod wait;
mod wake;
