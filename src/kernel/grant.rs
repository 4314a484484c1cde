//! What a task lets other scopes do with it.
//!
//! *Not here*: who is told of it, and how grants change (`supervisor/grants.rs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::Scope;

/// Most scopes that hold a grant of one task.
pub const GRANTS_MAX: usize = 64;

/// How far another scope may go with a task and with everything below it. Each includes the ones
/// before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
pub enum Grant {
    /// It may look at it and wait for it.
    See,
    /// It may also send it messages and resume it.
    Talk,
    /// It may also cancel it.
    Cancel,
}

impl Grant {
    /// The name used on every wire and page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Talk => "talk",
            Self::Cancel => "cancel",
        }
    }
}

/// The scopes that hold a grant of a task, beside its own.
pub type Grants = BTreeMap<Scope, Grant>;
