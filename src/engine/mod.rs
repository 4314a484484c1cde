//! Run one attempt of a body and report how it ended.
//!
//! # Invariants
//! 1. User code (a body, its `Drop`, its panic payload and that one's `Drop`, who judges its
//!    failure) runs here and nowhere else, each piece under `catch_unwind`.
//! 2. A report is made after the body has been dropped, so "reported" means "will never be polled
//!    again".
//! 3. An attempt reports exactly once, even when its own task is dropped.
//!
//! *Not here*: when to run (`kernel`), the actor it runs in (`actors/task.rs`), the context a body
//! sees (`api`).

mod attempt;
mod callback;
mod failure;
mod hook;
mod judge;
mod latch;
mod live;
mod pace;
mod signal;
mod unheard;
mod unwind;

pub(crate) use attempt::{Attempt, Reporter, Run, Verdict, Wish};
pub(crate) use callback::{CancelCall, call_back};
pub use failure::Failure;
pub(crate) use failure::cut;
pub(crate) use hook::{Hears, Hook, HookSet, Proposal};
pub(crate) use judge::Classifier;
pub(crate) use live::{BodyFuture, Live, Work};
pub(crate) use pace::{Due, Pace};
pub(crate) use unheard::{Life, News};
pub(crate) use unwind::{catch, catch_call, dispose};
