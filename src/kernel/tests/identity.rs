//! Ids that are chosen, used again, and asked for twice; flights and keys.

use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, SECOND, done, id, key, scope};
use crate::kernel::{
    Accepted, Bounds, Class, Control, Effect, End, Epoch, Flight, Input, Reach, Refusal, Reply,
    Retry, Reuse, Spec, State, StopPolicy, Timestamp, Trace, Wait,
};

fn bed() -> Bed {
    Bed::new(Bounds::default())
}

fn answer(effects: &[Effect]) -> Result<Accepted, Refusal> {
    let answer = effects.iter().find_map(|effect| {
        if let Effect::Answer {
            reply: Reply::Spawned(answer),
            ..
        } = effect
        {
            return Some(answer.clone());
        }
        None
    });
    answer.expect("a spawn is answered")
}

fn flies(text: &str) -> impl Fn(&mut Spec) + use<> {
    let flight = Flight::Canonical(key(text));
    move |spec| spec.flight = Some(flight.clone())
}

#[test]
fn id_asked_for_again_in_the_same_way_is_the_same_task_live_or_settled() {
    let mut bed = bed();
    bed.spawn(1, |_| {});

    assert_eq!(answer(&bed.spawn(1, |_| {})), Ok(Accepted::Existing(id(1))));
    bed.end(1, done());
    assert_eq!(answer(&bed.spawn(1, |_| {})), Ok(Accepted::Existing(id(1))));

    let other = answer(&bed.spawn(1, |spec| spec.timeout = Some(SECOND)));
    assert_eq!(other, Err(Refusal::DuplicateId(id(1))));
    assert_eq!(bed.record(1).incarnation, 1);
}

#[test]
fn trace_makes_no_other_task_of_an_id() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace = Trace::new(parent, None).expect("it is a header");
    let again = bed.spawn(1, |spec| spec.trace = Some(trace.clone()));

    assert_eq!(answer(&again), Ok(Accepted::Existing(id(1))));
    assert_eq!(bed.record(1).spec.trace, None);
}

#[test]
fn id_is_used_again_only_after_its_task_has_settled_and_stopped() {
    let mut bed = bed();
    bed.spawn(1, |spec| spec.stop_policy = StopPolicy::Cooperative);
    let live = answer(&bed.reuse(1));
    bed.cancel_one(1);
    bed.pass(5 * SECOND);
    let abandoned = answer(&bed.reuse(1));
    bed.end(1, done());
    let stopped = answer(&bed.reuse(1));

    assert_eq!(live, Err(Refusal::DuplicateId(id(1))));
    assert_eq!(abandoned, Err(Refusal::DuplicateId(id(1))));
    assert_eq!(stopped, Ok(Accepted::New(id(1))));
    assert_eq!(bed.record(1).incarnation, 2);
}

#[test]
fn id_of_another_scope_is_not_used_again() {
    let mut bed = bed();
    bed.spawn(1, |spec| spec.scope = scope("t"));
    bed.end(1, done());

    assert_eq!(answer(&bed.reuse(1)), Err(Refusal::DuplicateId(id(1))));
}

#[test]
fn bodies_of_an_earlier_life_are_not_heard() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    let before = bed.epoch(1);
    bed.end(1, done());
    bed.reuse(1);

    assert_eq!(bed.epoch(1), before.next());
    let late = bed.step(Input::Report {
        id: id(1),
        epoch: before,
        end: done(),
        undelivered: 0,
    });
    assert!(late.is_empty());
    assert_eq!((bed.state(1), bed.record(1).attempt), (State::Running, 1));
}

#[test]
fn children_wait_for_the_start_of_the_life_they_are_below() {
    let mut bed = Bed::new(Bounds {
        global: Some(Class::queue(1)),
        ..Bounds::default()
    });
    bed.spawn(1, |_| {});
    bed.end(1, done());
    bed.spawn(9, |_| {});
    bed.reuse(1);
    bed.spawn(2, |spec| spec.parent = Some(id(1)));
    assert_eq!(
        (bed.state(1), bed.state(2)),
        (State::Pending, State::Pending)
    );

    bed.end(9, done());
    assert_eq!(bed.epoch(2), Epoch::default());
    bed.park(1, 1, Some(crate::kernel::Wait::Task(id(2))));
    assert_eq!(bed.state(2), State::Running);
}

#[test]
fn lives_and_their_fence_survive_a_crash() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.end(1, done());
    bed.reuse(1);
    bed.end(1, done());
    let before = bed.epoch(1);
    bed.crash();
    bed.reuse(1);

    assert_eq!(bed.record(1).incarnation, 3);
    assert_eq!(bed.epoch(1), before.next());
}

#[test]
fn settled_lives_are_kept_up_to_the_bound_however_often_an_id_is_used() {
    let mut bed = Bed::new(Bounds {
        settled_max: 2,
        ..Bounds::default()
    });
    bed.spawn(1, |_| {});
    bed.end(1, done());
    for number in 0..200 {
        bed.reuse(1);
        bed.end(1, done());
        bed.spawn(2 + number, |_| {});
        bed.end(2 + number, done());
    }
    assert!(bed.records.len() <= 2);
}

#[test]
fn key_of_an_earlier_life_is_free_and_its_window_does_not_end_that_of_the_next() {
    let mut bed = bed();
    let keyed = |spec: &mut Spec| {
        spec.key = Some(key("k"));
        spec.key_window = Some(10 * SECOND);
    };
    bed.spawn(1, keyed);
    bed.end(1, done());
    assert_eq!(answer(&bed.spawn(2, keyed)), Ok(Accepted::Existing(id(1))));
    bed.pass(9 * SECOND);
    bed.reuse(1);
    assert_eq!(answer(&bed.spawn(2, keyed)), Ok(Accepted::New(id(2))));
    bed.end(2, done());

    bed.pass(2 * SECOND);
    assert_eq!(answer(&bed.spawn(3, keyed)), Ok(Accepted::Existing(id(2))));
    bed.pass(Duration::from_secs(8));
    assert_eq!(answer(&bed.spawn(3, keyed)), Ok(Accepted::New(id(3))));
}

#[test]
fn window_of_a_task_goes_before_that_of_the_manager() {
    let mut bed = bed();
    let keyed = |spec: &mut Spec| {
        spec.key = Some(key("k"));
        spec.key_window = Some(SECOND);
    };
    bed.spawn(1, keyed);
    bed.end(1, done());
    bed.crash();
    assert_eq!(answer(&bed.spawn(2, keyed)), Ok(Accepted::Existing(id(1))));
    bed.pass(SECOND);
    assert_eq!(answer(&bed.spawn(2, keyed)), Ok(Accepted::New(id(2))));
}

#[test]
fn flight_is_one_task_until_its_body_has_stopped() {
    let mut bed = bed();
    bed.spawn(1, |spec| {
        flies("f")(spec);
        spec.stop_policy = StopPolicy::Cooperative;
    });
    bed.cancel_one(1);
    bed.pass(5 * SECOND);
    assert!(bed.record(1).is_abandoned());
    assert_eq!(
        answer(&bed.spawn(2, flies("f"))),
        Ok(Accepted::Existing(id(1)))
    );

    bed.end(1, done());
    let lasting = |spec: &mut Spec| {
        flies("f")(spec);
        spec.retry = Retry::fixed(1, SECOND);
    };
    assert_eq!(answer(&bed.spawn(2, lasting)), Ok(Accepted::New(id(2))));
    bed.crash();
    assert_eq!(
        answer(&bed.spawn(3, flies("f"))),
        Ok(Accepted::Existing(id(2)))
    );
}

#[test]
fn flight_goes_before_limits_and_names() {
    let mut bed = Bed::new(Bounds {
        global: Some(Class::refuse(1)),
        ..Bounds::default()
    });
    bed.spawn(1, flies("f"));

    let again = answer(&bed.spawn(2, flies("f")));
    let other = answer(&bed.spawn(3, flies("g")));
    assert_eq!(again, Ok(Accepted::Existing(id(1))));
    assert!(matches!(other, Err(Refusal::LimitReached(_))));
}

#[test]
fn flight_reaches_as_far_as_it_says() {
    let mut bed = bed();
    let far = |text: &'static str| {
        move |spec: &mut Spec| {
            flies("f")(spec);
            spec.flight_reach = Reach::Manager;
            spec.scope = scope(text);
        }
    };
    bed.spawn(1, flies("f"));
    let elsewhere = |spec: &mut Spec| {
        flies("f")(spec);
        spec.scope = scope("t");
    };
    assert_eq!(answer(&bed.spawn(2, elsewhere)), Ok(Accepted::New(id(2))));
    assert_eq!(answer(&bed.spawn(3, far("s"))), Ok(Accepted::New(id(3))));
    assert_eq!(
        answer(&bed.spawn(4, far("t"))),
        Ok(Accepted::Existing(id(3)))
    );
}

#[test]
fn next_life_of_a_dependency_that_has_completed_is_nothing_to_who_came_after_it() {
    let mut bed = Bed::new(Bounds {
        global: Some(Class::queue(1)),
        ..Bounds::default()
    });
    bed.spawn(1, |_| {});
    bed.end(1, done());
    bed.spawn(2, |_| {});
    bed.spawn(3, |spec| spec.after = vec![id(1)]);
    bed.reuse(1);

    bed.crash();

    assert_eq!(bed.state(2), State::Interrupted);
    assert_eq!(
        (bed.state(3), bed.state(1)),
        (State::Running, State::Pending)
    );
}

#[test]
fn next_life_of_a_dependency_that_ended_badly_is_nothing_to_who_came_after_the_first() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| spec.retry = Retry::fixed(1, Duration::ZERO));
    bed.spawn(3, |spec| spec.after = vec![id(1), id(2)]);
    bed.end(1, done());
    bed.reuse(1);
    bed.cancel_one(1);
    bed.end(1, done());
    assert_eq!(bed.state(1), State::Cancelled);
    assert_eq!(bed.record(3).wait, Some(Wait::After(1)));

    bed.crash();

    assert_eq!(bed.state(3), State::Pending);
}

#[test]
fn messages_left_by_an_earlier_life_do_not_bring_the_next_one_back() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.end(1, done());
    bed.reuse(1);
    // Whoever closes the inbox of the first life reads the record of the second one.
    let (record, count) = (Arc::new(bed.record(1).clone()), 1);
    bed.end(1, done());

    let effects = bed.step(Input::Undelivered { record, count });

    assert!(effects.is_empty());
    assert_eq!(bed.state(1), State::Completed);
}

#[test]
fn what_an_earlier_life_came_after_is_nothing_to_the_next_one() {
    for end in [done(), End::Aborted] {
        let mut bed = bed();
        bed.spawn(1, |_| {});
        bed.spawn(2, |_| {});
        bed.spawn(3, |spec| spec.after = vec![id(1)]);
        bed.cancel_one(3);
        let mut spec = Spec::new(scope("s"));
        spec.after = vec![id(2)];
        let (ticket, spec) = (bed.ticket(), Arc::new(spec));
        bed.step(Input::Spawn {
            ticket,
            id: id(3),
            spec,
            by: None,
            reuse: Reuse::Allowed,
        });

        bed.end(1, end);

        assert_eq!(bed.record(3).wait, Some(Wait::After(1)));
        bed.end(2, done());
        assert_eq!(bed.state(3), State::Running);
    }
}

#[test]
fn what_a_removed_task_came_after_is_nothing_to_the_next_one_of_its_id() {
    for end in [done(), End::Aborted] {
        let mut bed = bed();
        bed.spawn(1, |_| {});
        bed.spawn(2, |_| {});
        bed.spawn(3, |spec| spec.after = vec![id(1)]);
        bed.cancel_one(3);
        let ticket = bed.ticket();
        let ask = Control::Remove(vec![bed.chosen(3)]);
        bed.step(Input::Control { ticket, ask });
        bed.spawn(3, |spec| spec.after = vec![id(2)]);

        bed.end(1, end);

        assert_eq!(bed.record(3).wait, Some(Wait::After(1)));
        bed.end(2, done());
        assert_eq!(bed.state(3), State::Running);
    }
}

#[test]
fn what_a_task_came_after_that_was_one_too_many_is_nothing_to_the_next_one_of_its_id() {
    let mut bed = Bed::new(Bounds {
        settled_max: 1,
        ..Bounds::default()
    });
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| spec.after = vec![id(1)]);
    bed.cancel_one(2);
    bed.spawn(3, |_| {});
    bed.end(3, done());
    assert!(!bed.records.contains_key(&id(2)));
    bed.spawn(4, |_| {});
    bed.spawn(2, |spec| spec.after = vec![id(4)]);

    bed.end(1, done());

    assert_eq!(bed.record(2).wait, Some(Wait::After(1)));
}

#[test]
fn p18_key_is_bound_for_its_window_at_most_after_the_clock_went_back() {
    let mut bed = bed();
    bed.now = bed.now.after(Duration::from_hours(24));
    let keyed = |spec: &mut Spec| {
        spec.key = Some(key("k"));
        spec.key_window = Some(10 * SECOND);
    };
    bed.spawn(1, keyed);
    bed.end(1, done());

    bed.now = Timestamp::from_micros(5);
    bed.crash();

    bed.pass(9 * SECOND);
    assert_eq!(answer(&bed.spawn(2, keyed)), Ok(Accepted::Existing(id(1))));
    bed.pass(SECOND);
    assert_eq!(answer(&bed.spawn(2, keyed)), Ok(Accepted::New(id(2))));
}
