//! Small worlds, walked to the end: whatever three tasks can be, and whatever can happen to them
//! there.
//!
//! The walk goes from each situation it has not seen yet to all that follow, whatever the number of
//! inputs it takes. Two situations are one when the kernel cannot tell them apart by anything but
//! numbers and times. After each step all checkers have looked; at the end of each path that
//! settles all, everybody was answered.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::bed::{Bed, SECOND, done, fault, id, json};
use super::seeds::has_time;
use crate::kernel::{
    Bounds, Class, ClassName, End, FaultKind, Input, LateSuccess, OnParentEnd, Origin, Retry, Spec,
    StopPolicy, Target, Wait,
};

/// One thing that can happen to the task of this number.
type Happening = fn(&mut Bed, u32);

const TO_A_TASK: [Happening; 9] = [
    |bed, number| drop(bed.end(number, done())),
    |bed, number| drop(bed.end(number, fault(FaultKind::Error))),
    |bed, number| drop(bed.end(number, End::Suspended(json("1")))),
    |bed, number| park(bed, number, Some(Wait::Parked)),
    |bed, number| park(bed, number, None),
    |bed, number| drop(bed.cancel(Target::One(id(number)), None)),
    |bed, number| drop(bed.cancel(Target::Tree(id(number)), Some(SECOND))),
    |bed, number| drop(bed.resume(number, "2")),
    |bed, number| drop(bed.say(number, "3")),
];

/// What is special about a task.
type Special = fn(&mut Spec);

/// A world: three tasks, which may be asked for in any order.
#[derive(Clone, Copy)]
struct Small {
    specs: [Special; 3],
    origin: Origin,
}

fn park(bed: &mut Bed, number: u32, on: Option<Wait>) {
    // A body counts its turns; any number that grows will do.
    bed.tickets += 1;
    bed.park(number, bed.tickets, on);
}

fn tick(bed: &mut Bed) {
    if let Some(due) = bed.kernel.next_tick() {
        bed.now = bed.now.max(due);
        bed.step(Input::Tick);
    }
}

fn bed() -> Bed {
    let mut bounds = Bounds {
        grace: 2 * SECOND,
        ..Bounds::default()
    };
    bounds.named.insert(one(), Class::queue(1));
    Bed::new(bounds)
}

fn one() -> ClassName {
    ClassName::new("one").expect("a valid class name")
}

impl Small {
    /// What follows from a situation, by one input each.
    fn next(&self, from: &Bed) -> Vec<Bed> {
        let mut found = Vec::new();
        let mut add = |happening: &dyn Fn(&mut Bed)| {
            let mut bed = from.clone();
            happening(&mut bed);
            found.push(bed);
        };
        for number in 1..=3 {
            if from.records.contains_key(&id(number)) {
                for happening in TO_A_TASK {
                    add(&|bed| happening(bed, number));
                }
            } else {
                let special = self.specs[number as usize - 1];
                add(&|bed| {
                    bed.spawn(number, |spec| {
                        spec.origin = self.origin;
                        special(spec);
                    });
                });
            }
        }
        add(&tick);
        add(&|bed| drop(bed.crash()));
        add(&|bed| drop(bed.shutdown()));
        found
    }

    /// Walks everything that can be reached and tells how many situations there are.
    fn walk(&self) -> usize {
        let mut seen = BTreeSet::new();
        let mut left = VecDeque::from([bed()]);
        let mut over = 0;
        while let Some(from) = left.pop_front() {
            for mut bed in self.next(&from) {
                if !seen.insert(bed.kernel.facts()) {
                    continue;
                }
                if bed.kernel.live() == 0 {
                    bed.checks.all_answered().expect("everybody is answered");
                    over += 1;
                }
                // What happened is for people; a crash needs only the number of the newest event.
                bed.events.drain(..bed.events.len().saturating_sub(1));
                left.push_back(bed);
            }
        }
        assert!(over > 0, "some paths settle everything");
        seen.len()
    }
}

const PARENTS: [Special; 2] = [
    |_| {},
    |spec| {
        spec.retry = Retry::fixed(1, SECOND);
        spec.timeout = Some(Duration::from_mins(1));
        spec.limits = vec![one()];
    },
];

const CHILDREN: [Special; 4] = [
    |spec| spec.parent = Some(id(1)),
    |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
        spec.limits = vec![one()];
    },
    |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Detach);
        spec.stop_policy = StopPolicy::Cooperative;
    },
    |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Cancel);
        spec.retry = Retry::fixed(1, SECOND);
        spec.late_success = LateSuccess::Completed;
    },
];

const THIRDS: [Special; 3] = [
    |spec| {
        spec.after = vec![id(2)];
        spec.limits = vec![one()];
    },
    |spec| {
        spec.parent = Some(id(1));
        spec.after = vec![id(2)];
    },
    |spec| {
        spec.parent = Some(id(2));
        spec.on_parent_end = Some(OnParentEnd::Detach);
    },
];

/// All worlds of one third task, each to its end; every seventh of them when there is little time.
fn walk_all(third: Special) {
    let mut worlds = Vec::new();
    for origin in [Origin::Executor, Origin::Closure] {
        for parent in PARENTS {
            for child in CHILDREN {
                let specs = [parent, child, third];
                worlds.push(Small { specs, origin });
            }
        }
    }
    let step = if has_time() { 1 } else { 7 };
    for world in worlds.into_iter().step_by(step) {
        let situations = world.walk();
        assert!(situations > 200, "only {situations} situations");
    }
}

#[test]
fn parent_child_and_dependent_keep_every_promise() {
    walk_all(THIRDS[0]);
}

#[test]
fn parent_and_children_in_a_row_keep_every_promise() {
    walk_all(THIRDS[1]);
}

#[test]
fn parent_child_and_grandchild_keep_every_promise() {
    walk_all(THIRDS[2]);
}
