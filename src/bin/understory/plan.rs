//! A plan: the crew of processes that a `PLAN.toml` describes, checked as a whole.
//!
//! # Invariants
//! 1. A [`Plan`] that exists can be accepted from first task to last: every name it mentions is one
//!    of its own, and each parent and each `after` target stands before the task that mentions it.
//! 2. No task of it waits for itself, whichever way round (see `order`).
//! 3. A refused plan tells all its problems at once, each with its line and what to write instead.
//!
//! *Not here*: running it (`run`), what a command does (`process`).

mod bounds;
mod duration;
mod entry;
mod notes;
mod order;
mod problem;
mod read;
mod value;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use duration::parse as parse_duration;
pub(crate) use problem::Problems;

/// Longest plan that is read, in bytes.
pub(crate) const PLAN_BYTES_MAX: usize = 1 << 20;
/// Most tasks of one plan.
pub(crate) const TASKS_MAX: usize = 10_000;
/// Most tasks above another one.
pub(crate) const DEPTH_MAX: u32 = 64;
/// Most retries of one task.
pub(crate) const RETRIES_MAX: u32 = 99;
/// Longest message to an inbox, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The class in `[limits]` that counts every task of the plan.
pub(crate) const GLOBAL_CLASS: &str = "global";

/// A checked crew.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Parents and `after` targets come before those that mention them.
    pub(crate) tasks: Vec<PlanTask>,
    /// How many tasks of a class may run at once, without the global class.
    pub(crate) limits: BTreeMap<String, NonZeroU32>,
    /// How many tasks of the plan may run at once.
    pub(crate) global_limit: Option<NonZeroU32>,
    pub(crate) bounds: PlanBounds,
}

/// How large the run may grow by tasks that its tasks spawn; without a number it is as large as
/// understory allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlanBounds {
    /// Most tasks above another one.
    pub(crate) depth: Option<u32>,
    /// Most live tasks directly below another one.
    pub(crate) children: Option<usize>,
    /// Most live tasks.
    pub(crate) tasks: Option<usize>,
}

/// One process of the crew. In a file of records it stands as it is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlanTask {
    pub(crate) name: String,
    /// The program and its arguments: never empty.
    pub(crate) command: Vec<String>,
    pub(crate) parent: Option<String>,
    pub(crate) after: Vec<String>,
    pub(crate) kind: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) retry: Option<PlanRetry>,
    pub(crate) limits: Vec<String>,
    pub(crate) on_parent_end: Option<PlanParentEnd>,
    pub(crate) grace: Option<Duration>,
    pub(crate) messages: Vec<String>,
    pub(crate) inbox: PlanInbox,
}

/// How often a failed process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanRetry {
    pub(crate) count: u32,
    pub(crate) delay: Option<Duration>,
    pub(crate) factor: Option<f64>,
    pub(crate) cap: Option<Duration>,
}

/// What becomes of a task when its parent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PlanParentEnd {
    Wait,
    Cancel,
    Detach,
}

/// Whether standard input stays open after the messages of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PlanInbox {
    #[default]
    Closed,
    Open,
}

impl Plan {
    /// Reads and checks the text of the plan in `file`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::new(file, text);
        let entries = entry::read(text, &mut problems);
        let plan = order::check(entries, &mut problems);
        if problems.is_empty() {
            Ok(plan)
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests;
