//! Tasks that settle before their bodies have stopped, because somebody wants that.

use super::bed::{Bed, SECOND, answers, ask, done, id, json, starts};
use crate::kernel::{
    AbandonRefusal, Body, Bounds, CancelReport, Class, Control, Controlled, Effect, End, Input,
    LateSuccess, Limit, OnParentEnd, Origin, Outcome, Reply, Requester, RestartPolicy, Retry, Spec,
    State, StopPolicy, Target, TaskId, Wait, What,
};

fn bed() -> Bed {
    Bed::new(Bounds {
        grace: 60 * SECOND,
        global: Some(Class::queue(1)),
        ..Bounds::default()
    })
}

fn now(bed: &mut Bed, target: Target) -> Vec<Effect> {
    let (ticket, mut ask) = (bed.ticket(), ask(None));
    ask.now = true;
    bed.step(Input::Cancel {
        ticket,
        target,
        ask,
    })
}

fn report(effects: &[Effect]) -> CancelReport {
    match &answers(effects)[..] {
        [(_, Reply::Cancelled(report))] => CancelReport::clone(report),
        other => panic!("one cancel is answered: {other:?}"),
    }
}

fn given_up(effects: &[Effect]) -> Result<Vec<TaskId>, AbandonRefusal> {
    for (_, reply) in answers(effects) {
        if let Reply::Controlled(Controlled::Abandoned(done)) = reply {
            return done;
        }
    }
    panic!("it is answered in the same step");
}

fn forces(effects: &[Effect]) -> usize {
    let forces = effects.iter();
    forces
        .filter(|effect| matches!(effect, Effect::Abort { .. }))
        .count()
}

#[test]
fn cancel_now_settles_in_its_step_and_holds_the_slot_until_the_body_has_stopped() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});

    let effects = now(&mut bed, Target::One(id(1)));

    assert_eq!(report(&effects).abandoned, [id(1)]);
    assert_eq!((forces(&effects), starts(&effects).len()), (1, 0));
    assert!(bed.record(1).is_abandoned());
    let told = ["accepted", "started", "stop_asked", "aborted", "settled"];
    assert_eq!(bed.told(1), told);
    assert_eq!(starts(&bed.end(1, done())), [id(2)]);
    assert_eq!(bed.told(1).last(), Some(&"body_stopped"));
    let outcome = bed.record(1).outcome.as_deref().cloned();
    assert_eq!(outcome, Some(Outcome::Cancelled { late_result: None }));
}

#[test]
fn tree_that_is_cancelled_now_settles_as_a_whole_from_its_leaves_on() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| spec.parent = Some(id(1)));
    bed.spawn(3, |spec| spec.parent = Some(id(2)));

    let report = report(&now(&mut bed, Target::Tree(id(1))));

    assert_eq!(report.abandoned, [id(3), id(2), id(1)]);
    assert!(!bed.told(1).contains(&"waiting"), "{:?}", bed.told(1));
}

#[test]
fn cancel_now_of_one_task_waits_for_children_that_go_on() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
    });

    let effects = now(&mut bed, Target::One(id(1)));

    assert_eq!((answers(&effects).len(), bed.state(2)), (0, State::Running));
    assert_eq!(bed.state(1), State::CancelRequested);
    assert_eq!(report(&bed.end(2, done())).abandoned, [id(1)]);
}

#[test]
fn cancel_now_overtakes_a_patient_cancel_and_answers_both() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    assert!(answers(&bed.cancel(Target::One(id(1)), Some(60 * SECOND))).is_empty());

    let answers = answers(&now(&mut bed, Target::Tree(id(1))));

    assert_eq!(answers.len(), 2);
    for (_, reply) in answers {
        let Reply::Cancelled(report) = reply else {
            panic!("both are cancels");
        };
        assert_eq!(report.abandoned, [id(1)]);
    }
}

#[test]
fn cooperative_body_is_given_up_and_never_forced() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.stop_policy = StopPolicy::Cooperative);
    let effects = now(&mut bed, Target::One(id(1)));
    assert_eq!((forces(&effects), bed.state(1)), (0, State::Cancelled));
}

/// Whichever of a cancel and the body's own last word comes first is the end.
#[test]
fn cancel_now_beside_an_end_or_a_suspension_has_one_end() {
    for (end, alone) in [
        (done(), State::Completed),
        (End::Suspended(json("1")), State::Cancelled),
    ] {
        let mut before = bed();
        before.spawn(1, |_| {});
        now(&mut before, Target::One(id(1)));
        before.end(1, end.clone());
        assert_eq!(before.state(1), State::Cancelled);
        assert_eq!(before.record(1).suspension, None);

        let mut after = bed();
        after.spawn(1, |_| {});
        after.end(1, end);
        let report = report(&now(&mut after, Target::One(id(1))));
        assert_eq!((after.state(1), report.abandoned.len()), (alone, 0));
    }
}

#[test]
fn only_a_task_that_is_being_stopped_is_given_up() {
    let mut bed = bed();
    let unknown = Err(AbandonRefusal::Unknown(id(1)));
    assert_eq!(given_up(&bed.abandon(1)), unknown);
    bed.spawn(1, |_| {});
    let runs = Err(AbandonRefusal::NotStopping(State::Running));
    assert_eq!(given_up(&bed.abandon(1)), runs);
    bed.end(1, done());
    let ended = Err(AbandonRefusal::NotStopping(State::Completed));
    assert_eq!(given_up(&bed.abandon(1)), ended);
}

#[test]
fn task_that_is_given_up_settles_by_the_cause_of_its_stop_and_keeps_who_gave_up_first() {
    let mut bed = bed();
    bed.spawn(1, |spec| spec.timeout = Some(SECOND));
    bed.pass(SECOND);
    assert_eq!(bed.state(1), State::CancelRequested);

    assert_eq!(given_up(&bed.abandon(1)), Ok(vec![id(1)]));

    assert_eq!(bed.state(1), State::TimedOut);
    assert!(bed.record(1).is_abandoned());
    let request = bed.record(1).abandon.as_ref().expect("it is kept");
    assert_eq!(*request.reason, *"the test gives up");
    let ended = Err(AbandonRefusal::NotStopping(State::TimedOut));
    assert_eq!(given_up(&bed.abandon(1)), ended);
}

#[test]
fn whoever_gives_up_first_stays_in_the_record() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
    });
    bed.cancel_one(1);
    assert_eq!(given_up(&bed.abandon(1)), Ok(vec![id(1)]));
    let (ticket, by) = (bed.ticket(), Requester::Manager);
    let again = Control::Abandon {
        id: id(1),
        reason: "again".into(),
        by,
    };
    let effects = bed.step(Input::Control { ticket, ask: again });
    assert_eq!(
        given_up(&effects),
        Ok(vec![]),
        "its body is given up already"
    );
    let request = bed.record(1).abandon.as_ref().expect("it is kept");
    assert_eq!(request.by, Requester::Host);
}

#[test]
fn what_is_given_up_ends_beside_its_body_only_once() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.cancel(Target::One(id(1)), Some(60 * SECOND));
    bed.abandon(1);
    bed.end(1, done());
    assert_eq!(bed.record(1).body, Body::Absent);
    bed.pass(120 * SECOND);
    let ends = bed.events.iter();
    let ends = ends.filter(|event| matches!(event.what, What::Settled { .. }));
    assert_eq!(ends.count(), 1);

    let mut other = self::bed();
    other.spawn(1, |_| {});
    other.cancel(Target::One(id(1)), Some(60 * SECOND));
    other.end(1, done());
    let late = Err(AbandonRefusal::NotStopping(State::Cancelled));
    assert_eq!(given_up(&other.abandon(1)), late);
}

/// A child that its parent waits for, whatever happens.
fn child_of_one(bed: &mut Bed) {
    bed.spawn(2, |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
    });
}

#[test]
fn what_is_given_up_while_a_child_lives_never_runs_again() {
    let again: [fn(&mut Spec); 2] = [
        |spec| spec.retry = Retry::fixed(1, SECOND),
        |spec| spec.restart = Some(RestartPolicy::permanent()),
    ];
    for again in again {
        for is_asked in [true, false] {
            let mut bed = Bed::new(Bounds::default());
            bed.spawn(1, |spec| {
                again(spec);
                spec.timeout = Some(SECOND);
            });
            child_of_one(&mut bed);
            bed.pass(SECOND);
            if is_asked {
                assert_eq!(given_up(&bed.abandon(1)), Ok(vec![id(1)]));
            } else {
                // The time for force passes as well.
                bed.pass(60 * SECOND);
                bed.pass(60 * SECOND);
            }

            bed.end(1, End::Aborted);
            assert_eq!(bed.record(1).body, Body::Absent);
            bed.end(2, done());

            let limit = Limit::Attempt;
            let late_result = None;
            let ended = Outcome::TimedOut { limit, late_result };
            assert_eq!(bed.record(1).outcome.as_deref(), Some(&ended));
            assert!(!bed.told(1).contains(&"attempt_failed"));
        }
    }
}

#[test]
fn late_value_of_what_was_given_up_completes_nothing() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.late_success = LateSuccess::Completed);
    child_of_one(&mut bed);
    now(&mut bed, Target::One(id(1)));

    bed.end(1, done());
    bed.end(2, done());

    assert_eq!(bed.state(1), State::Cancelled);
}

#[test]
fn slot_of_what_was_given_up_is_free_when_its_body_has_stopped() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.park(1, 1, Some(Wait::Parked));
    child_of_one(&mut bed);
    bed.park(1, 2, None);
    bed.spawn(3, |_| {});
    now(&mut bed, Target::One(id(1)));
    bed.end(2, done());
    assert_eq!(bed.state(3), State::Pending);
    assert_eq!(starts(&bed.end(1, done())), [id(3)]);
}

#[test]
fn nobody_waits_for_the_hooks_of_what_is_given_up() {
    let mut bed = Bed::new(Bounds::default());
    for (number, parent) in [(1, None), (2, Some(id(1)))] {
        bed.spawn(number, |spec| {
            spec.before_settle = true;
            spec.timeout = Some(SECOND);
            spec.parent = parent;
        });
    }
    bed.pass(SECOND);
    bed.end(2, End::Aborted);
    assert_eq!(bed.record(2).wait, Some(Wait::Hook));

    bed.abandon(1);

    assert_eq!([bed.state(1), bed.state(2)], [State::TimedOut; 2]);
    assert!(bed.told(1).contains(&"hook_failed"));
}

#[test]
fn suspension_is_over_with_a_run_that_is_given_up_or_lost() {
    let resumed = |origin| {
        let mut bed = Bed::new(Bounds::default());
        bed.spawn(1, |spec| spec.origin = origin);
        bed.end(1, End::Suspended(json("7")));
        bed.resume(1, "1");
        assert_eq!(bed.record(1).suspension, Some(json("7")));
        bed
    };
    let mut given_up = resumed(Origin::Closure);
    now(&mut given_up, Target::One(id(1)));
    assert_eq!(given_up.state(1), State::Cancelled);
    assert_eq!(given_up.record(1).suspension, None);

    let mut lost = resumed(Origin::Closure);
    lost.crash();
    assert_eq!(lost.state(1), State::Interrupted);
    assert_eq!(lost.record(1).suspension, None);
}

#[test]
fn suspension_is_in_the_record_until_the_resumed_run_is_over() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.end(1, End::Suspended(json("7")));
    bed.crash();
    assert_eq!(bed.record(1).suspension, Some(json("7")));
    bed.resume(1, "1");
    assert_eq!(bed.state(1), State::Running);
    assert_eq!(bed.record(1).suspension, Some(json("7")));
    bed.end(1, done());
    assert_eq!(bed.record(1).suspension, None);
}
