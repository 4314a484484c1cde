//! The tasks of a run by name and by id, and the gate before their processes.
//!
//! # Invariants
//! 1. Ids are chosen before anything is accepted, so an event of a task is never about a stranger.
//!
//! *Not here*: their records (the manager).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::sync::watch;
use understory::TaskId;
use uuid::Uuid;

use crate::draw::Place;
use crate::plan::{Plan, PlanTask};

/// The kind of tasks that name none.
const KIND_DEFAULT: &str = "process";

/// One task of the run.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: TaskId,
    pub(super) task: PlanTask,
    parent: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Crew {
    members: Vec<Member>,
    by_name: HashMap<String, usize>,
    by_id: HashMap<TaskId, usize>,
    grace: Duration,
    gate: watch::Sender<bool>,
}

impl Crew {
    pub(super) fn new(plan: &Plan, grace: Duration) -> Self {
        let mut crew = Self {
            members: Vec::with_capacity(plan.tasks.len()),
            by_name: HashMap::new(),
            by_id: HashMap::new(),
            grace,
            gate: watch::Sender::new(false),
        };
        for (place, task) in plan.tasks.iter().enumerate() {
            let id = TaskId::from(Uuid::now_v7());
            // Parents come first in a plan.
            let parent = task
                .parent
                .as_ref()
                .and_then(|name| crew.by_name.get(name).copied());
            crew.by_name.insert(task.name.clone(), place);
            crew.by_id.insert(id, place);
            crew.members.push(Member {
                id,
                task: task.clone(),
                parent,
            });
        }
        crew
    }

    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.by_name.get(name).map(|place| &self.members[*place])
    }

    pub(super) fn by_id(&self, id: TaskId) -> Option<&Member> {
        self.place(id).map(|place| &self.members[place])
    }

    /// The place of a task in the plan.
    pub(super) fn place(&self, id: TaskId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.members.iter().map(|member| member.id)
    }

    pub(super) fn places(&self) -> Vec<Place> {
        let place = |member: &Member| Place {
            name: member.task.name.clone(),
            parent: member.parent,
        };
        self.members.iter().map(place).collect()
    }

    pub(super) fn kinds(&self) -> BTreeSet<&str> {
        self.members
            .iter()
            .map(|member| kind(&member.task))
            .collect()
    }

    /// Time between SIGTERM and SIGKILL.
    pub(super) fn grace(&self, task: &PlanTask) -> Duration {
        task.grace.unwrap_or(self.grace)
    }

    /// Lets processes start.
    pub(super) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// Waits until processes may start.
    pub(super) async fn gate_opened(&self) {
        // The sender is ours, so it is never gone.
        let _ = self.gate.subscribe().wait_for(|is_open| *is_open).await;
    }
}

pub(super) fn kind(task: &PlanTask) -> &str {
    task.kind.as_deref().unwrap_or(KIND_DEFAULT)
}
