//! Runs that were cancelled take no more tasks.

use super::super::bed::{Bed, answers, done, id, scope};
use crate::kernel::{Bounds, Cause, End, Refusal, Reply, Spec, State, Target};

fn of_run(run: &str) -> impl Fn(&mut Spec) {
    let run = run.to_owned();
    move |spec| {
        spec.labels.insert("run".into(), run.as_str().into());
    }
}

fn cancel_run(bed: &mut Bed, run: &str) {
    bed.cancel(Target::Run(run.into()), None);
}

fn is_taken(bed: &mut Bed, number: u32, run: &str) -> bool {
    let effects = bed.spawn(number, of_run(run));
    match &answers(&effects)[..] {
        [(_, Reply::Spawned(Ok(_)))] => true,
        [(_, Reply::Spawned(Err(Refusal::RunCancelled(of))))] if **of == *run => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn cancelled_run_ends_whatever_its_scope_and_place() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, of_run("a"));
    bed.spawn(2, |spec| {
        of_run("a")(spec);
        spec.scope = scope("t");
    });
    bed.spawn(3, of_run("b"));
    bed.spawn(4, |spec| {
        of_run("a")(spec);
        spec.parent = Some(id(3));
    });
    bed.spawn(5, |spec| spec.parent = Some(id(4)));

    cancel_run(&mut bed, "a");

    let stopping = [1, 2, 4, 5].map(|number| bed.state(number));
    assert_eq!(stopping, [State::CancelRequested; 4]);
    assert_eq!(bed.state(3), State::Running);
    let cause = |number| bed.record(number).stop.as_ref().map(|stop| stop.cause);
    assert_eq!(cause(4), Some(Cause::Run));
    assert_eq!(cause(5), Some(Cause::Ancestor(id(4))));
}

#[test]
fn late_task_of_a_cancelled_run_is_refused_also_when_it_had_none() {
    let mut bed = Bed::new(Bounds::default());
    cancel_run(&mut bed, "a");

    assert!(!is_taken(&mut bed, 1, "a"));
    assert!(is_taken(&mut bed, 2, "b"));
}

#[test]
fn as_many_cancelled_runs_are_remembered_as_the_bounds_say() {
    let mut bed = Bed::new(Bounds {
        cancelled_runs_max: 2,
        ..Bounds::default()
    });
    for run in ["a", "b", "a", "c"] {
        cancel_run(&mut bed, run);
    }

    assert!(!is_taken(&mut bed, 1, "a"));
    assert!(is_taken(&mut bed, 2, "b"));
    assert!(!is_taken(&mut bed, 3, "c"));
}

#[test]
fn cancelled_run_is_remembered_after_a_crash() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, of_run("a"));
    bed.spawn(2, of_run("b"));
    cancel_run(&mut bed, "a");
    bed.end(1, End::Aborted);
    bed.end(2, done());

    bed.crash();

    assert!(!is_taken(&mut bed, 3, "a"));
    assert!(is_taken(&mut bed, 4, "b"));
}
