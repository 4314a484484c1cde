//! A supervision tree for background tasks and sub-agents.
// The bans of `.clippy.toml` are for the kernel, which denies them.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod kernel;
#[cfg(test)]
#[path = "kernel/tests/mod.rs"]
mod kernel_tests;
