//! What users of the library may rely on, verb by verb.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod cancel;
mod family;
mod feed;
mod json;
mod limits;
mod notes;
mod panics;
mod query;
mod restart;
mod send;
mod shutdown;
mod spawn;
mod stage;
mod storm;
mod time;
mod tokens;
