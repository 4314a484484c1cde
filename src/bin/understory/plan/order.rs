//! What the tasks of a plan say about each other, and an order in which they can be accepted.
//!
//! # Invariants
//! 1. A task *starts* after its parent has started and after each `after` target is *done*; it is
//!    *done* after it has started and after each child is done that it does not detach. A plan in
//!    which these waits have a cycle can never end and is refused.
//!
//! *Not here*: the values of single keys (`entry`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use toml::Spanned;

use super::bounds;
use super::entry::{Entries, Entry};
use super::problem::{Problems, nearest};
use super::{DEPTH_MAX, GLOBAL_CLASS, Plan, PlanParentEnd, PlanTask};

/// The links of the tasks by their index, as far as they could be resolved.
struct Links {
    parents: Vec<Option<usize>>,
    /// With the place where each is written.
    after: Vec<Vec<(usize, Range<usize>)>>,
}

pub(super) fn check(entries: Entries, problems: &mut Problems) -> Plan {
    let names = index_names(&entries.tasks, problems);
    for entry in &entries.tasks {
        check_limits(entry, &entries, problems);
    }
    let mut links = resolve(&entries.tasks, &names, problems);
    refuse_depth(&entries.tasks, &links, problems);
    bounds::check(&entries, &links.parents, problems);
    refuse_kin(&entries.tasks, &mut links, problems);
    refuse_cycles(&entries.tasks, &links, problems);
    let order = accept_order(&links);
    let mut tasks: Vec<Option<Entry>> = entries.tasks.into_iter().map(Some).collect();
    Plan {
        tasks: order
            .into_iter()
            .filter_map(|at| tasks[at].take().map(into_task))
            .collect(),
        limits: entries.limits,
        global_limit: entries.global_limit,
        bounds: entries.bounds,
    }
}

fn into_task(entry: Entry) -> PlanTask {
    let texts = |spanned: Vec<Spanned<String>>| -> BTreeSet<String> {
        spanned.into_iter().map(Spanned::into_inner).collect()
    };
    PlanTask {
        parent: entry.parent.map(Spanned::into_inner),
        after: texts(entry.after).into_iter().collect(),
        limits: texts(entry.limits).into_iter().collect(),
        ..entry.task
    }
}

fn index_names(tasks: &[Entry], problems: &mut Problems) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for (at, entry) in tasks
        .iter()
        .enumerate()
        .filter(|(_, entry)| !entry.task.name.is_empty())
    {
        if names.contains_key(&entry.task.name) {
            let wrong = format!("the name {:?} is taken by another task", entry.task.name);
            problems.add(entry.at.clone(), wrong, "choose another name");
        } else {
            names.insert(entry.task.name.clone(), at);
        }
    }
    names
}

fn check_limits(entry: &Entry, entries: &Entries, problems: &mut Problems) {
    for class in &entry.limits {
        let name = class.get_ref().as_str();
        if name == GLOBAL_CLASS {
            let write = "drop it here; [limits] is the place for its size";
            problems.add(
                class.span(),
                "every task counts as \"global\" by itself",
                write,
            );
        } else if !entries.limits.contains_key(name) {
            let known = entries.limits.keys().map(String::as_str);
            let write = match nearest(name, known) {
                Some(near) => format!("write {near:?}"),
                None => format!("give its size as {name} = 2 in [limits]"),
            };
            problems.add(class.span(), format!("unknown limit class {name:?}"), write);
        }
    }
}

fn resolve(tasks: &[Entry], names: &BTreeMap<String, usize>, problems: &mut Problems) -> Links {
    let mut find = |mention: &Spanned<String>| {
        let name = mention.get_ref();
        let found = names.get(name).copied();
        if found.is_none() {
            let write = match nearest(name, names.keys().map(String::as_str)) {
                Some(near) => format!("write {near:?}"),
                None => "write the name of a task of this plan".to_owned(),
            };
            problems.add(mention.span(), format!("no task is named {name:?}"), write);
        }
        found
    };
    let mut links = Links {
        parents: Vec::new(),
        after: Vec::new(),
    };
    for entry in tasks {
        links
            .parents
            .push(entry.parent.as_ref().and_then(&mut find));
        let after = entry.after.iter();
        let after = after.filter_map(|mention| Some((find(mention)?, mention.span())));
        links.after.push(after.collect());
    }
    links
}

/// Refuses tasks with too many above them. Parents that form a ring are told elsewhere.
fn refuse_depth(tasks: &[Entry], links: &Links, problems: &mut Problems) {
    for (task, entry) in tasks.iter().enumerate() {
        let first_beyond = ancestors(&links.parents, task).nth(DEPTH_MAX as usize);
        let is_ring = || ancestors(&links.parents, task).any(|above| above == task);
        let parent = links.parents[task];
        // Of a chain that is too deep, the first task beyond is enough.
        let is_first = || {
            parent.is_some_and(|parent| {
                ancestors(&links.parents, parent)
                    .nth(DEPTH_MAX as usize)
                    .is_none()
            })
        };
        if first_beyond.is_some() && is_first() && !is_ring() {
            let wrong = format!(
                "more than {DEPTH_MAX} tasks are above {:?}",
                entry.task.name
            );
            problems.add(entry.at.clone(), wrong, "hang it higher");
        }
    }
}

/// Refuses `after` on the task itself, on an ancestor and on a descendant, and forgets these links.
fn refuse_kin(tasks: &[Entry], links: &mut Links, problems: &mut Problems) {
    let parents = &links.parents;
    for (task, targets) in links.after.iter_mut().enumerate() {
        let name = &tasks[task].task.name;
        targets.retain(|(target, at)| {
            let other = &tasks[*target].task.name;
            let wrong = if *target == task {
                format!("{name:?} would wait for itself")
            } else if ancestors(parents, task).any(|above| above == *target) {
                format!("{name:?} would wait for {other:?}, which ends only after what is below it")
            } else if ancestors(parents, *target).any(|above| above == task) {
                format!(
                    "{name:?} would wait for {other:?}, which starts only after what is above it"
                )
            } else {
                return true;
            };
            problems.add(
                at.clone(),
                wrong,
                "write the name of a task of another branch",
            );
            false
        });
    }
}

/// The tasks above one; it ends even where the parents form a cycle.
pub(super) fn ancestors(parents: &[Option<usize>], task: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(parents[task], |above| parents[*above]).take(parents.len())
}

/// A moment of a task that other moments wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Start(usize),
    Done(usize),
}

impl Moment {
    fn index(self) -> usize {
        match self {
            Self::Start(task) => 2 * task,
            Self::Done(task) => 2 * task + 1,
        }
    }

    fn at_index(index: usize) -> Self {
        if index.is_multiple_of(2) {
            Self::Start(index / 2)
        } else {
            Self::Done(index / 2)
        }
    }
}

/// For each moment, by its index, the moments it waits for (invariant 1).
fn waits(tasks: &[Entry], links: &Links) -> Vec<Vec<usize>> {
    let mut waits = vec![Vec::new(); tasks.len() * 2];
    for (task, entry) in tasks.iter().enumerate() {
        waits[Moment::Done(task).index()].push(Moment::Start(task).index());
        for (target, _) in &links.after[task] {
            waits[Moment::Start(task).index()].push(Moment::Done(*target).index());
        }
        if let Some(parent) = links.parents[task] {
            waits[Moment::Start(task).index()].push(Moment::Start(parent).index());
            if entry.task.on_parent_end != Some(PlanParentEnd::Detach) {
                waits[Moment::Done(parent).index()].push(Moment::Done(task).index());
            }
        }
    }
    waits
}

fn refuse_cycles(tasks: &[Entry], links: &Links, problems: &mut Problems) {
    let mut waits = waits(tasks, links);
    while let Some(cycle) = find_cycle(&waits) {
        let moments: Vec<Moment> = cycle.iter().map(|index| Moment::at_index(*index)).collect();
        let mut involved: Vec<usize> = moments.iter().map(|moment| task_of(*moment)).collect();
        involved.dedup();
        let first = involved[0];
        let place = place_of_cycle(tasks, links, &involved);
        let wrong = format!(
            "{:?} would wait for itself: {}",
            tasks[first].task.name,
            describe(tasks, &moments)
        );
        problems.add(place, wrong, "drop one of these waits");
        // One ring is told once, though its starts and its ends may both go round.
        for task in involved {
            waits[Moment::Start(task).index()].clear();
            waits[Moment::Done(task).index()].clear();
        }
    }
}

/// The first moments that wait for each other in a ring, if there are any.
fn find_cycle(waits: &[Vec<usize>]) -> Option<Vec<usize>> {
    let order = sorted(waits);
    let mut is_free = vec![false; waits.len()];
    for index in order {
        is_free[index] = true;
    }
    let mut at = is_free.iter().position(|free| !free)?;
    let mut walked = Vec::new();
    // Every moment that is not free waits for another one of its kind, so the walk comes back.
    loop {
        if let Some(start) = walked.iter().position(|seen| *seen == at) {
            return Some(walked.split_off(start));
        }
        walked.push(at);
        at = waits[at].iter().copied().find(|next| !is_free[*next])?;
    }
}

/// What can be put in order so that each comes after what it waits for, in the order of the plan.
fn sorted(waits: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = waits.iter().map(Vec::len).collect();
    let mut waiters = vec![Vec::new(); waits.len()];
    for (index, targets) in waits.iter().enumerate() {
        for target in targets {
            waiters[*target].push(index);
        }
    }
    let mut ready: VecDeque<usize> = (0..waits.len())
        .filter(|index| missing[*index] == 0)
        .collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(index) = ready.pop_front() {
        order.push(index);
        for waiter in &waiters[index] {
            missing[*waiter] -= 1;
            if missing[*waiter] == 0 {
                ready.push_back(*waiter);
            }
        }
    }
    order
}

/// Parents and `after` targets first, otherwise as written.
fn accept_order(links: &Links) -> Vec<usize> {
    let waits: Vec<Vec<usize>> = (0..links.parents.len())
        .map(|task| {
            let after = links.after[task].iter().map(|(target, _)| *target);
            links.parents[task].into_iter().chain(after).collect()
        })
        .collect();
    sorted(&waits)
}

fn task_of(moment: Moment) -> usize {
    match moment {
        Moment::Start(task) | Moment::Done(task) => task,
    }
}

/// An `after` of the ring, or else the parent of one of its tasks.
fn place_of_cycle(tasks: &[Entry], links: &Links, involved: &[usize]) -> Range<usize> {
    let mut afters = involved.iter().flat_map(|task| &links.after[*task]);
    let after = afters
        .find(|(target, _)| involved.contains(target))
        .map(|(_, at)| at.clone());
    let parent = || tasks[involved[0]].parent.as_ref().map(Spanned::span);
    after
        .or_else(parent)
        .unwrap_or_else(|| tasks[involved[0]].at.clone())
}

fn describe(tasks: &[Entry], ring: &[Moment]) -> String {
    let name = |task: usize| &tasks[task].task.name;
    let nexts = ring.iter().cycle().skip(1);
    let mut parts = Vec::new();
    for (moment, next) in ring.iter().zip(nexts) {
        match (*moment, *next) {
            (Moment::Start(task), Moment::Done(other)) => {
                parts.push(format!("{:?} runs after {:?}", name(task), name(other)));
            }
            (Moment::Start(task), Moment::Start(other)) => {
                parts.push(format!(
                    "{:?} starts after its parent {:?}",
                    name(task),
                    name(other)
                ));
            }
            (Moment::Done(task), Moment::Done(other)) => {
                parts.push(format!(
                    "{:?} ends after its child {:?}",
                    name(task),
                    name(other)
                ));
            }
            // That a task ends after it has started needs no saying.
            (Moment::Done(_), Moment::Start(_)) => {}
        }
    }
    parts.join(", ")
}
