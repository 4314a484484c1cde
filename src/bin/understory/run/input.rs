//! What a task of a run is recorded with: all that it takes to start its process, in another run
//! of understory, too.
//!
//! # Invariants
//! 1. Variables of the environment are kept only where they differ from those of understory.
//!
//! *Not here*: starting it (`body`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use understory::Record;

use crate::plan::PlanTask;

/// The input of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Input {
    /// Whether the plan describes it; others were spawned while the run went on.
    pub(crate) is_planned: bool,
    /// Where the run was started; its paths begin here. `None` if it has no name that can be
    /// written down.
    pub(crate) directory: Option<PathBuf>,
    /// Variables of understory that its processes do not have.
    pub(crate) unset: Vec<String>,
    pub(crate) task: PlanTask,
}

impl Input {
    /// That of a recorded task; `None` if it is no task of a run.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        record.spec.input.as_ref()?.decode().ok()
    }

    /// As it is recorded.
    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("its keys and paths are texts")
    }
}

/// Where this run is started.
pub(super) fn directory() -> Option<PathBuf> {
    let directory = std::env::current_dir().ok()?;
    directory.to_str().is_some().then_some(directory)
}
