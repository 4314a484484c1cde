//! What this process holds of a task that another one took: the work of its executor, an inbox.
//!
//! Not kept are what only that process had: links to tokens, the classifier of the task, how many
//! messages its inbox takes, its pace of progress.
//!
//! *Not here*: which tasks these are (`actors/revive.rs`).

use std::sync::{Arc, Weak};

use super::builder::INBOX_CAPACITY_DEFAULT;
use super::core::Core;
use super::executor;
use crate::engine::{Live, Work};
use crate::inbox::{Inbox, Overflow};
use crate::kernel::{Origin, Record};

/// Lets the actors of `core` make tasks of another process anew.
pub(super) fn install(core: &Arc<Core>) {
    let weak = Arc::downgrade(core);
    core.hub.on_revive(move |record| revive(&weak, record));
}

fn revive(core: &Weak<Core>, record: &Record) -> Option<Live> {
    let core = core.upgrade()?;
    let spec = Arc::clone(&record.spec);
    let (work, capacity) = match (spec.origin, &spec.kind) {
        (Origin::Executor, Some(kind)) => {
            let input = spec.input.as_ref();
            let input = input.and_then(|input| serde_json::from_str(input.as_json()).ok());
            let input = input.unwrap_or_default();
            let work = executor::work(&core, spec.scope.clone(), kind.clone(), input, None);
            (work, INBOX_CAPACITY_DEFAULT)
        }
        (Origin::External | Origin::Closure | Origin::Executor, _) => (Work::Spent, 0),
    };
    let mail = core.hub.mail_of(Inbox::new(capacity, Overflow::default()));
    Some(Live::new(record.id, spec, mail, work))
}
