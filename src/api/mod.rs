//! What users hold: one verb a file, each with its types, its error and its example.
//!
//! # Invariants
//! 1. Every answer given here was durable first; reads go to the index and never wait for the
//!    manager.
//! 2. A message that is refused comes back in the error, unless the error says why it cannot, and
//!    so does an input of a kind that is not known here. Other inputs, questions, answers, data of
//!    a resumption and notes do not.
//! 3. What a body does through its context counts only while it is the newest attempt.
//!
//! *Not here*: decisions (`kernel`), actors (`actors`), running bodies (`engine`).

mod abandon;
mod adopt;
mod ask;
mod authority;
mod batch;
mod bounds;
mod builder;
mod cancel;
mod capacity;
mod charge;
mod checks;
mod close;
mod config;
mod context;
mod control;
mod core;
mod dead;
mod deadlines;
mod deferred;
mod deliver;
mod drain;
mod durable;
mod executor;
mod external;
mod family;
mod filter;
mod grants;
mod group;
mod guard;
mod handle;
mod hidden;
mod hooks;
mod identity;
mod interrupt;
mod json;
mod leave;
mod liveness;
mod manager;
mod note;
#[cfg(feature = "sqlite")]
mod open;
mod payload;
mod place;
mod query;
mod receive;
mod retention;
mod retries;
mod revive;
mod scope;
mod send;
mod shutdown;
mod spawn;
mod subscribe;
mod suspend;
mod task_hooks;
mod transfer;
mod wait;
mod waiting;
mod wake;

pub(crate) use crate::engine::Life;
pub use abandon::AbandonError;
pub use adopt::AdoptError;
pub use ask::{AskError, RespondError};
pub use authority::CancelAsk;
pub use batch::{Batch, BatchItem};
pub use builder::{Again, Once, TaskBuilder};
pub use cancel::{Cancel, CancelError};
pub use charge::BudgetError;
pub use checks::{Checks, Mismatch};
pub use close::CloseError;
pub use config::{BuildError, Builder};
pub use context::{Context, current};
pub use control::ControlError;
pub use dead::ReplayError;
pub use deferred::{Deferred, NotDispatched, RestartError};
pub use durable::AcknowledgeError;
pub use executor::{BoxFuture, Executor, MissingExecutor, Mode};
pub use external::{External, ExternalError};
pub use filter::FilterError;
pub use grants::GrantError;
pub use guard::{OwnerError, TrustedScope};
pub use handle::{Admitted, CancelOnDrop, TaskHandle, TaskRef};
pub use hidden::HiddenError;
pub use hooks::LimitReached;
pub use identity::labels;
pub use interrupt::InterruptError;
pub use liveness::{Liveness, Probe};
pub use manager::Manager;
pub use note::NoteError;
pub use query::QueryError;
pub use receive::Received;
pub use scope::ScopeRef;
pub use send::{Address, SendError, SendMode};
pub use shutdown::{ShutdownError, ShutdownReport};
pub use spawn::SpawnError;
pub use subscribe::{Since, SubscribeError};
pub use suspend::ResumeError;
pub use task_hooks::{Notice, Settling, TaskHooks};
pub use transfer::TransferError;
pub use wait::WaitError;
pub(crate) use wait::{heard, park};
pub use waiting::{WaitTick, Waited, Waiting};
pub use wake::Wake;
