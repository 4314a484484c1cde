//! Limits of time: when each begins, what it leads to, what a crash leaves of it.

use std::time::Duration;

use super::bed::{Bed, SECOND, done, fault, id, json, starts};
use crate::kernel::{
    Bounds, Cause, Class, ClassName, End, ExternalWord, FaultKind, Input, Limit, OnParentEnd,
    Origin, Outcome, Retry, Spec, State, Timestamp, Wait,
};

const TICK: Duration = Duration::from_micros(1);

fn bed() -> Bed {
    let mut bounds = Bounds::default();
    bounds.named.insert(one(), Class::queue(1));
    Bed::new(bounds)
}

fn one() -> ClassName {
    ClassName::new("one").expect("a valid class name")
}

fn limit_of(bed: &Bed, number: u32) -> Option<Limit> {
    match bed.record(number).outcome.as_deref() {
        Some(Outcome::TimedOut { limit, .. }) => Some(*limit),
        Some(
            Outcome::Completed(_)
            | Outcome::Failed(_)
            | Outcome::Cancelled { .. }
            | Outcome::Interrupted(_),
        )
        | None => None,
    }
}

/// A limit of ten seconds, on a task that gets into the state that it limits.
fn begin(limit: Limit) -> Bed {
    let mut bed = bed();
    let ten = Some(10 * SECOND);
    bed.spawn(9, |spec| spec.limits = vec![one()]);
    bed.spawn(1, |spec: &mut Spec| {
        spec.grace = Some(Duration::ZERO);
        match limit {
            Limit::Attempt => spec.timeout = ten,
            Limit::Idle => spec.idle_timeout = ten,
            Limit::External | Limit::Liveness => unreachable!("no time of a body is limited"),
            Limit::Lifetime => {
                spec.lifetime = ten;
                spec.retry = Retry::fixed(3, Duration::ZERO);
            }
            Limit::Queue => (spec.queue_timeout, spec.limits) = (ten, vec![one()]),
            Limit::Suspension => spec.suspend_timeout = ten,
        }
    });
    if limit == Limit::Suspension {
        bed.end(1, End::Suspended(json("1")));
    }
    bed
}

fn is_stopped(bed: &Bed) -> bool {
    matches!(bed.state(1), State::CancelRequested | State::TimedOut)
}

#[test]
fn p18_each_limit_is_over_at_its_end_and_not_before() {
    let ours = |limit: &Limit| !matches!(limit, Limit::External | Limit::Liveness);
    for limit in Limit::ALL.into_iter().filter(ours) {
        let mut bed = begin(limit);
        bed.pass(Duration::from_micros(9_999_999));
        assert!(!is_stopped(&bed), "{limit:?}");

        bed.pass(TICK);

        if limit == Limit::Idle {
            let (id, epoch, at) = (id(1), bed.epoch(1), bed.record(1).created_at);
            bed.step(crate::kernel::Input::Active { id, epoch, at });
        }
        assert!(is_stopped(&bed), "{limit:?}");
        bed.end_if(1, End::Aborted);
        assert_eq!(limit_of(&bed, 1), Some(limit));
    }
}

#[test]
fn body_that_the_host_finds_stuck_has_timed_out_and_another_attempt_may_follow() {
    let mut bed = bed();
    bed.spawn(1, |spec| spec.retry = Retry::fixed(1, SECOND));
    bed.stuck(1);
    let stop = bed.record(1).stop.clone().expect("it is asked to stop");
    assert_eq!(stop.cause, Cause::Timeout(Limit::Liveness));
    assert_eq!(&*stop.reason, "it does not answer");
    bed.end(1, End::Aborted);
    assert_eq!(starts(&bed.pass(SECOND)), [id(1)]);

    bed.park(1, 5, Some(Wait::Parked));
    bed.stuck(1);
    bed.stuck(1);
    let asked = |name: &&str| *name == "stop_asked";
    assert_eq!(bed.told(1).iter().filter(|name| asked(name)).count(), 2);
    bed.end(1, done());
    assert_eq!(limit_of(&bed, 1), Some(Limit::Liveness));
}

#[test]
fn lifetime_counts_over_attempts_and_is_never_retried() {
    let mut bed = bed();
    bed.spawn(1, |spec| {
        spec.lifetime = Some(10 * SECOND);
        spec.retry = Retry::fixed(9, 4 * SECOND);
    });
    for _ in 0..2 {
        bed.end(1, fault(FaultKind::Error));
        bed.pass(4 * SECOND);
    }
    assert_eq!((bed.record(1).attempt, bed.state(1)), (3, State::Running));

    bed.pass(2 * SECOND);
    bed.end(1, End::Aborted);

    assert_eq!(limit_of(&bed, 1), Some(Limit::Lifetime));
}

#[test]
fn lifetime_ends_a_task_in_its_delay_and_in_its_wait_for_children() {
    let mut bed = bed();
    bed.spawn(1, |spec| {
        spec.lifetime = Some(10 * SECOND);
        spec.retry = Retry::fixed(9, Duration::from_mins(1));
    });
    bed.end(1, fault(FaultKind::Error));
    bed.spawn(2, |spec| spec.lifetime = Some(10 * SECOND));
    bed.spawn(3, |spec| spec.parent = Some(id(2)));
    bed.end(2, done());
    assert_eq!(bed.record(2).wait, Some(Wait::Children));

    bed.pass(10 * SECOND);
    bed.end(3, End::Aborted);

    assert_eq!(
        (limit_of(&bed, 1), bed.state(3)),
        (Some(Limit::Lifetime), State::Cancelled)
    );
    let (limit, late_result) = (Limit::Lifetime, Some(json("1")));
    let outcome = Outcome::TimedOut { limit, late_result };
    assert_eq!(bed.record(2).outcome.as_deref(), Some(&outcome));
}

#[test]
fn lifetime_that_ends_in_the_grace_of_an_attempt_leaves_no_other_attempt() {
    let mut bed = bed();
    bed.spawn(1, |spec| {
        spec.timeout = Some(9 * SECOND);
        spec.lifetime = Some(10 * SECOND);
        spec.retry = Retry::fixed(9, Duration::ZERO);
    });
    bed.pass(9 * SECOND);
    bed.pass(2 * SECOND);
    bed.end(1, End::Aborted);

    let effects = bed.pass(Duration::ZERO);

    assert_eq!(starts(&effects), []);
    assert_eq!(limit_of(&bed, 1), Some(Limit::Lifetime));
}

#[test]
fn each_wait_for_a_slot_counts_for_itself() {
    let mut bed = begin(Limit::Queue);
    bed.pass(9 * SECOND);
    bed.end(9, done());
    assert_eq!(bed.state(1), State::Running);
    bed.end(1, End::Suspended(json("1")));
    bed.spawn(8, |spec| spec.limits = vec![one()]);

    bed.pass(5 * SECOND);
    bed.resume(1, "2");
    bed.pass(9 * SECOND);
    assert_eq!(bed.state(1), State::Pending);

    bed.pass(SECOND);
    assert_eq!(limit_of(&bed, 1), Some(Limit::Queue));
    assert_eq!(starts(&bed.end(8, done())), []);
}

#[test]
fn resumed_in_time_is_not_timed_out_as_suspended() {
    let mut bed = begin(Limit::Suspension);
    bed.pass(9 * SECOND);
    bed.resume(1, "2");

    bed.pass(Duration::from_hours(1));

    assert_eq!(bed.state(1), State::Running);
}

/// Waits and lifetimes count on over a crash; the time without a process is part of them.
#[test]
fn p12_limits_count_on_after_a_crash() {
    for limit in [Limit::Lifetime, Limit::Queue, Limit::Suspension] {
        let mut bed = begin(limit);
        // After the crash it has the slot, before the other one.
        bed.spawn(5, |spec| (spec.limits, spec.priority) = (vec![one()], 1));
        bed.now = bed.now.after(6 * SECOND);
        bed.crash();
        assert!(!is_stopped(&bed), "{limit:?}");

        bed.pass(Duration::from_micros(3_999_999));
        assert!(!is_stopped(&bed), "{limit:?}");
        bed.pass(TICK);

        assert!(is_stopped(&bed), "{limit:?}");
        bed.end_if(1, End::Aborted);
        assert_eq!(limit_of(&bed, 1), Some(limit));
    }
}

#[test]
fn nothing_starts_whose_time_was_over_while_no_process_ran() {
    for limit in [Limit::Lifetime, Limit::Queue] {
        let mut bed = begin(limit);
        bed.now = bed.now.after(10 * SECOND);

        let effects = bed.crash();

        assert_eq!(starts(&effects), [], "{limit:?}");
        assert_eq!(limit_of(&bed, 1), Some(limit));
    }
}

#[test]
fn limits_begin_anew_where_the_clock_went_back() {
    let mut bed = begin(Limit::Suspension);
    bed.now = Timestamp::from_micros(5);
    bed.crash();

    bed.pass(10 * SECOND);

    assert_eq!(limit_of(&bed, 1), Some(Limit::Suspension));
}

#[test]
fn p18_lifetime_goes_on_while_the_children_of_what_was_let_go_end() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        spec.origin = Origin::External;
        spec.lifetime = Some(10 * SECOND);
    });
    bed.spawn(2, |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
    });
    let (ticket, word) = (bed.ticket(), ExternalWord::Unregistered);
    bed.step(Input::External {
        ticket,
        id: id(1),
        incarnation: 1,
        word,
    });
    assert_eq!(bed.state(1), State::Waiting);

    bed.pass(10 * SECOND);

    assert_eq!(bed.state(1), State::CancelRequested);
}
