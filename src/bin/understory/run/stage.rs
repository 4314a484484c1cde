//! What a run stands on: its store, what was before it, and the right to have processes.
//!
//! # Invariants
//! 1. A store is handed to a manager only after what is in it was found fit for the plan.
//!
//! *Not here*: where files are (`records`), whether a plan fits (`past`).

use std::path::{Path, PathBuf};

use understory::store::sqlite::{self, SqliteStore};
use understory::store::{Batch, Loaded, MemoryStore, Store as _};
use understory::{BuildError, Builder, Class, Manager, MissingExecutor};

use super::past::Past;
use super::{Options, SETTLED_KEPT};
use crate::plan::{DEPTH_MAX, Plan};
use crate::records::{Claim, RecordsError, with_causes};

/// Tasks that may join and live at once, unless the plan says otherwise.
const SPAWNED_LIVE_MAX: usize = 10_000;
/// Events kept until they are shown, beside some for each task.
const EVENTS_KEPT: usize = 1_024;
const EVENTS_KEPT_PER_TASK: usize = 16;
/// Events that a file keeps: each line of output is one.
const HISTORY_MAX: u64 = 100_000;

/// Whether a run begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    New,
    Resumed,
}

/// All that there is before anything runs.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) store: Store,
    /// Where the records are, if anywhere.
    pub(super) file: Option<PathBuf>,
    pub(super) past: Past,
    /// Held until this process ends.
    pub(super) claim: Option<Claim>,
}

/// What keeps the records.
#[derive(Debug)]
pub(super) enum Store {
    File(SqliteStore),
    Memory(MemoryStore),
}

impl Stage {
    /// Opens what the options name and looks at what is in it. It may block for long.
    pub(super) fn prepare(plan: &Plan, options: &Options) -> Result<Self, RecordsError> {
        let file = match options.beginning {
            Beginning::New => options.records.new_file()?,
            Beginning::Resumed => Some(options.records.old_file()?),
        };
        let Some(file) = file else {
            return Ok(Self {
                store: Store::Memory(MemoryStore::with_history(events_kept(plan))),
                file: None,
                past: Past::default(),
                claim: None,
            });
        };
        let options_of_file = sqlite::Options::default().history_max(HISTORY_MAX);
        let store = SqliteStore::open(&file, options_of_file)?;
        let loaded = store.load();
        let loaded = loaded.map_err(|error| RecordsError::Store(with_causes(&error)))?;
        let past = match options.beginning {
            Beginning::New => check_empty(&loaded, &file).map(|()| Past::default()),
            Beginning::Resumed => Past::of(loaded, plan, &file),
        };
        let past = past.map_err(RecordsError::Asked)?;
        Ok(Self {
            claim: Some(Claim::take(&file)?),
            store: Store::File(store),
            file: Some(file),
            past,
        })
    }
}

fn check_empty(loaded: &Loaded, file: &Path) -> Result<(), String> {
    if loaded.records.is_empty() && loaded.seq.0 == 0 {
        return Ok(());
    }
    let file = file.display();
    let live = loaded.records.iter();
    let live = live.filter(|record| !record.state.is_terminal()).count();
    Err(if live == 0 {
        format!("{file} holds the records of a run that has ended; name another file")
    } else {
        format!(
            "{file} holds the records of a run that was interrupted: \
             let it go on with --resume, or name another file"
        )
    })
}

impl Store {
    /// The manager of the run, with recovery behind it. Its tasks wait for their executors.
    pub(super) async fn manage(self, plan: &Plan) -> Result<Manager, BuildError> {
        let builder = bounded(plan)
            .feed_events_max(events_kept(plan))
            .missing_executor(MissingExecutor::Waits);
        match self {
            Self::File(store) => builder.open_store(store).await,
            Self::Memory(store) => builder.store(store).build(),
        }
    }

    /// What a file holds, to see what would become of it.
    pub(super) fn copy_of(loaded: &Loaded) -> Result<Self, RecordsError> {
        let store = MemoryStore::default();
        let kept = store.commit(&Batch {
            records: loaded.records.clone(),
            closed: Some(loaded.closed.clone()),
            ..Batch::default()
        });
        kept.map_err(|error| RecordsError::Store(with_causes(&error)))?;
        Ok(Self::Memory(store))
    }
}

fn events_kept(plan: &Plan) -> usize {
    EVENTS_KEPT + plan.tasks.len() * EVENTS_KEPT_PER_TASK
}

fn bounded(plan: &Plan) -> Builder {
    let count = plan.tasks.len();
    let bounds = &plan.bounds;
    let mut builder = Manager::builder()
        .live_max(bounds.tasks.unwrap_or(count + SPAWNED_LIVE_MAX))
        .children_max(bounds.children.unwrap_or(count + SPAWNED_LIVE_MAX))
        .depth_max(bounds.depth.unwrap_or(DEPTH_MAX))
        .settled_max(count + SETTLED_KEPT);
    if let Some(size) = plan.global_limit {
        builder = builder.global_limit(Class::queue(size.get()));
    }
    for (class, size) in &plan.limits {
        builder = builder.limit(class, Class::queue(size.get()));
    }
    builder
}
