//! The tasks of a run, planned and spawned later.
//!
//! # Invariants
//! 1. Ids are chosen before anything is accepted, and those of a run that goes on are taken from
//!    its records, so an event of a task is never about a stranger.
//! 2. Planned members stay. Of those that were spawned later, only so many are kept after their
//!    end as `show` wants.
//!
//! *Not here*: their records (the manager).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use understory::TaskId;
use uuid::Uuid;

use super::input::{self, Input};
use super::past::Past;

use crate::draw::Place;
use crate::plan::{Plan, PlanTask};
use crate::process::{Ended, Line};

/// The kind of tasks that name none.
pub(super) const KIND_DEFAULT: &str = "process";

/// One task of the run.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: TaskId,
    pub(super) input: Input,
    /// Its number, by which it is shown.
    pub(super) place: usize,
    parent: Option<usize>,
    heard: Mutex<Heard>,
}

/// What whoever spawned a task and waits for it is told.
#[derive(Debug, Default)]
struct Heard {
    listener: Option<mpsc::Sender<Line>>,
    last_end: Option<Ended>,
}

impl Member {
    fn new(id: TaskId, input: Input, place: usize, parent: Option<usize>) -> Self {
        Self {
            id,
            input,
            place,
            parent,
            heard: Mutex::default(),
        }
    }

    /// What it is, as a plan would have it.
    pub(super) fn task(&self) -> &PlanTask {
        &self.input.task
    }

    /// Its name, or what stands for it in paths.
    pub(super) fn name(&self) -> String {
        if self.task().name.is_empty() {
            self.id.short()
        } else {
            self.task().name.clone()
        }
    }

    /// What it is recorded with.
    pub(super) fn recorded(&self) -> Value {
        self.input.to_value()
    }

    /// How it is shown.
    pub(super) fn shown(&self) -> Place {
        Place {
            name: self.name(),
            parent: self.parent,
        }
    }

    /// Who hears its output as it comes, if anybody does.
    pub(super) fn listener(&self) -> Option<mpsc::Sender<Line>> {
        self.heard().listener.clone()
    }

    /// Nobody hears it any more.
    pub(super) fn hush(&self) {
        self.heard().listener = None;
    }

    /// How the last of its processes ended.
    pub(super) fn last_end(&self) -> Option<Ended> {
        self.heard().last_end.clone()
    }

    pub(super) fn note_end(&self, ended: &Ended) {
        self.heard().last_end = Some(ended.clone());
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that joins the crew while it runs.
#[derive(Debug)]
pub(super) struct Recruit {
    pub(super) task: PlanTask,
    pub(super) unset: Vec<String>,
    pub(super) parent: Option<TaskId>,
    pub(super) listener: Option<mpsc::Sender<Line>>,
}

#[derive(Debug)]
pub(super) struct Crew {
    planned: Vec<Arc<Member>>,
    by_name: HashMap<String, usize>,
    roll: RwLock<Roll>,
    grace: Duration,
}

#[derive(Debug, Default)]
struct Roll {
    by_id: HashMap<TaskId, Arc<Member>>,
    places: usize,
}

impl Crew {
    pub(super) fn new(plan: &Plan, past: &Past, grace: Duration) -> Self {
        let mut planned: Vec<Arc<Member>> = Vec::with_capacity(plan.tasks.len());
        let mut by_name = HashMap::new();
        let mut roll = Roll::default();
        let directory = input::directory();
        for (place, task) in plan.tasks.iter().enumerate() {
            let id = past.id(&task.name);
            let id = id.unwrap_or_else(|| TaskId::from(Uuid::now_v7()));
            let input = past.input(&task.name).cloned().unwrap_or_else(|| Input {
                is_planned: true,
                directory: directory.clone(),
                unset: Vec::new(),
                task: task.clone(),
            });
            // Parents come first in a plan.
            let parent = task.parent.as_ref();
            let parent = parent.and_then(|name| by_name.get(name).copied());
            let member = Arc::new(Member::new(id, input, place, parent));
            by_name.insert(task.name.clone(), place);
            roll.by_id.insert(id, Arc::clone(&member));
            planned.push(member);
        }
        roll.places = planned.len();
        for (record, input) in past.joined() {
            let above = record.parent.and_then(|id| roll.by_id.get(&id));
            let parent = above.map(|member| member.place);
            let member = Member::new(record.id, input.clone(), roll.places, parent);
            roll.places += 1;
            roll.by_id.insert(record.id, Arc::new(member));
        }
        Self {
            planned,
            by_name,
            roll: RwLock::new(roll),
            grace,
        }
    }

    /// Takes in a task that is about to be asked for.
    pub(super) fn take_in(&self, recruit: Recruit) -> Arc<Member> {
        let mut roll = self.roll.write().unwrap_or_else(PoisonError::into_inner);
        let above = recruit.parent.and_then(|id| roll.by_id.get(&id));
        let parent = above.map(|member| member.place);
        let id = TaskId::from(Uuid::now_v7());
        let input = Input {
            is_planned: false,
            directory: None,
            unset: recruit.unset,
            task: recruit.task,
        };
        let mut member = Member::new(id, input, roll.places, parent);
        member.heard = Mutex::new(Heard {
            listener: recruit.listener,
            last_end: None,
        });
        let member = Arc::new(member);
        roll.places += 1;
        roll.by_id.insert(id, Arc::clone(&member));
        member
    }

    /// Forgets a task that was not in the plan.
    pub(super) fn forget(&self, id: TaskId) {
        let mut roll = self.roll.write().unwrap_or_else(PoisonError::into_inner);
        let is_spawned = |member: &Arc<Member>| member.place >= self.planned.len();
        if roll.by_id.get(&id).is_some_and(is_spawned) {
            roll.by_id.remove(&id);
        }
    }

    /// The task of this name in the plan.
    pub(super) fn planned(&self, name: &str) -> Option<&Arc<Member>> {
        self.by_name.get(name).map(|place| &self.planned[*place])
    }

    pub(super) fn is_planned(&self, member: &Member) -> bool {
        member.place < self.planned.len()
    }

    pub(super) fn by_id(&self, id: TaskId) -> Option<Arc<Member>> {
        let roll = self.roll.read().unwrap_or_else(PoisonError::into_inner);
        roll.by_id.get(&id).cloned()
    }

    /// The ids of the tasks of the plan.
    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.planned.iter().map(|member| member.id)
    }

    /// The ids of the others, parents first.
    pub(super) fn joined(&self) -> Vec<TaskId> {
        let roll = self.roll.read().unwrap_or_else(PoisonError::into_inner);
        let others = roll.by_id.values();
        let others = others.filter(|member| !self.is_planned(member));
        let mut others: Vec<_> = others.map(|member| (member.place, member.id)).collect();
        others.sort_unstable();
        others.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.planned.iter().map(|member| member.shown()).collect()
    }

    pub(super) fn kinds(&self) -> BTreeSet<&str> {
        self.planned
            .iter()
            .map(|member| kind(member.task()))
            .collect()
    }

    /// Time between SIGTERM and SIGKILL.
    pub(super) fn grace(&self, task: &PlanTask) -> Duration {
        task.grace.unwrap_or(self.grace)
    }
}

pub(super) fn kind(task: &PlanTask) -> &str {
    task.kind.as_deref().unwrap_or(KIND_DEFAULT)
}
