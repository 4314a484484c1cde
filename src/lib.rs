//! A supervision tree for background tasks and sub-agents.
//!
//! Programs that run agents start work that outlives the call that started it. understory knows
//! what runs, under whom and why; talks to it while it runs; stops any subtree and is sure that it
//! has stopped.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use serde_json::json;
//! use understory::{Cancel, Context, Failure, Manager, Retry};
//!
//! async fn read(ctx: Context) -> Result<String, Failure> {
//!     let hint = ctx.recv().await.map(|message| message.body); // its inbox
//!     ctx.progress("reading").await?;
//!     Ok(format!("{} read {}", ctx.path(), hint.unwrap_or_default()))
//! }
//!
//! let manager = Manager::in_memory();
//! let thread = manager.scope("thread-42");
//! let lead = thread.task("lead").spawn(|ctx| async move {
//!     let docs = ctx.task("docs").spawn(read).await?; // a child: its parent is this task
//!     let code = ctx.task("code").retry(Retry::exponential(3)).spawn(read).await?;
//!     docs.send("README.md").await?;
//!     code.send("src/").await?;
//!     Ok(json!({ "docs": docs.await?, "code": code.await? })) // await a handle for its value
//! }).await?; // Ok: its record is durable
//!
//! let done = lead.await?;
//! assert_eq!(done["code"], "lead/code read \"src/\"");
//! let report = manager.cancel_all(Cancel::because("enough")).await?;
//! assert!(report.abandoned.is_empty()); // nothing runs any more
//! # Ok(()) }
//! ```
//!
//! # Where to start
//!
//! - [`Manager`] supervises; [`Builder`] sets it up, with limits and bounds.
//! - [`TaskBuilder`] is everything that can be said of a task before it exists.
//! - [`Context`] is what its body holds, [`TaskHandle`] and [`TaskRef`] what others hold of it.
//! - [`Manager::subscribe`] tells what happens, [`Manager::list`] and [`Manager::get`] what is.
//!
//! The README says what is promised, with its limits. `ARCHITECTURE.md` has the map of the code.
//!
//! # Features
//!
//! - `cli`: the binary `understory`, which supervises a crew of processes.
//! - `sqlite` (on by default): the store in one file, [`store::sqlite`].
//! - `metrics`: figures for a recorder of the `metrics` facade. Of tasks, by kind: the counters
//!   `tasks_accepted_total`, `tasks_duplicate_total`, `tasks_refused_total`, `tasks_started_total`
//!   and `tasks_finished_total` (by outcome, too), the gauges `tasks_queued` and `tasks_running`,
//!   the histograms `task_queue_seconds`, `task_run_seconds` and `cancel_latency_seconds`. Of the
//!   manager: `inbox_depth`, `dead_letters_total` (by reason), `events_lagged_total`,
//!   `store_write_seconds`, `store_failures_total` and `leases_lost_total`.
//! - `testing`: the suites that every [`store`] must pass, for those who write one, and
//!   `Manager::break_part` and `Manager::break_after`.
// The bans of `.clippy.toml` are for the kernel, which denies them.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod actors;
mod api;
mod engine;
mod feed;
mod inbox;
mod index;
pub mod kernel;
#[cfg(test)]
#[path = "kernel/tests/mod.rs"]
mod kernel_tests;
#[cfg(feature = "metrics")]
mod meter;
pub mod models;
#[cfg(any(test, feature = "testing"))]
mod sample;
mod shelf;
pub mod store;

#[cfg(feature = "testing")]
pub use actors::Part;
pub use actors::{BodyHost, WakeCause};
pub use api::FilterError;
pub use api::{
    Address, Again, BoxFuture, BuildError, Builder, Cancel, CancelError, CancelOnDrop, Context,
    Executor, Manager, NoteError, Once, QueryError, Received, ResumeError, ScopeRef, SendError,
    ShutdownError, ShutdownReport, Since, SpawnError, SubscribeError, TaskBuilder, TaskHandle,
    TaskRef, WaitError, WaitTick, Waited, Waiting, current,
};
// Who tasks are.
pub use api::{
    Admitted, AdoptError, Deferred, External, ExternalError, HiddenError, MissingExecutor, Mode,
    NotDispatched, OwnerError, RestartError, TrustedScope, labels,
};
// What is said to tasks, and what they say.
pub use api::{AcknowledgeError, Liveness, Probe};
pub use api::{AskError, InterruptError, ReplayError, RespondError, SendMode, Wake};
pub use api::{Notice, Settling, TaskHooks};
pub use engine::Failure;
pub use feed::{FeedItem, Subscription};
pub use inbox::{
    DeadFilter, DeadLetter, Delivery, Message, MessageId, Overflow, Receipt, Sender, Undelivered,
};
pub use index::{Counts, Cursor, Listing, PAGE_MAX, Page};
pub use kernel::Date;
pub use kernel::KeptMessage;
pub use kernel::Trace;
pub use kernel::{
    Answer, Body, CancelReport, Cause, Class, ClassFull, ClassName, Event, Facts, Fault, FaultKind,
    Filter, Interrupt, InvalidText, Jitter, Key, Kind, LateSuccess, Limit, Name, OnParentEnd,
    Outcome, Payload, Question, Questions, Reach, Record, Refusal, Requester, RestartPolicy, Retry,
    Scope, Seq, State, Stop, StopPolicy, TaskId, Timestamp, Wait, What, WhenFull,
};

// What a host rules with: limits, budgets, scopes, kept records.
pub use api::{
    Batch, BatchItem, BudgetError, Checks, CloseError, ControlError, LimitReached, Mismatch,
    TransferError,
};
pub use kernel::{
    Budget, Capacity, Charge, CloseReport, Counter, LimitName, OnScopeClose, Remaining, Removed,
    TransferRefusal, TransferReport,
};

// Who may do what with which task, and what is given up.
pub use api::{AbandonError, CancelAsk, GrantError};
pub use kernel::{AbandonRequest, Grant, Grants, Target};

pub use models::tools;
pub use shelf::OutputPage;

/// The code of the README, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
