//! Helpers for programs in which a model decides: texts, schemas, tools, and a loop over turns.
//!
//! # Invariants
//! 1. Texts, schemas and settings are pure functions: they change nothing they are given.
//! 2. One function says whether a tool may run in the background, and all others ask it, so what is
//!    advertised and what is done cannot disagree.
//! 3. What a task wrote cannot end the tag it is shown in.
//! 4. A tool sees what its caller may see; everything else is not found.
//!
//! *Not here*: any model or protocol; those who call one bring it.

pub mod background;
mod idle;
mod texts;
pub mod tools;

pub use idle::{Pause, Turn, UntilIdle};
pub use texts::{
    continuation, enrich_message_with, enrich_message_with_async,
    enrich_message_with_running_tasks, event_message, placeholder,
};
