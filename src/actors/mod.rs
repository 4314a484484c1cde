//! The shell around the kernel: actors that carry inputs in and effects out.
//!
//! ```text
//! guard ── manager ── task actors, one body at a time (flat; the tree of tasks is the kernel's);
//!       │             or, if the host says so, a plain tokio task (`roster`)
//!       ├─ writer      makes steps durable, then carries out what follows
//!       └─ publisher   fans durable events out
//! ```
//!
//! A caller's letter goes `gate → manager (kernel) → writer (store) → carry`, and from there to the
//! caller, to the index, to the publisher's feed, or into a task actor, whose report comes back
//! through the gate. With a store that never waits the manager writes and carries itself, while the
//! writer has nothing to do (`writer`).
//!
//! # Invariants
//! 1. `ractor`, timers, the clock and dice are named in this room only.
//! 2. No decision is made here; no user code runs on a turn of guard, manager, writer or publisher.
//! 3. If guard sees one of them fail, all three start again from the store. Task actors, and
//!    plain tasks that run bodies, die with the manager.
//!
//! *Not here*: the law (`kernel`), running user code (`engine`), what users hold (`api`).

mod askers;
mod blocking;
mod carry;
mod clock;
mod elsewhere;
mod gate;
mod guard;
mod hooks;
mod hub;
mod liveness;
mod mailbox;
mod manager;
mod observers;
mod permits;
mod publisher;
mod recovery;
mod reserve;
mod revive;
mod roster;
#[cfg(feature = "testing")]
mod sabotage;
mod show;
mod storage;
mod task;
mod team;
mod tenure;
mod uncarried;
mod wake;
mod writer;

pub(crate) use clock::Clock;
pub(crate) use gate::Shut;
pub(crate) use guard::{boot, stop};
pub(crate) use hooks::{Of, hooked};
pub(crate) use hub::{Hub, Queues};
#[cfg(feature = "testing")]
pub use sabotage::Part;
pub use team::BodyHost;
pub use wake::WakeCause;
