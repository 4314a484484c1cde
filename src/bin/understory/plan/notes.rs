//! What is right and still may surprise whoever wrote the plan.
//!
//! *Not here*: what is wrong with a plan (`problem`).

use std::collections::BTreeMap;
use std::iter::successors;

use super::{Plan, PlanTask};

/// Notes that are shown; the rest are counted.
const SHOWN_MAX: usize = 20;

impl Plan {
    /// A line for each surprise.
    pub(crate) fn notes(&self) -> Vec<String> {
        let tasks: BTreeMap<&str, &PlanTask> = self
            .tasks
            .iter()
            .map(|task| (task.name.as_str(), task))
            .collect();
        let parent = |task: &PlanTask| tasks.get(task.parent.as_deref()?).copied();
        let mut notes = Vec::new();
        for task in self.tasks.iter().filter(|it| it.on_parent_end.is_none()) {
            let Some(above) = parent(task).filter(|above| has_retries(above)) else {
                continue;
            };
            let above = &above.name;
            let names = successors(Some(task), |task| parent(task));
            let mut path: Vec<&str> = names.map(|task| task.name.as_str()).collect();
            path.reverse();
            let path = path.join("/");
            notes.push(format!(
                "note: {path} is cancelled when an attempt of {above} fails, and does not come \
                 back with the next one; say on_parent_end = \"wait\" to keep it"
            ));
        }
        if let Some(more) = notes.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            notes.truncate(SHOWN_MAX);
            notes.push(format!("note: the same of {more} more tasks"));
        }
        notes
    }
}

fn has_retries(task: &PlanTask) -> bool {
    task.retry.is_some_and(|retry| retry.count > 0)
}
