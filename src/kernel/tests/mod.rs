//! The proofs of the kernel: enumerated, compared with a model, and run in a seeded world.
//!
//! Promises are those of `ARCHITECTURE.md`; a test that guards promise N has `pN` in its name.
//!
//! *Not here*: proofs that need actors, bodies or a store.

mod abandon;
mod bed;
mod checks;
mod control;
mod counts;
mod details;
mod drawn;
mod exhaustive;
mod external;
mod hooks;
mod hosts;
mod identity;
mod law;
mod limits;
mod mail;
mod model;
mod planted;
mod properties;
mod restart;
mod seeds;
mod small_worlds;
mod talk;
mod world;
