//! The situations a task can be in, each built by the inputs that lead there. The task is always
//! number 1.

use std::time::Duration;

use super::super::bed::{Bed, SECOND, done, fault, id, json};
use crate::kernel::{
    Bounds, Class, ClassName, Counter, End, FaultKind, OnParentEnd, OnScopeClose, Origin,
    RestartPolicy, Retry, Spec, StopPolicy, Wait,
};

type Situation = (&'static str, fn(&mut Bed), char);

/// One column of the grid each: what it is, how it is reached, and its state.
pub(super) const SITUATIONS: [Situation; 34] = [
    ("waits for a dependency", after, 'p'),
    ("waits for its parent", parent, 'p'),
    ("waits for a slot", queued, 'p'),
    ("waits for its delay", backoff, 'p'),
    ("waits for its restart", restarting, 'p'),
    ("resumed, waits for a slot", resumed, 'p'),
    ("runs", runs, 'r'),
    ("runs, last attempt", runs_last, 'r'),
    ("runs, with a child", runs_above, 'r'),
    ("runs, is restarted", supervised, 'r'),
    ("runs, is restarted no more", restarted, 'r'),
    ("is parked", parked, 'w'),
    ("is parked, with a child", parked_above, 'w'),
    ("is done, its child is not", done_above, 'w'),
    ("is to be retried, its child lives", retry_above, 'w'),
    ("is done, its hooks run", done_hooked, 'w'),
    ("is suspended", suspended, 's'),
    ("is suspended, with a child", suspended_above, 's'),
    ("is being cancelled", stopping, 'q'),
    ("is being cancelled and parked", stopping_parked, 'q'),
    ("is timing out, attempts left", timing_out, 'q'),
    ("is timing out, with a child", timing_out_over, 'q'),
    (
        "timed out, to be retried, its child lives",
        timed_out_above,
        'q',
    ),
    ("is being forced", forced, 'q'),
    ("was cancelled, its child lives", cancelled_above, 'q'),
    ("was given up, its child lives", given_up_above, 'q'),
    ("was cancelled, its hooks run", cancelled_hooked, 'q'),
    ("is completed", completed, 'C'),
    ("has failed", failed, 'F'),
    ("has timed out", timed_out, 'T'),
    ("is cancelled", cancelled, 'Q'),
    ("is interrupted", interrupted, 'I'),
    ("is abandoned", abandoned, 'Q'),
    ("is abandoned and parked", abandoned_parked, 'Q'),
];

/// The state of each situation after the process died and came back.
pub(super) const AFTER_A_CRASH: &str = "QQrpprpIppFppCpwssQQTTpQQQqCFTQIQQ";

/// The same for tasks that are bound to the process that started them.
pub(super) const BOUND_AFTER_A_CRASH: &str = "QQrIIIIIIIIIICIwIIQQTTTQQQqCFTQIQQ";

pub(super) fn bed() -> Bed {
    let mut bounds = Bounds {
        grace: 5 * SECOND,
        ..Bounds::default()
    };
    bounds.named.insert(one(), Class::queue(1));
    Bed::new(bounds)
}

fn one() -> ClassName {
    ClassName::new("one").expect("a valid class name")
}

/// What the task of every situation is like: two attempts, limits of time, the one slot.
fn subject(spec: &mut Spec) {
    spec.limits = vec![one()];
    spec.on_scope_close = Some(OnScopeClose::Cancel);
    spec.labels.insert("run".into(), "a".into());
    let tokens = Counter::new("tokens").expect("a valid counter");
    spec.budgets.insert(tokens, 100);
    spec.retry = Retry::fixed(1, SECOND);
    spec.timeout = Some(Duration::from_mins(30));
    spec.idle_timeout = Some(Duration::from_mins(10));
    spec.queue_timeout = Some(Duration::from_hours(2));
    spec.suspend_timeout = Some(Duration::from_hours(2));
    spec.lifetime = Some(Duration::from_hours(4));
}

fn hooked(spec: &mut Spec) {
    subject(spec);
    spec.before_settle = true;
}

/// A child that its parent waits for, whatever happens.
fn child(spec: &mut Spec) {
    spec.parent = Some(id(1));
    spec.on_parent_end = Some(OnParentEnd::Wait);
}

fn after(bed: &mut Bed) {
    bed.spawn(9, |_| {});
    bed.spawn(1, |spec| {
        subject(spec);
        spec.after = vec![id(9)];
    });
}

fn parent(bed: &mut Bed) {
    bed.spawn(9, |_| {});
    bed.spawn(8, |spec| spec.after = vec![id(9)]);
    bed.spawn(1, |spec| {
        subject(spec);
        spec.parent = Some(id(8));
    });
}

fn queued(bed: &mut Bed) {
    bed.spawn(9, |spec| spec.limits = vec![one()]);
    bed.spawn(1, subject);
}

fn runs(bed: &mut Bed) {
    bed.spawn(1, subject);
}

fn runs_last(bed: &mut Bed) {
    backoff(bed);
    bed.pass(SECOND);
}

fn runs_above(bed: &mut Bed) {
    runs(bed);
    bed.spawn(2, child);
}

fn backoff(bed: &mut Bed) {
    runs(bed);
    bed.end(1, fault(FaultKind::Error));
}

/// Long-lived: it is restarted once, whatever its end.
fn supervised(bed: &mut Bed) {
    bed.spawn(1, |spec| {
        subject(spec);
        let restart = RestartPolicy::permanent().delay(SECOND);
        spec.restart = Some(restart.intensity(1, Duration::from_hours(10)));
    });
}

fn restarting(bed: &mut Bed) {
    supervised(bed);
    bed.end(1, done());
}

fn restarted(bed: &mut Bed) {
    restarting(bed);
    bed.pass(SECOND);
}

fn suspended(bed: &mut Bed) {
    runs(bed);
    bed.end(1, End::Suspended(json("1")));
}

fn suspended_above(bed: &mut Bed) {
    runs_above(bed);
    bed.end(1, End::Suspended(json("1")));
}

fn resumed(bed: &mut Bed) {
    suspended(bed);
    bed.spawn(9, |spec| spec.limits = vec![one()]);
    bed.resume(1, "2");
}

fn parked(bed: &mut Bed) {
    runs(bed);
    bed.park(1, 5, Some(Wait::Parked));
}

fn parked_above(bed: &mut Bed) {
    runs_above(bed);
    bed.park(1, 5, Some(Wait::Task(id(2))));
}

fn done_above(bed: &mut Bed) {
    runs_above(bed);
    bed.end(1, done());
}

fn done_hooked(bed: &mut Bed) {
    bed.spawn(1, hooked);
    bed.end(1, done());
}

fn cancelled_hooked(bed: &mut Bed) {
    bed.spawn(1, hooked);
    bed.cancel_one(1);
    bed.end(1, End::Aborted);
}

fn retry_above(bed: &mut Bed) {
    runs_above(bed);
    bed.end(1, fault(FaultKind::Error));
}

fn stopping(bed: &mut Bed) {
    runs(bed);
    bed.cancel_one(1);
}

fn stopping_parked(bed: &mut Bed) {
    parked(bed);
    bed.cancel_one(1);
}

fn timing_out(bed: &mut Bed) {
    runs(bed);
    bed.pass(Duration::from_mins(30));
}

fn timing_out_over(bed: &mut Bed) {
    runs_above(bed);
    bed.pass(Duration::from_mins(30));
}

fn timed_out_above(bed: &mut Bed) {
    runs_above(bed);
    bed.pass(Duration::from_mins(30));
    bed.end(1, End::Aborted);
}

fn forced(bed: &mut Bed) {
    stopping(bed);
    bed.pass(5 * SECOND);
}

fn cancelled_above(bed: &mut Bed) {
    runs_above(bed);
    bed.cancel_one(1);
    bed.end(1, End::Aborted);
}

fn given_up_above(bed: &mut Bed) {
    runs_above(bed);
    bed.cancel_one(1);
    bed.pass(5 * SECOND);
    bed.pass(SECOND);
}

fn completed(bed: &mut Bed) {
    runs(bed);
    bed.end(1, done());
}

fn failed(bed: &mut Bed) {
    runs(bed);
    bed.end(1, fault(FaultKind::Permanent));
}

fn timed_out(bed: &mut Bed) {
    runs_last(bed);
    bed.pass(Duration::from_mins(30));
    bed.end(1, End::Aborted);
}

fn cancelled(bed: &mut Bed) {
    stopping(bed);
    bed.end(1, End::Aborted);
}

fn interrupted(bed: &mut Bed) {
    bed.spawn(1, |spec| {
        subject(spec);
        spec.origin = Origin::Closure;
    });
    bed.crash();
}

fn abandoned(bed: &mut Bed) {
    bed.spawn(1, |spec| {
        subject(spec);
        spec.stop_policy = StopPolicy::Cooperative;
    });
    bed.cancel_one(1);
    bed.pass(5 * SECOND);
}

fn abandoned_parked(bed: &mut Bed) {
    bed.spawn(1, |spec| {
        subject(spec);
        spec.stop_policy = StopPolicy::Cooperative;
    });
    bed.park(1, 5, Some(Wait::Parked));
    bed.cancel_one(1);
    bed.pass(5 * SECOND);
}
