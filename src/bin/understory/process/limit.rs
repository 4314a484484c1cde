//! How many files understory may have open: as many as the system lets it, as each command takes
//! some. What the commands may have stays as their user has set it.
//!
//! *Not here*: who passes it on (`process`), and who sets it (`shim`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows this process as many open files as can be. Answers with how many it was allowed before,
/// if those were fewer.
pub(super) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current?;
    if limit.maximum == Some(before) {
        return None;
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // A system that refuses lets it be as it was.
    setrlimit(Resource::Nofile, raised).ok().map(|()| before)
}

/// Allows this process, and what it starts, so many open files.
pub(crate) fn lower_to(count: u64) {
    let limit = Rlimit {
        current: Some(count),
        ..getrlimit(Resource::Nofile)
    };
    // It was allowed before, so it is not refused.
    let _ = setrlimit(Resource::Nofile, limit);
}
