//! Single lines of the law that an enumeration or a seed has found broken, each as a test of its
//! own.

use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, SECOND, answers, done, fault, id, json, key, starts};
use crate::kernel::{
    Body, Bounds, Class, ClassName, Effect, End, FaultKind, Input, OnParentEnd, Origin, Outcome,
    Refusal, Reply, ResumeRefusal, Retry, Spec, State, StopPolicy, Wait,
};

fn below(parent: u32) -> impl Fn(&mut Spec) {
    move |spec| spec.parent = Some(id(parent))
}

/// Bounds with a class `one` of one slot.
fn one_slot() -> Bounds {
    let mut bounds = Bounds::default();
    bounds.named.insert(one(), Class::queue(1));
    bounds
}

fn one() -> ClassName {
    ClassName::new("one").expect("a valid class name")
}

fn in_one(spec: &mut Spec) {
    spec.limits = vec![one()];
}

#[test]
fn p24_resume_survives_a_crash() {
    let mut bed = Bed::new(one_slot());
    bed.spawn(1, in_one);
    bed.end(1, End::Suspended(json("\"why\"")));
    bed.spawn(2, |spec| {
        in_one(spec);
        spec.origin = Origin::Closure;
    });
    bed.resume(1, "\"data\"");

    let effects = bed.crash();

    let resumed = effects.iter().find_map(|effect| {
        if let Effect::Start {
            attempt, resume, ..
        } = effect
        {
            return Some((*attempt, resume.clone()));
        }
        None
    });
    assert_eq!(resumed, Some((1, Some(json("\"data\"")))));
}

/// The refusal of the only answer among the effects.
fn resume_refusal(effects: &[Effect]) -> Option<ResumeRefusal> {
    match &answers(effects)[..] {
        [(_, Reply::Resumed(result))] => result.clone().err(),
        other => panic!("a resume has one answer: {other:?}"),
    }
}

#[test]
fn p24_second_resume_is_told_what_the_first_one_did() {
    let mut bed = Bed::new(one_slot());
    bed.spawn(1, in_one);
    bed.end(1, End::Suspended(json("1")));
    bed.spawn(2, in_one);

    let full = resume_refusal(&bed.try_resume(1, "2"));
    assert!(matches!(full, Some(ResumeRefusal::Full(full)) if full.in_use == 1));
    assert_eq!(bed.state(1), State::Suspended);
    assert_eq!(resume_refusal(&bed.resume(1, "3")), None);
    let second = resume_refusal(&bed.resume(1, "4"));
    assert_eq!(second, Some(ResumeRefusal::AlreadyResumed(id(1))));

    let effects = bed.end(2, done());
    let data = effects.iter().find_map(|effect| {
        if let Effect::Start { resume, .. } = effect {
            return resume.clone();
        }
        None
    });
    assert_eq!(data, Some(json("3")));
    let third = resume_refusal(&bed.resume(1, "5"));
    assert_eq!(third, Some(ResumeRefusal::NotSuspended(State::Running)));
    let unknown = resume_refusal(&bed.resume(7, "6"));
    assert_eq!(unknown, Some(ResumeRefusal::Unknown(id(7))));
}

#[test]
fn suspended_closure_with_a_live_child_is_interrupted_after_a_crash() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.origin = Origin::Closure);
    bed.spawn(2, |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
        spec.retry = Retry::fixed(1, SECOND);
    });
    bed.end(1, End::Suspended(json("1")));

    bed.crash();
    let between = bed.state(1);
    bed.pass(SECOND);
    bed.end(2, done());

    assert_eq!(between, State::Waiting);
    assert_eq!(bed.state(1), State::Interrupted);
    assert_eq!(bed.state(2), State::Completed);
}

#[test]
fn pending_closure_with_a_pending_child_is_interrupted_after_a_crash() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| {
        spec.after = vec![id(1)];
        spec.origin = Origin::Closure;
    });
    bed.spawn(3, below(2));

    bed.crash();

    assert_eq!(bed.state(2), State::Interrupted);
    assert_eq!(bed.state(3), State::Cancelled);
}

#[test]
fn closure_that_was_to_be_retried_is_interrupted_after_a_crash() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        spec.origin = Origin::Closure;
        spec.retry = Retry::fixed(3, SECOND);
    });
    bed.spawn(2, below(1));
    bed.end(1, fault(FaultKind::Error));

    bed.crash();

    assert_eq!(bed.state(1), State::Interrupted);
}

#[test]
fn nothing_starts_in_recovery_that_recovery_ends() {
    let mut bed = Bed::new(one_slot());
    bed.spawn(1, |_| {});
    bed.spawn(2, below(1));
    bed.spawn(3, |spec| {
        spec.after = vec![id(1)];
        spec.origin = Origin::Closure;
    });
    bed.spawn(4, |_| {});
    bed.spawn(5, in_one);
    bed.spawn(6, |spec| {
        in_one(spec);
        spec.parent = Some(id(4));
    });
    bed.end(1, done());
    assert_eq!(bed.state(1), State::Waiting);
    assert_eq!(bed.state(6), State::Pending);

    let effects = bed.crash();

    assert_eq!(starts(&effects), []);
    assert_eq!(bed.state(1), State::Completed);
    assert_eq!(bed.state(3), State::Interrupted);
    assert_eq!(bed.state(6), State::Cancelled);
}

#[test]
fn recovered_task_in_its_backoff_takes_no_children() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.retry = Retry::fixed(3, SECOND));
    bed.end(1, fault(FaultKind::Error));

    bed.crash();
    let effects = bed.spawn(2, below(1));

    let refused = Refusal::ParentRetries(id(1));
    assert!(matches!(&answers(&effects)[..], [(_, Reply::Spawned(Err(why)))] if *why == refused));
}

#[test]
fn parent_whose_attempt_failed_takes_children_again_with_its_next_one() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.retry = Retry::fixed(3, SECOND));
    bed.spawn(2, below(1));
    bed.end(1, fault(FaultKind::Error));
    let why = |effects: &[Effect]| match &answers(effects)[..] {
        [(_, Reply::Spawned(Err(why)))] => Some(why.clone()),
        _ => None,
    };

    // Its child is still being stopped.
    let effects = bed.spawn(3, below(1));
    assert_eq!(why(&effects), Some(Refusal::ParentRetries(id(1))));
    bed.end(2, done());
    let effects = bed.spawn(3, below(1));
    assert_eq!(why(&effects), Some(Refusal::ParentRetries(id(1))));

    bed.pass(SECOND);
    let effects = bed.spawn(3, below(1));
    assert_eq!(why(&effects), None);
    assert_eq!(starts(&effects), [id(3)]);
    bed.cancel_tree(1);
    let effects = bed.spawn(4, below(1));
    assert_eq!(why(&effects), Some(Refusal::ParentClosing(id(1))));
}

#[test]
fn p18_backoff_is_at_most_its_policy_after_the_clock_went_back() {
    let mut bed = Bed::new(Bounds::default());
    bed.now = bed.now.after(Duration::from_hours(24));
    bed.spawn(1, |spec| spec.retry = Retry::fixed(3, SECOND));
    bed.end(1, fault(FaultKind::Error));

    bed.now = crate::kernel::Timestamp::from_micros(5);
    bed.crash();

    assert_eq!(starts(&bed.pass(SECOND)), [id(1)]);
}

#[test]
fn each_run_counts_its_turns_anew() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.retry = Retry::fixed(1, Duration::ZERO));
    bed.park(1, 7, Some(Wait::Parked));
    bed.end(1, fault(FaultKind::Error));
    bed.pass(Duration::ZERO);

    bed.park(1, 1, Some(Wait::Parked));

    assert_eq!(bed.state(1), State::Waiting);
}

#[test]
fn newest_park_says_what_is_awaited() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.park(1, 1, Some(Wait::Task(id(8))));

    bed.park(1, 3, Some(Wait::Task(id(9))));
    bed.park(1, 2, None);

    assert_eq!(bed.record(1).wait, Some(Wait::Task(id(9))));
}

#[test]
fn p16_abandoned_body_takes_its_lent_slot_back() {
    let mut bed = Bed::new(one_slot());
    bed.spawn(1, |spec| {
        in_one(spec);
        spec.stop_policy = StopPolicy::Cooperative;
    });
    bed.park(1, 1, Some(Wait::Parked));
    bed.cancel_one(1);
    bed.pass(Duration::from_mins(1));
    assert!(bed.record(1).is_abandoned());

    bed.park(1, 2, None);
    let effects = bed.spawn(2, in_one);

    assert_eq!(starts(&effects), []);
    assert_eq!(starts(&bed.end(1, done())), [id(2)]);
}

#[test]
fn idle_limit_of_zero_ends_no_tick_in_a_loop() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.idle_timeout = Some(Duration::ZERO));
    bed.park(1, 1, Some(Wait::Parked));

    bed.pass(Duration::ZERO);

    assert_eq!(bed.state(1), State::Waiting);
}

#[test]
fn permanent_failure_in_the_grace_of_a_timeout_is_final() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        spec.timeout = Some(SECOND);
        spec.retry = Retry::fixed(3, SECOND);
    });
    bed.pass(SECOND);

    bed.end(1, fault(FaultKind::Permanent));

    assert_eq!(bed.state(1), State::TimedOut);
}

#[test]
fn cancel_replaces_a_timeout_that_waits_for_children() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.timeout = Some(SECOND));
    bed.spawn(2, below(1));
    bed.pass(SECOND);
    bed.end(1, done());

    bed.cancel_tree(1);
    bed.end(2, End::Aborted);

    let late_result = Some(json("1"));
    let outcome = Outcome::Cancelled { late_result };
    assert_eq!(bed.record(1).outcome.as_deref(), Some(&outcome));
}

#[test]
fn force_is_used_once() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.timeout = Some(SECOND));
    bed.spawn(2, |spec| {
        below(1)(spec);
        spec.on_parent_end = Some(OnParentEnd::Wait);
    });
    bed.pass(SECOND);
    bed.pass(Duration::from_mins(1));
    bed.pass(Duration::from_mins(1));

    bed.cancel(crate::kernel::Target::One(id(1)), Some(SECOND));
    bed.pass(Duration::from_mins(1));
    bed.pass(Duration::from_mins(1));

    let aborts = bed.told(1).into_iter().filter(|told| *told == "aborted");
    assert_eq!(aborts.count(), 1);
}

#[test]
fn dependency_that_waits_for_the_parent_is_refused() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| spec.after = vec![id(1)]);
    bed.spawn(3, below(2));

    for waits in [2, 3] {
        let effects = bed.spawn(4, |spec| {
            spec.parent = Some(id(1));
            spec.after = vec![id(waits)];
        });

        let refused = Refusal::DependencyAbove(id(waits));
        let [(_, Reply::Spawned(Err(why)))] = &answers(&effects)[..] else {
            panic!("{waits} was accepted");
        };
        assert_eq!(*why, refused);
    }
}

#[test]
fn late_count_of_messages_brings_no_body_back() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.stop_policy = StopPolicy::Cooperative);
    bed.cancel_one(1);
    bed.pass(Duration::from_mins(1));
    let record = Arc::new(bed.record(1).clone());
    assert_eq!(record.body, Body::Live);
    bed.end(1, done());

    bed.step(Input::Undelivered { record, count: 3 });

    assert_eq!(bed.record(1).body, Body::Absent);
    assert_eq!(bed.record(1).undelivered, 3);
}

#[test]
fn p17_key_is_free_once_the_record_of_its_task_is_gone() {
    let mut bed = Bed::new(Bounds {
        settled_max: 1,
        ..Bounds::default()
    });
    let keyed = |spec: &mut Spec| spec.key = Some(key("k"));
    bed.spawn(1, keyed);
    bed.end(1, done());
    bed.spawn(2, |_| {});
    bed.end(2, done());
    bed.spawn(3, |_| {});
    bed.end(3, done());

    let before = answers(&bed.spawn(4, keyed)).len();
    assert_eq!((before, bed.state(4)), (1, State::Running));
}

#[test]
fn p16_child_that_ends_with_its_parent_takes_no_turn() {
    let mut bed = Bed::new(one_slot());
    bed.spawn(1, in_one);
    bed.spawn(2, |spec| {
        in_one(spec);
        spec.parent = Some(id(1));
    });
    bed.spawn(3, in_one);
    bed.spawn(4, |spec| {
        in_one(spec);
        spec.scope = super::bed::scope("t");
    });

    let effects = bed.end(1, fault(FaultKind::Error));

    assert_eq!(starts(&effects), [id(3)]);
}
