//! What is true and what follows: the pure law of tasks.
//!
//! One value, [`Supervisor`], holds everything that is live. [`Supervisor::step`] takes the time
//! and one [`Input`] and returns a [`Step`]: changed records, events, and effects to carry out
//! after both are durable.
//!
//! # Invariants
//! - **K1** The kernel reads no clock, dice, file or thread; same inputs, same steps.
//! - **K2** A state changes only through [`State::next`]; the first terminal wins.
//! - **K3** Only the newest epoch's reports count.
//! - **K4** Effects of a step may be carried out only after its records and events are durable.
//! - **K5** A parent settles after its children; a closed task gets no more.
//! - **K6** Slot and name are held until the task is settled and its body has stopped.
//! - **K7** Events are numbered from 1 on without a gap.
//!
//! *Not here*: bodies, inboxes, subscribers, stores, timers. They are carried by `actors`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod admission;
mod bounds;
mod budget;
mod event;
mod filter;
mod forest;
mod grant;
mod id;
mod message;
mod names;
mod question;
mod rarely;
mod record;
mod restart;
mod retry;
mod slab;
mod spec;
mod state;
mod supervisor;
mod table;
mod time;
mod trace;

pub use admission::{Capacity, ClassFull, LimitName};
pub use bounds::{Bounds, Class, Hooked, Hosts, WhenFull};
pub use budget::{BUDGETS_MAX, Budget, Budgets, Charge, ChargeRefusal, Remaining};
pub use event::{Event, What};
pub use filter::{Date, Filter, Shows, TERMS_MAX};
pub use grant::{GRANTS_MAX, Grant, Grants};
pub use id::{
    ClassName, Counter, Epoch, InvalidText, Key, Kind, NAME_BYTES_MAX, Name, RESERVED_NAMES,
    SCOPE_BYTES_MAX, Scope, Seq, TaskId, check_label,
};
pub use message::{
    DURABLE_BYTES_MAX, DURABLE_MAX, KeptMessage, MessageId, MessageRefusal, Messages,
};
pub use question::{Answer, Interrupt, QUESTIONS_MAX, Question, Questions};
pub use rarely::{Ordinary, Rarely};
pub use record::{
    AbandonRequest, Body, Cause, Conclusion, Facts, Fault, FaultKind, Limit, Outcome, Record,
    Requester, Stop, Wait,
};
pub use restart::{INTENSITY_MAX, RestartPolicy};
pub use retry::{ATTEMPTS_MAX, DELAY_CAP_DEFAULT, DELAY_DEFAULT, Jitter, Retry};
pub use spec::{
    AFTER_MAX, CLASSES_MAX, Disposition, Flight, LABELS_MAX, Labels, LateSuccess, OnParentEnd,
    OnScopeClose, Options, Origin, Overflow, Payload, Reach, Reuse, Spec, StopPolicy, Visibility,
};
pub use state::{State, Trigger};
#[cfg(test)]
#[allow(
    unused_imports,
    reason = "used by the proofs, which the library declares"
)]
pub(crate) use supervisor::Bug;
pub use supervisor::{
    AbandonRefusal, Accepted, AskRefusal, CancelReport, CloseRefusal, CloseReport, Control,
    Controlled, Effect, End, ExternalRefusal, ExternalWord, GrantChange, GrantRefusal, HookCall,
    Input, InterruptRefusal, Note, Refusal, Removed, Reply, RespondRefusal, ResumeRefusal, Step,
    StopAsk, Supervisor, Target, Ticket, TransferRefusal, TransferReport,
};
pub(crate) use table::IdHash;
pub use time::Timestamp;
pub use trace::Trace;
