//! The binary `understory`, tried as its users do: real processes, signals and pipes.

// These bans are for the kernel of the library.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod asks;
mod check;
mod crew;
mod history;
mod output;
mod proc;
mod reach;
mod records;
mod resume;
mod run;
mod shim;
mod spawn;
mod stop;
mod survivors;
mod talk;
mod verbs;
