//! What users of the library may rely on, verb by verb.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod spawn;
