//! Decisions that are small and count all the same: which grace wins, what a stop leaves in the
//! record, who holds a key after the clock went back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, SECOND, answers, done, fault, id, json, key};
use crate::kernel::{
    Accepted, Bounds, Cause, Effect, FaultKind, Hooked, Jitter, Limit, Origin, Outcome, Reply,
    Retry, State, Target, Timestamp, Wait,
};

fn bed() -> Bed {
    Bed::new(Bounds {
        grace: 7 * SECOND,
        ..Bounds::default()
    })
}

fn cancel(bed: &mut Bed, number: u32, grace: Option<Duration>) {
    bed.cancel(Target::One(id(number)), grace);
}

/// How long the body of a task may go on, from now.
fn grace_left(bed: &Bed, number: u32) -> Duration {
    let stop = bed.record(number).stop.as_ref();
    stop.expect("it is asked to stop")
        .grace_until
        .since(bed.now)
}

fn times_asked(bed: &Bed, number: u32) -> usize {
    let told = bed.told(number).into_iter();
    told.filter(|name| *name == "stop_asked").count()
}

#[test]
fn shorter_one_of_own_and_asked_grace_counts_and_the_manager_s_without_either() {
    for (own, asked, wanted) in [
        (Some(2), Some(5), 2),
        (Some(5), Some(2), 2),
        (Some(9), None, 9),
        (None, Some(9), 9),
        (None, None, 7),
    ] {
        let mut bed = bed();
        bed.spawn(1, |spec| spec.grace = own.map(|secs| secs * SECOND));
        cancel(&mut bed, 1, asked.map(|secs| secs * SECOND));
        assert_eq!(grace_left(&bed, 1), wanted * SECOND, "{own:?} {asked:?}");
    }
}

#[test]
fn later_cancel_shortens_the_grace_only_if_it_names_a_shorter_one() {
    for (later, left, times) in [
        (None, 30, 1),
        (Some(30), 30, 1),
        (Some(40), 30, 1),
        (Some(3), 3, 2),
    ] {
        let mut bed = bed();
        bed.spawn(1, |_| {});
        cancel(&mut bed, 1, Some(30 * SECOND));
        cancel(&mut bed, 1, later.map(|secs| secs * SECOND));
        assert_eq!(grace_left(&bed, 1), left * SECOND, "{later:?}");
        assert_eq!(times_asked(&bed, 1), times, "{later:?}");
    }
}

#[test]
fn what_a_task_waited_for_is_not_in_its_record_once_it_was_asked_to_stop() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.park(1, 1, Some(Wait::Children));
    assert!(bed.record(1).wait.is_some());
    cancel(&mut bed, 1, None);
    assert_eq!(
        (&bed.record(1).wait, bed.record(1).waits_since),
        (&None, None)
    );

    bed.spawn(2, |spec| spec.suspend_timeout = Some(60 * SECOND));
    bed.end(2, crate::kernel::End::Suspended(json("1")));
    assert!(bed.record(2).waits_since.is_some());
    cancel(&mut bed, 2, None);
    assert_eq!(
        (&bed.record(2).wait, bed.record(2).waits_since),
        (&None, None)
    );
}

#[test]
fn tree_below_a_shutdown_is_told_of_the_shutdown() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| spec.parent = Some(id(1)));
    bed.shutdown();
    for number in [1, 2] {
        let stop = bed.record(number).stop.clone();
        assert_eq!(stop.map(|stop| stop.cause), Some(Cause::Shutdown));
    }
}

#[test]
fn tasks_below_one_that_are_asked_alike_one_after_another_share_one_request() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    for (number, parent) in [(2, 1), (3, 1), (4, 3)] {
        bed.spawn(number, |spec| spec.parent = Some(id(parent)));
    }
    bed.spawn(5, |spec| {
        spec.parent = Some(id(1));
        spec.grace = Some(SECOND);
    });

    bed.cancel_tree(1);

    let stop = |number| bed.record(number).stop.clone().expect("it was asked");
    assert!(Arc::ptr_eq(&stop(2), &stop(3)) && Arc::ptr_eq(&stop(3), &stop(4)));
    assert_eq!(stop(1).cause, Cause::Asked);
    assert_eq!(stop(2).cause, Cause::Ancestor(id(1)));
    assert!(stop(5).grace_until < stop(2).grace_until);
}

/// Until when the hooks have time that these effects call.
fn hooks_until(effects: &[Effect]) -> Option<Timestamp> {
    effects.iter().find_map(|effect| {
        let Effect::BeforeSettle(call) = effect else {
            return None;
        };
        Some(call.until)
    })
}

#[test]
fn hooks_of_a_tree_have_until_the_longest_grace_of_it_is_over() {
    let all = Hooked {
        all: true,
        ..Hooked::default()
    };
    let mut bed = Bed::new(Bounds {
        grace: 2 * SECOND,
        hooked: all,
        ..Bounds::default()
    });
    bed.spawn(1, |spec| spec.grace = Some(SECOND));
    bed.spawn(2, |spec| spec.parent = Some(id(1)));
    bed.cancel_tree(1);
    let asked_at = bed.now;
    // The one above has the shorter grace, but waits for the one below.
    bed.pass(SECOND / 2);
    bed.end(1, done());
    bed.pass(SECOND + SECOND / 4);
    let below = hooks_until(&bed.end(2, done())).expect("its hooks are called");
    let latest = asked_at.after(2 * SECOND + bed.bounds.abort_window + SECOND);
    assert!(below > bed.now && below <= latest);
    let above = hooks_until(&bed.hooks_over(2, &[])).expect("its hooks are called");
    assert!(above > bed.now && above <= latest);
}

#[test]
fn of_two_tasks_within_the_window_of_one_key_the_later_one_holds_it_after_a_crash() {
    let mut bed = bed();
    bed.bounds.key_window = 10 * SECOND;
    let mut bed = Bed::new(bed.bounds.clone());
    let keyed = |spec: &mut crate::kernel::Spec| spec.key = Some(key("k"));
    let early = bed.now;
    bed.spawn(2, keyed);
    bed.end(2, done());
    bed.pass(11 * SECOND);
    bed.spawn(1, keyed);
    bed.end(1, done());
    assert_eq!(bed.state(1), State::Completed);

    bed.now = early.after(2 * SECOND);
    bed.crash();
    let before = bed.records.len();
    let effects = bed.spawn(3, keyed);
    assert_eq!(bed.records.len(), before);
    let taken = answers(&effects).pop().map(|(_, reply)| reply);
    let later = id(1);
    assert!(
        matches!(taken, Some(Reply::Spawned(Ok(Accepted::Existing(id)))) if id == later),
        "{taken:?}"
    );
}

#[test]
fn key_is_free_in_the_moment_in_which_its_window_ends_also_after_a_crash() {
    let mut bed = Bed::new(Bounds {
        key_window: 10 * SECOND,
        ..Bounds::default()
    });
    let keyed = |spec: &mut crate::kernel::Spec| spec.key = Some(key("k"));
    bed.spawn(1, keyed);
    bed.end(1, done());
    for (number, later, is_bound) in [(2, 9, true), (3, 1, false)] {
        bed.now = bed.now.after(later * SECOND);
        bed.crash();
        bed.spawn(number, keyed);
        assert_eq!(bed.records.contains_key(&id(number)), !is_bound);
    }
}

#[test]
fn closure_that_timed_out_and_was_to_be_retried_has_timed_out_after_a_crash() {
    let mut bed = bed();
    bed.spawn(1, |spec| {
        spec.origin = Origin::Closure;
        spec.retry = Retry::fixed(3, SECOND);
        spec.timeout = Some(5 * SECOND);
    });
    bed.spawn(2, |spec| spec.parent = Some(id(1)));
    bed.pass(5 * SECOND);
    bed.end(1, fault(FaultKind::Error));
    assert_eq!(bed.state(1), State::CancelRequested);
    bed.crash();
    bed.end_if(2, done());
    let outcome = bed.record(1).outcome.as_deref().cloned();
    let limit = Limit::Attempt;
    let late_result = None;
    assert_eq!(outcome, Some(Outcome::TimedOut { limit, late_result }));
}

#[test]
fn jitter_reaches_both_ends_of_the_delay() {
    let micro = Duration::from_micros(1);
    let retry = Retry::fixed(1, micro).jitter(Jitter::Full);
    let delays: BTreeSet<_> = (0..100).map(|dice| retry.delay_after(1, dice)).collect();
    assert!(delays.into_iter().eq([Duration::ZERO, micro]));
}

#[test]
fn longest_delay_of_all_has_jitter_too() {
    let longest = Duration::from_micros(u64::MAX);
    for delay in [longest, Duration::MAX] {
        let retry = Retry::fixed(1, delay).cap(delay).jitter(Jitter::Full);
        assert!(retry.delay_after(1, 7) <= longest);
    }
}
