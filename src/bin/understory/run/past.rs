//! What a file of records says of the run that it is about, and whether a plan is still the one of
//! that run.
//!
//! # Invariants
//! 1. A task of the file stands in the plan as it was, or the plan is refused: a process never runs
//!    otherwise than its record says.
//! 2. A task of the plan that the file does not know is new only if no record can be gone.
//!
//! *Not here*: what becomes of the tasks (the library's recovery).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use understory::store::Loaded;
use understory::{Record, Seq, TaskId};

use super::SETTLED_KEPT;
use super::input::Input;
use crate::plan::{Plan, PlanTask};

/// The records of an earlier run; none when there was none.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The last event of it.
    pub(super) seq: Seq,
    planned: HashMap<String, (Arc<Record>, Input)>,
    /// What was spawned and has not settled, parents first.
    joined: Vec<(Arc<Record>, Input)>,
    /// The whole of it, if the plan has more tasks than it.
    before_additions: Option<Loaded>,
}

impl Past {
    /// The run that is told of in `file`.
    ///
    /// # Errors
    /// Why the plan cannot go on from it, and what to do.
    pub(super) fn of(loaded: Loaded, plan: &Plan, file: &Path) -> Result<Self, String> {
        let mut past = Self {
            seq: loaded.seq,
            ..Self::default()
        };
        let whole = loaded.clone();
        // It was killed before anything was accepted.
        let records_are_new = loaded.records.is_empty() && loaded.seq == Seq(0);
        let settled = loaded.records.iter();
        let settled = settled.filter(|record| record.state.is_terminal()).count();
        let mut records = loaded.records;
        records.sort_by_key(|record| (record.depth, record.id));
        for record in records {
            match Input::of(&record) {
                Some(input) if input.is_planned => {
                    let name = input.task.name.clone();
                    past.planned.insert(name, (record, input));
                }
                Some(input) if !record.state.is_terminal() => past.joined.push((record, input)),
                Some(_) | None => {}
            }
        }
        let refuse = |why: String| {
            let file = file.display();
            format!(
                "{file} cannot be continued with this plan: {why}; \
                 take the plan that it was begun with, or begin anew without --resume"
            )
        };
        if records_are_new {
            return Ok(past);
        }
        if past.planned.is_empty() {
            return Err(refuse("no task of a plan is in it".to_owned()));
        }
        compare(&past.planned, plan).map_err(refuse)?;
        if let Some(task) = plan.tasks.iter().find(|task| past.id(&task.name).is_none()) {
            if settled >= SETTLED_KEPT {
                let why = format!("what became of {:?} is no longer kept", task.name);
                return Err(refuse(why));
            }
            past.before_additions = Some(whole);
        }
        Ok(past)
    }

    /// The id that a task of the plan had.
    pub(super) fn id(&self, name: &str) -> Option<TaskId> {
        self.planned.get(name).map(|(record, _)| record.id)
    }

    /// What a task of the plan was recorded with.
    pub(super) fn input(&self, name: &str) -> Option<&Input> {
        self.planned.get(name).map(|(_, input)| input)
    }

    /// The tasks of the plan that had settled, by their ids.
    pub(super) fn settled(&self) -> impl Iterator<Item = &Arc<Record>> {
        let planned = self.planned.values().map(|(record, _)| record);
        planned.filter(|record| record.state.is_terminal())
    }

    /// What was spawned and has not settled, parents first.
    pub(super) fn joined(&self) -> &[(Arc<Record>, Input)] {
        &self.joined
    }

    /// What is recorded of the run, if tasks were added to its plan since.
    pub(super) fn take_before_additions(&mut self) -> Option<Loaded> {
        self.before_additions.take()
    }

    /// The kinds of all tasks that may run again.
    pub(super) fn kinds(&self) -> HashSet<&str> {
        let tasks = self.planned.values().chain(&self.joined);
        tasks
            .filter_map(|(record, _)| Some(record.spec.kind.as_ref()?.as_str()))
            .collect()
    }
}

/// Finds the first task that is not as it was.
fn compare(recorded: &HashMap<String, (Arc<Record>, Input)>, plan: &Plan) -> Result<(), String> {
    let planned: HashMap<&str, &PlanTask> = plan
        .tasks
        .iter()
        .map(|task| (task.name.as_str(), task))
        .collect();
    let mut names: Vec<&String> = recorded.keys().collect();
    names.sort_unstable();
    for name in names {
        let Some(task) = planned.get(name.as_str()) else {
            return Err(format!("its task {name:?} is not in the plan"));
        };
        if let Some(key) = differing_key(&recorded[name].1.task, task) {
            return Err(format!("`{key}` of task {name:?} is not as it was"));
        }
    }
    Ok(())
}

/// The first key of a `[[task]]` in which two differ.
fn differing_key(one: &PlanTask, other: &PlanTask) -> Option<String> {
    let shape = |task| serde_json::to_value(task).unwrap_or(Value::Null);
    let (one, other) = (shape(one), shape(other));
    let keys = one.as_object()?.keys();
    keys.into_iter()
        .find(|key| one[*key] != other[*key])
        .cloned()
}
