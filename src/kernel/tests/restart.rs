//! Long-lived tasks: when they are started again, and when no more.

use std::time::Duration;

use super::bed::{Bed, SECOND, done, fault, id, starts};
use crate::kernel::{
    Body, Bounds, Class, ClassName, End, FaultKind, LateSuccess, OnParentEnd, Origin, Outcome,
    RestartPolicy, Retry, State, StopPolicy, Wait,
};

fn bed(policy: RestartPolicy) -> Bed {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.restart = Some(policy));
    bed
}

/// The task runs again after its delay of none.
fn starts_again(bed: &mut Bed) -> bool {
    starts(&bed.pass(Duration::ZERO)) == [id(1)]
}

fn failed(bed: &Bed) -> (FaultKind, String) {
    match bed.record(1).outcome.as_deref() {
        Some(Outcome::Failed(fault)) => (fault.kind, fault.to_string()),
        other => panic!("it failed: {other:?}"),
    }
}

fn too_often(why: &str) -> (FaultKind, String) {
    (FaultKind::RestartedTooOften, why.to_owned())
}

#[test]
fn permanent_task_starts_again_after_a_value_and_a_transient_one_does_not() {
    let mut permanent = bed(RestartPolicy::permanent());
    permanent.end(1, done());
    assert!(starts_again(&mut permanent));
    let record = permanent.record(1);
    assert_eq!((record.restarts, record.attempt, record.epoch.0), (1, 2, 2));

    let mut transient = bed(RestartPolicy::transient());
    transient.end(1, fault(FaultKind::Panic));
    assert!(starts_again(&mut transient));
    transient.end(1, done());
    assert_eq!(transient.state(1), State::Completed);
}

#[test]
fn temporary_task_is_never_restarted() {
    for end in [done(), fault(FaultKind::Error), fault(FaultKind::Lost)] {
        let mut temporary = bed(RestartPolicy::temporary());
        let mut plain = Bed::new(Bounds::default());
        plain.spawn(1, |_| {});
        for bed in [&mut temporary, &mut plain] {
            bed.end(1, end.clone());
        }
        let outcome = |bed: &Bed| bed.record(1).outcome.clone();
        assert_eq!(outcome(&temporary), outcome(&plain));
    }
}

#[test]
fn p14_period_of_zero_ends_in_a_failure_all_the_same() {
    let none = RestartPolicy::permanent().intensity(3, Duration::ZERO);
    let stored = r#"{"after":"any","intensity":100000,"period":{"secs":0,"nanos":0},"delays":"#;
    let delays = serde_json::to_string(&Retry::never()).expect("it is a record");
    let stored: RestartPolicy =
        serde_json::from_str(&format!("{stored}{delays}}}")).expect("it was stored");
    assert_eq!(stored.most().0, 100);
    assert_eq!(stored.most().1, none.most().1);
    for (policy, most) in [(none, 3), (stored, 100)] {
        let mut bed = bed(policy);
        for _ in 0..most {
            bed.end(1, done());
            assert!(starts_again(&mut bed));
        }
        bed.end(1, done());
        assert_eq!(bed.state(1), State::Failed);
    }
}

#[test]
fn p14_more_restarts_than_the_intensity_within_the_period_are_a_failure_that_says_so() {
    let mut bed = bed(RestartPolicy::permanent().intensity(2, 10 * SECOND));
    for _ in 0..2 {
        bed.pass(SECOND);
        bed.end(1, fault(FaultKind::Error));
        assert!(starts_again(&mut bed));
    }

    bed.end(1, fault(FaultKind::Error));

    assert_eq!(bed.state(1), State::Failed);
    let why = "it was restarted 2 times within 10s and no more; then: it went wrong";
    assert_eq!(failed(&bed), too_often(why));
    let ends = ["restarting", "pending", "started"];
    let told = bed.told(1).into_iter().filter(|name| ends.contains(name));
    let twice = [
        "started",
        "restarting",
        "pending",
        "started",
        "restarting",
        "pending",
        "started",
    ];
    assert!(told.eq(twice));
}

#[test]
fn intensity_of_none_allows_no_restart_and_one_of_many_no_more_than_a_hundred() {
    let mut none = bed(RestartPolicy::permanent().intensity(0, SECOND));
    none.end(1, done());
    let why = "its policy allows no restart; then: it returned a value";
    assert_eq!(failed(&none), too_often(why));

    let mut many = bed(RestartPolicy::permanent().intensity(u32::MAX, 10 * SECOND));
    for _ in 0..100 {
        many.end(1, done());
        assert!(starts_again(&mut many));
    }
    many.end(1, done());
    assert_eq!(
        (many.state(1), many.record(1).restarts),
        (State::Failed, 100)
    );
}

#[test]
fn restarts_of_before_the_period_do_not_count() {
    let mut bed = bed(RestartPolicy::permanent().intensity(1, 10 * SECOND));
    for round in 1..=5 {
        bed.pass(10 * SECOND);
        bed.end(1, done());
        assert!(starts_again(&mut bed));
        assert_eq!(bed.record(1).restarts, round);
        assert_eq!(bed.record(1).restarted_at.len(), 1);
    }
    bed.pass(Duration::from_micros(9_999_999));
    bed.end(1, done());
    assert_eq!(bed.state(1), State::Failed);
}

#[test]
fn restart_waits_for_its_delay_and_is_cancelled_in_it() {
    let mut bed = bed(RestartPolicy::transient().delay(300 * SECOND));
    bed.end(1, fault(FaultKind::Error));
    let due = bed.now.after(300 * SECOND);
    assert_eq!(bed.record(1).wait, Some(Wait::Backoff(due)));
    assert!(!starts_again(&mut bed));
    assert_eq!(starts(&bed.pass(299 * SECOND)), []);

    let mut cancelled = bed.clone();
    cancelled.cancel_one(1);
    assert_eq!(cancelled.state(1), State::Cancelled);

    assert_eq!(starts(&bed.pass(SECOND)), [id(1)]);
}

#[test]
fn backoff_doubles_with_the_restarts_within_the_period_up_to_its_longest() {
    let policy = RestartPolicy::permanent().backoff(SECOND, 3 * SECOND);
    let longest = |number| policy.longest_delay_of(number);
    assert_eq!(
        [1, 2, 3, 4].map(longest),
        [1, 2, 3, 3].map(Duration::from_secs)
    );
    let drawn: Vec<_> = (0..100).map(|dice| policy.delay_of(1, dice)).collect();
    assert!(drawn.iter().all(|delay| *delay <= SECOND));
    assert!(drawn.iter().any(|delay| *delay < SECOND / 2));

    let mut bed = bed(policy.clone().intensity(9, 1_000 * SECOND));
    for number in 1..=4 {
        bed.end(1, done());
        let Some(Wait::Backoff(due)) = bed.record(1).wait else {
            panic!("it waits for its delay: {:?}", bed.record(1));
        };
        assert!(due.since(bed.now) <= longest(number));
        bed.pass(3 * SECOND);
    }
}

#[test]
fn its_slot_is_free_until_it_starts_again() {
    let mut bounds = Bounds::default();
    let one = ClassName::new("one").expect("a valid class name");
    bounds.named.insert(one.clone(), Class::queue(1));
    let mut bed = Bed::new(bounds);
    bed.spawn(1, |spec| {
        spec.limits = vec![one.clone()];
        spec.restart = Some(RestartPolicy::permanent().delay(SECOND));
    });
    bed.spawn(2, |spec| spec.limits = vec![one]);

    assert_eq!(starts(&bed.end(1, done())), [id(2)]);
    assert_eq!(starts(&bed.pass(SECOND)), []);
    assert_eq!(bed.record(1).wait, Some(Wait::Slot));
    assert_eq!(starts(&bed.end(2, done())), [id(1)]);
}

#[test]
fn cancel_and_a_permanent_failure_end_a_permanent_task() {
    let mut asked = bed(RestartPolicy::permanent());
    asked.cancel_one(1);
    asked.end(1, done());
    assert_eq!(asked.state(1), State::Cancelled);

    let mut broken = bed(RestartPolicy::permanent());
    broken.end(1, fault(FaultKind::Permanent));
    let why = "it went wrong".to_owned();
    assert_eq!(failed(&broken), (FaultKind::Permanent, why));
}

#[test]
fn late_value_of_a_cancelled_permanent_task_counts_by_its_policy() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        spec.restart = Some(RestartPolicy::permanent());
        spec.late_success = LateSuccess::Completed;
    });
    bed.cancel_one(1);
    bed.end(1, done());
    assert_eq!(bed.state(1), State::Completed);
}

#[test]
fn children_end_before_their_parent_is_restarted() {
    for (policy, end) in [
        (None, done()),
        (None, fault(FaultKind::Error)),
        (Some(OnParentEnd::Wait), fault(FaultKind::Error)),
    ] {
        let mut bed = bed(RestartPolicy::permanent());
        bed.spawn(2, |spec| {
            spec.parent = Some(id(1));
            spec.on_parent_end = policy;
        });
        let is_cancelled = policy.is_none() && end != done();
        bed.end(1, end);
        assert_eq!(bed.record(1).wait, Some(Wait::Children));
        let asked = bed.state(2) == State::CancelRequested;
        assert_eq!(asked, is_cancelled);
        assert_eq!(starts(&bed.pass(SECOND)), []);

        bed.end(2, End::Aborted);

        assert!(starts_again(&mut bed));
    }
}

#[test]
fn restart_that_waits_for_children_is_cancelled_with_them() {
    let mut bed = bed(RestartPolicy::permanent());
    bed.spawn(2, |spec| spec.parent = Some(id(1)));
    bed.end(1, done());
    bed.cancel_tree(1);
    bed.end(2, End::Aborted);
    assert_eq!(bed.state(1), State::Cancelled);
    assert_eq!(starts(&bed.pass(SECOND)), []);
}

#[test]
fn attempts_that_take_too_long_are_restarted_until_there_were_too_many() {
    for (policy, end, restarts) in [
        (RestartPolicy::transient(), fault(FaultKind::Error), 1),
        (RestartPolicy::permanent(), done(), 1),
        (RestartPolicy::permanent(), End::Aborted, 1),
        // A value that came too late is that of a timeout, which it does not undo.
        (RestartPolicy::transient(), done(), 0),
    ] {
        let mut bed = Bed::new(Bounds::default());
        bed.spawn(1, |spec| {
            spec.restart = Some(policy.intensity(1, Duration::from_mins(5)));
            spec.timeout = Some(SECOND);
        });
        while !bed.state(1).is_terminal() {
            bed.pass(SECOND);
            bed.end(1, end.clone());
            bed.pass(Duration::ZERO);
        }
        assert_eq!(bed.record(1).restarts, restarts);
        if restarts == 0 {
            assert_eq!(bed.state(1), State::TimedOut);
            continue;
        }
        let why = "it was restarted once within 300s and no more; then: the time of the attempt \
                   is over";
        assert_eq!(failed(&bed), too_often(why));
    }
}

#[test]
fn limit_of_the_whole_task_ends_it_whatever_its_policy() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        spec.restart = Some(RestartPolicy::permanent().delay(10 * SECOND));
        spec.lifetime = Some(5 * SECOND);
    });
    bed.end(1, done());
    bed.pass(5 * SECOND);
    assert_eq!(bed.state(1), State::TimedOut);
}

#[test]
fn body_that_does_not_stop_is_abandoned_and_never_restarted() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        spec.restart = Some(RestartPolicy::permanent());
        spec.timeout = Some(SECOND);
        spec.stop_policy = StopPolicy::Cooperative;
    });
    bed.pass(SECOND);
    bed.pass(Duration::from_mins(1));
    assert_eq!(bed.state(1), State::TimedOut);
    assert!(bed.record(1).is_abandoned());
    assert_eq!(starts(&bed.pass(SECOND)), []);
    assert_eq!(starts(&bed.end(1, done())), []);
}

#[test]
fn p12_crash_counts_as_one_restart_and_the_count_survives_it() {
    let mut bed = bed(RestartPolicy::permanent().intensity(2, Duration::from_hours(1)));
    bed.end(1, done());
    assert!(starts_again(&mut bed));

    bed.crash();
    assert_eq!(bed.record(1).restarts, 2);
    assert!(starts_again(&mut bed));
    bed.crash();

    assert_eq!(
        (bed.state(1), bed.record(1).body),
        (State::Failed, Body::Absent)
    );
    let why = "it was restarted 2 times within 3600s and no more; then: lost: its process died \
               while it was running";
    assert_eq!(failed(&bed), too_often(why));
}

#[test]
fn p12_crash_in_the_delay_or_before_the_children_have_ended_counts_for_nothing() {
    let mut delayed = bed(RestartPolicy::permanent().delay(SECOND));
    delayed.end(1, done());
    delayed.crash();
    assert_eq!(delayed.record(1).restarts, 1);
    assert_eq!(starts(&delayed.pass(SECOND)), [id(1)]);

    let mut above = bed(RestartPolicy::permanent());
    above.spawn(2, |spec| spec.parent = Some(id(1)));
    above.end(1, done());
    above.crash();
    above.cancel_one(2);
    above.pass(Duration::ZERO);
    assert_eq!(
        (above.record(1).restarts, above.state(1)),
        (1, State::Running)
    );
}

#[test]
fn p18_clock_that_went_back_forgets_no_restart_and_counts_none_for_ever() {
    let mut bed = bed(RestartPolicy::permanent().intensity(2, 10 * SECOND));
    bed.pass(100 * SECOND);
    bed.end(1, done());
    assert!(starts_again(&mut bed));

    bed.now = crate::kernel::Timestamp::from_micros(bed.now.as_micros() - 50_000_000);
    bed.crash();
    assert_eq!(bed.record(1).restarted_at, [bed.now; 2]);
    assert!(starts_again(&mut bed));

    bed.pass(10 * SECOND);
    bed.end(1, done());
    assert!(starts_again(&mut bed));
    assert_eq!(bed.record(1).restarts, 3);
}

#[test]
fn closure_of_another_process_is_not_restarted() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        spec.origin = Origin::Closure;
        spec.restart = Some(RestartPolicy::permanent());
    });
    bed.crash();
    assert_eq!(bed.state(1), State::Interrupted);
}

#[test]
fn suspension_is_no_end_and_external_tasks_are_their_holders() {
    let mut bed = bed(RestartPolicy::permanent());
    bed.end(1, End::Suspended(super::bed::json("1")));
    assert_eq!(
        (bed.state(1), bed.record(1).restarts),
        (State::Suspended, 0)
    );

    let mut spec = crate::kernel::Spec::new(super::bed::scope("s"));
    spec.restart = Some(RestartPolicy::permanent());
    spec.retry = Retry::never();
    assert!(!spec.ends_with_value() && !spec.is_last(1));
    spec.origin = Origin::External;
    assert!(spec.ends_with_value() && spec.is_last(1));
}
