//! Priorities, tasks above a full limit, and what limits have room for.

use std::time::Duration;

use super::super::bed::{Bed, answers, done, fault, id, scope, starts};
use crate::kernel::{
    Bounds, Class, ClassName, Control, Controlled, Effect, FaultKind, Input, Reply, Retry, Spec,
    State, WhenFull,
};

fn named() -> ClassName {
    ClassName::new("l").expect("a valid class name")
}

fn bed(class: Class) -> Bed {
    let mut bounds = Bounds::default();
    bounds.named.insert(named(), class);
    Bed::new(bounds)
}

fn limited(spec: &mut Spec) {
    spec.limits = vec![named()];
}

fn of_priority(priority: i16) -> impl Fn(&mut Spec) {
    move |spec| {
        limited(spec);
        spec.priority = priority;
    }
}

#[test]
fn higher_priority_goes_first_and_equal_ones_in_order() {
    let mut bed = bed(Class::queue(1));
    bed.spawn(1, limited);
    for (number, priority) in [(2, 0), (3, 5), (4, -3), (5, 5), (6, 0)] {
        bed.spawn(number, of_priority(priority));
    }

    let mut order = Vec::new();
    for number in [1, 3, 5, 2, 6, 4] {
        order.extend(starts(&bed.end(number, done())));
    }

    assert_eq!(order, [3, 5, 2, 6, 4].map(id));
}

#[test]
fn priority_in_one_scope_takes_no_turn_of_another() {
    let mut bed = bed(Class::queue(1));
    bed.spawn(1, limited);
    bed.spawn(2, of_priority(9));
    bed.spawn(3, of_priority(9));
    bed.spawn(4, |spec| {
        limited(spec);
        spec.scope = scope("t");
    });

    let first = starts(&bed.end(1, done()));
    let second = starts(&bed.end(2, done()));

    assert_eq!((first, second), (vec![id(2)], vec![id(4)]));
}

#[test]
fn priority_counts_across_the_classes_of_a_scope() {
    let mut bounds = Bounds {
        global: Some(Class::queue(1)),
        ..Bounds::default()
    };
    bounds.named.insert(named(), Class::queue(9));
    let mut bed = Bed::new(bounds);
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.spawn(3, of_priority(1));

    assert_eq!(starts(&bed.end(1, done())), [id(3)]);
}

#[test]
fn withdrawn_task_of_high_priority_leaves_its_place() {
    let mut bed = bed(Class::queue(1));
    bed.spawn(1, limited);
    bed.spawn(2, of_priority(5));
    bed.spawn(3, limited);
    bed.cancel_one(2);

    assert_eq!(starts(&bed.end(1, done())), [id(3)]);
}

#[test]
fn above_a_full_inline_limit_a_task_runs_without_a_slot() {
    let mut bed = bed(Class::inline(1));
    bed.spawn(1, limited);

    let started = starts(&bed.spawn(2, limited));

    assert_eq!(started, [id(2)]);
    assert_eq!((bed.record(1).inline, bed.record(2).inline), (false, true));
    assert_eq!(bed.kernel.slots()[0].1, 1);
    bed.end(1, done());
    bed.spawn(3, limited);
    assert!(!bed.record(3).inline);
}

#[test]
fn inline_task_waits_for_its_other_limits() {
    let other = ClassName::new("other").expect("a valid class name");
    let mut bounds = Bounds::default();
    bounds.named.insert(named(), Class::inline(1));
    bounds.named.insert(other.clone(), Class::queue(1));
    let mut bed = Bed::new(bounds);
    let both = |spec: &mut Spec| spec.limits = vec![named(), other.clone()];
    bed.spawn(1, both);

    bed.spawn(2, both);

    assert_eq!((bed.state(2), bed.record(2).inline), (State::Pending, true));
    assert_eq!(starts(&bed.end(1, done())), [id(2)]);
}

#[test]
fn inline_scope_limit_leaves_nothing_behind() {
    let mut bed = Bed::new(Bounds {
        per_scope: Some(Class::inline(1)),
        ..Bounds::default()
    });
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.end(1, done());
    assert!(bed.kernel.slots().is_empty());

    bed.spawn(3, |_| {});
    assert_eq!((bed.record(2).inline, bed.record(3).inline), (true, false));
}

#[test]
fn inline_task_needs_no_slot_for_a_further_attempt_or_after_a_crash() {
    let mut bed = bed(Class::inline(1));
    bed.spawn(1, limited);
    bed.spawn(2, |spec| {
        limited(spec);
        spec.retry = Retry::fixed(2, Duration::ZERO);
    });
    bed.end(2, fault(FaultKind::Error));
    assert_eq!(starts(&bed.pass(Duration::ZERO)), [id(2)]);

    bed.crash();

    assert!(bed.record(2).inline);
    assert_eq!(starts(&bed.pass(Duration::ZERO)), [id(2)]);
}

fn capacity(bed: &mut Bed, of: &str) -> Vec<(String, [u32; 5])> {
    let (ticket, ask) = (bed.ticket(), Control::Capacity(Some(scope(of))));
    let effects: Vec<Effect> = bed.step(Input::Control { ticket, ask });
    let [(_, Reply::Controlled(Controlled::Capacity(classes)))] = &answers(&effects)[..] else {
        panic!("{effects:?}");
    };
    let row = |class: &crate::kernel::Capacity| {
        let numbers = [
            class.max,
            class.in_use,
            class.queued,
            class.queue_room,
            class.free(),
        ];
        (class.class.to_string(), numbers)
    };
    classes.iter().map(row).collect()
}

#[test]
fn capacity_tells_each_class_of_a_scope_and_no_other_scope() {
    let mut bounds = Bounds {
        global: Some(Class::refuse(9)),
        per_scope: Some(Class {
            size: 2,
            when_full: WhenFull::Queue { waiting_max: 3 },
        }),
        ..Bounds::default()
    };
    bounds.named.insert(named(), Class::inline(1));
    let mut bed = Bed::new(bounds);
    bed.spawn(1, limited);
    bed.spawn(2, |_| {});
    bed.spawn(3, |_| {});

    let s = capacity(&mut bed, "s");
    let t = capacity(&mut bed, "t");

    let all = ("all tasks".to_owned(), [9, 2, 1, 0, 6]);
    let llm = ("limit l".to_owned(), [1, 1, 0, 0, 0]);
    assert_eq!(
        s,
        [
            all.clone(),
            ("scope s".to_owned(), [2, 2, 1, 2, 0]),
            llm.clone()
        ]
    );
    assert_eq!(t, [all, llm, ("scope t".to_owned(), [2, 0, 0, 3, 2])]);
}

#[test]
fn limit_that_is_configured_no_more_frees_its_tasks_from_no_other() {
    let mut bounds = Bounds {
        global: Some(Class::queue(1)),
        ..Bounds::default()
    };
    bounds.named.insert(named(), Class::queue(1));
    let mut bed = Bed::new(bounds);
    for number in 1..=3 {
        bed.spawn(number, limited);
    }
    bed.bounds.named.clear();

    let started = starts(&bed.crash());

    assert_eq!(started.len(), 1, "{started:?}");
}

#[test]
fn task_of_a_limit_that_is_configured_no_more_takes_a_slot_where_it_is_moved_to() {
    let mut bounds = Bounds::default();
    bounds.named.insert(named(), Class::queue(1));
    bounds.scopes.insert(scope("t"), Class::queue(1));
    let mut bed = Bed::new(bounds);
    bed.spawn(1, limited);
    bed.spawn(2, limited);
    bed.bounds.named.clear();
    bed.crash();
    let of_t = |spec: &mut Spec| spec.scope = scope("t");
    bed.spawn(3, of_t);
    let (ticket, ids, to) = (bed.ticket(), vec![id(2)], scope("t"));
    let ask = Control::Transfer { ids, to };
    bed.step(Input::Control { ticket, ask });
    bed.spawn(4, of_t);

    let first = starts(&bed.end(3, done()));
    let second = starts(&bed.end(2, done()));

    assert_eq!((first, second), (vec![], vec![id(4)]));
}

#[test]
fn p12_queue_has_its_order_and_its_priorities_after_a_crash() {
    let mut bed = bed(Class::queue(1));
    bed.spawn(1, limited);
    for (number, priority) in [(2, 0), (3, 0), (4, 5), (5, 0)] {
        bed.spawn(number, of_priority(priority));
        // Two of them began to wait at the same time.
        bed.now = bed.now.after(Duration::from_micros(u64::from(number > 2)));
    }

    let mut order = starts(&bed.crash());
    for number in [4, 2, 3] {
        order.extend(starts(&bed.end(number, done())));
    }

    assert_eq!(order, [4, 2, 3, 5].map(id));
}

#[test]
fn after_a_crash_priority_in_one_scope_takes_no_turn_of_another() {
    let mut bed = bed(Class::queue(2));
    bed.spawn(1, limited);
    bed.spawn(2, limited);
    for number in [3, 4, 5] {
        bed.spawn(number, of_priority(9));
    }
    bed.spawn(6, |spec| {
        limited(spec);
        spec.scope = scope("t");
    });

    let first = starts(&bed.crash());
    let second = starts(&bed.end(3, done()));

    assert_eq!((first, second), (vec![id(3), id(6)], vec![id(4)]));
}

#[test]
fn after_a_crash_tasks_of_other_limits_take_no_turn_of_those_that_share_one() {
    let other = ClassName::new("other").expect("a valid class name");
    let mut bounds = Bounds::default();
    bounds.named.insert(named(), Class::queue(1));
    bounds.named.insert(other.clone(), Class::queue(1));
    let mut bed = Bed::new(bounds);
    let of_other = |spec: &mut Spec| spec.limits = vec![other.clone()];
    bed.spawn(1, limited);
    bed.spawn(2, of_other);
    bed.spawn(3, of_other);
    bed.spawn(4, limited);
    bed.spawn(5, |spec| {
        limited(spec);
        spec.scope = scope("t");
    });

    let mut started = starts(&bed.crash());

    started.sort_unstable();
    assert_eq!(started, [3, 4].map(id));
    assert_eq!(starts(&bed.end(4, done())), [id(5)]);
}
