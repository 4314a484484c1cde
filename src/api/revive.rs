//! What this process holds of a task that another one took: the work of its executor, an inbox.
//!
//! Not kept is what only that process had: links to tokens, the classifier of the task, its own
//! hooks.
//!
//! *Not here*: which tasks these are (`actors/revive.rs`).

use std::sync::{Arc, Weak};

use super::core::Core;
use super::executor;
use super::spawn::inbox_of;
use crate::engine::{Failure, Live, Verdict, Work};
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
    let (work, inbox) = match (spec.origin, &spec.kind) {
        (Origin::Executor, Some(kind)) => {
            let input = spec.input.as_ref();
            let input = input.map(|input| serde_json::from_str(input.as_json()));
            let work = match input.transpose() {
                Ok(input) => executor::work(&core, kind.clone(), input.unwrap_or_default(), None),
                Err(error) => unreadable(&error),
            };
            (work, inbox_of(&spec))
        }
        // Nobody will read what is sent to it.
        (Origin::External | Origin::Closure | Origin::Executor, _) => {
            (Work::Spent, Inbox::new(0, Overflow::default()))
        }
    };
    Some(Live::new(record.id, spec, core.hub.mail_of(inbox), work))
}

/// The body never runs with another input than the one that was asked for.
fn unreadable(error: &serde_json::Error) -> Work {
    let message = format!("its input cannot be read: {error}");
    Work::Many(Arc::new(move |_attempt| {
        let failure = Failure::new(message.clone()).permanent();
        Box::pin(async move { Verdict::Failed(failure) })
    }))
}
