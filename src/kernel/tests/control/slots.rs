//! Who takes a slot of which limit, who counts as waiting for one, and whose turn it is.

use std::sync::Arc;

use super::super::bed::{Bed, done, id, scope, starts};
use crate::kernel::{
    Bounds, Class, ClassName, Input, Kind, Reuse, Spec, State, Supervisor, Ticket, Timestamp,
    Visibility, WhenFull,
};

fn class(text: &str) -> ClassName {
    ClassName::new(text).expect("a valid class name")
}

/// Limits of these names.
fn bed(classes: &[(&str, Class)]) -> Bed {
    let mut bounds = Bounds::default();
    for (name, of) in classes {
        bounds.named.insert(class(name), *of);
    }
    Bed::new(bounds)
}

fn limited(names: &'static [&'static str]) -> impl Fn(&mut Spec) {
    move |spec| spec.limits = names.iter().map(|name| class(name)).collect()
}

#[test]
fn hidden_task_takes_no_slot_of_all_of_its_kind_or_of_its_scope() {
    let kind = || Kind::new("k").expect("a valid kind");
    let one = Some(Class::queue(1));
    let all = [
        Bounds {
            global: one,
            ..Bounds::default()
        },
        Bounds {
            per_scope: one,
            ..Bounds::default()
        },
        Bounds {
            kinds: one.into_iter().map(|class| (kind(), class)).collect(),
            ..Bounds::default()
        },
    ];
    for (at, bounds) in all.into_iter().enumerate() {
        // Without the checks of a bed, which know of no hidden tasks at limits.
        let mut kernel = Supervisor::new(bounds, 1);
        let mut started = Vec::new();
        for (number, visibility) in [
            (1, Visibility::Hidden),
            (2, Visibility::Shown),
            (3, Visibility::Shown),
        ] {
            let mut spec = Spec::new(scope("s"));
            (spec.kind, spec.visibility) = (Some(kind()), visibility);
            let input = Input::Spawn {
                ticket: Ticket(u64::from(number)),
                id: id(number),
                spec: Arc::new(spec),
                by: None,
                reuse: Reuse::Refused,
            };
            let step = kernel.step(Timestamp::from_micros(1), input);
            started.extend(starts(&step.effects));
        }
        assert_eq!(started, [1, 2].map(id), "{at}");
    }
}

#[test]
fn task_of_two_limits_starts_first_when_both_have_room_and_keeps_neither_idle() {
    let mut bed = bed(&[("a", Class::queue(1)), ("b", Class::queue(1))]);
    bed.spawn(1, limited(&["a"]));
    bed.spawn(2, limited(&["b"]));
    bed.spawn(3, |spec| {
        limited(&["a", "b"])(spec);
        spec.priority = 9;
    });
    bed.spawn(4, limited(&["a"]));
    bed.spawn(5, limited(&["b"]));

    // One of both is free each time: who needs no more than that takes it.
    bed.end(1, done());
    bed.end(2, done());
    let running = [State::Pending, State::Running, State::Running];
    assert_eq!([3, 4, 5].map(|number| bed.state(number)), running);
    bed.end(4, done());
    bed.spawn(6, limited(&["a"]));
    bed.spawn(7, limited(&["a"]));
    bed.end(5, done());
    assert_eq!(
        [3, 6].map(|number| bed.state(number)),
        [State::Pending, State::Running]
    );

    bed.end(6, done());
    assert_eq!(
        [3, 7].map(|number| bed.state(number)),
        [State::Running, State::Pending]
    );
}

#[test]
fn limit_that_is_named_twice_takes_one_slot() {
    let mut bed = bed(&[("l", Class::queue(2))]);
    for (number, wanted) in [
        (1, State::Running),
        (2, State::Running),
        (3, State::Pending),
    ] {
        bed.spawn(number, limited(&["l", "l"]));
        assert_eq!(bed.state(number), wanted);
    }
    assert_eq!(starts(&bed.end(1, done())), [id(3)]);
}

#[test]
fn queue_holds_as_many_as_it_says_and_none_wait_while_there_is_room() {
    for waiting_max in [0, 2] {
        let size = 1;
        let when_full = WhenFull::Queue { waiting_max };
        let mut bed = bed(&[("l", Class { size, when_full })]);
        for number in 1..=waiting_max + 2 {
            bed.spawn(number, limited(&["l"]));
            let is_taken = bed.records.contains_key(&id(number));
            assert_eq!(
                is_taken,
                number < waiting_max + 2,
                "{waiting_max}: {number}"
            );
        }
    }
}

#[test]
fn task_that_waits_for_another_limit_counts_where_nobody_may_wait() {
    for (at_full, is_taken) in [(Class::refuse(1), false), (Class::inline(1), true)] {
        let mut bed = bed(&[("a", at_full), ("b", Class::queue(1))]);
        bed.spawn(1, limited(&["b"]));
        bed.spawn(2, limited(&["a", "b"]));
        assert_eq!(bed.state(2), State::Pending);
        bed.spawn(3, limited(&["a"]));
        assert_eq!(bed.records.contains_key(&id(3)), is_taken);
        if is_taken {
            assert!(bed.record(3).inline, "the slot is spoken for");
        }
    }
}

#[test]
fn scope_that_waits_in_several_lanes_has_one_turn_all_the_same() {
    let mut bed = bed(&[("a", Class::queue(1)), ("b", Class::queue(9))]);
    bed.spawn(1, limited(&["a"]));
    bed.spawn(2, limited(&["a"]));
    bed.spawn(3, limited(&["a", "b"]));
    bed.spawn(4, |spec| {
        limited(&["a"])(spec);
        spec.scope = scope("t");
    });
    let mut order = Vec::new();
    for number in [1, 2, 4] {
        order.extend(starts(&bed.end(number, done())));
    }
    assert_eq!(order, [2, 4, 3].map(id));
}
