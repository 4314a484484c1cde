//! Hooks before a settlement: whom they hold, for how long, and what they cannot change.

use std::time::Duration;

use super::bed::{Bed, SECOND, answers, done, fault, id, json, starts};
use crate::kernel::{
    Body, Bounds, Effect, End, FaultKind, Hooked, Kind, LateSuccess, OnParentEnd, Origin, Outcome,
    Reply, Retry, Seq, Spec, State, StopPolicy, Visibility, Wait,
};

const LONGEST: Duration = Duration::from_millis(5_100);

fn hooked(spec: &mut Spec) {
    spec.before_settle = true;
}

fn bed() -> Bed {
    Bed::new(Bounds {
        grace: 2 * SECOND,
        ..Bounds::default()
    })
}

/// A task whose hooks run as it is about to complete.
fn settling() -> Bed {
    let mut bed = bed();
    bed.spawn(1, hooked);
    bed.end(1, done());
    bed
}

/// Until when the hooks called by these effects have time, in milliseconds from now.
fn time_of_hooks(bed: &Bed, effects: &[Effect]) -> Option<u128> {
    effects.iter().find_map(|effect| {
        let Effect::BeforeSettle(call) = effect else {
            return None;
        };
        Some(call.until.since(bed.now).as_millis())
    })
}

#[test]
fn p26_task_settles_when_its_hooks_are_over() {
    let mut bed = bed();
    bed.spawn(1, hooked);
    let effects = bed.end(1, done());

    assert_eq!(time_of_hooks(&bed, &effects), Some(5_000));
    assert_eq!(bed.state(1), State::Waiting);
    assert_eq!(bed.record(1).wait, Some(Wait::Hook));
    assert_eq!(bed.record(1).body, Body::Absent);

    bed.hooks_over(1, &["the first", "the second"]);
    assert_eq!(bed.state(1), State::Completed);
    assert_eq!(
        bed.told(1),
        [
            "accepted",
            "started",
            "waiting",
            "hook_failed",
            "hook_failed",
            "settled"
        ]
    );
}

#[test]
fn host_hooks_hold_the_tasks_that_they_are_for_and_no_hidden_one() {
    let kind = || Kind::new("k").expect("a valid kind");
    let all = [
        Hooked {
            all: true,
            ..Hooked::default()
        },
        Hooked {
            scopes: [super::bed::scope("s")].into(),
            ..Hooked::default()
        },
        Hooked {
            kinds: [kind()].into(),
            ..Hooked::default()
        },
    ];
    for (at, hooked) in all.into_iter().enumerate() {
        let mut bed = Bed::new(Bounds {
            hooked,
            ..Bounds::default()
        });
        bed.spawn(1, |spec| spec.kind = Some(kind()));
        bed.spawn(2, |spec| spec.scope = super::bed::scope("t"));
        bed.spawn(3, |spec| {
            spec.kind = Some(kind());
            spec.visibility = Visibility::Hidden;
        });
        for number in 1..=3 {
            bed.end(number, done());
        }
        assert_eq!(bed.state(1), State::Waiting);
        let holds_all = at == 0;
        assert_eq!(bed.state(2) == State::Waiting, holds_all);
        assert_eq!(bed.state(3), State::Completed);
    }
}

#[test]
fn hooks_that_hang_hold_a_task_for_five_seconds_and_are_told() {
    let mut bed = settling();
    bed.pass(Duration::from_millis(5_099));
    assert_eq!(bed.state(1), State::Waiting);
    bed.pass(Duration::from_millis(1));
    assert_eq!(bed.state(1), State::Completed);
    assert!(bed.told(1).contains(&"hook_failed"));

    let late = bed.hooks_over(1, &["late"]);
    assert!(late.is_empty());
}

#[test]
fn retry_calls_no_hooks_and_its_last_failure_does() {
    let mut bed = bed();
    bed.spawn(1, |spec| {
        hooked(spec);
        spec.retry = Retry::fixed(1, SECOND);
    });
    let effects = bed.end(1, fault(FaultKind::Error));
    assert_eq!(time_of_hooks(&bed, &effects), None);
    bed.pass(SECOND);
    let effects = bed.end(1, fault(FaultKind::Error));
    assert_eq!(time_of_hooks(&bed, &effects), Some(5_000));
    bed.hooks_over(1, &[]);
    assert_eq!(bed.state(1), State::Failed);
}

/// What the hooks were shown is how it ends; the cancel is answered in its time.
#[test]
fn cancel_of_a_settling_task_changes_no_outcome_and_leaves_its_hooks_less_time() {
    let mut bed = settling();
    bed.spawn(9, |_| {});
    bed.cancel(crate::kernel::Target::Tree(id(1)), Some(Duration::ZERO));
    assert_eq!(bed.state(1), State::Waiting);

    bed.pass(Duration::from_millis(899));
    assert_eq!(bed.state(1), State::Waiting);
    let effects = bed.pass(Duration::from_millis(1));
    assert_eq!(bed.state(1), State::Completed);
    let [(_, Reply::Cancelled(report))] = &answers(&effects)[..] else {
        panic!("the cancel is answered: {effects:?}")
    };
    assert_eq!(report.already_ended, [id(1)]);
}

#[test]
fn later_cancel_gives_hooks_no_more_time() {
    let mut bed = settling();
    bed.cancel(
        crate::kernel::Target::Tree(id(1)),
        Some(Duration::from_hours(1)),
    );
    bed.pass(LONGEST);
    assert_eq!(bed.state(1), State::Completed);
}

#[test]
fn hooks_of_a_cancelled_task_have_what_its_grace_and_force_leave() {
    for grace in [Duration::ZERO, 3 * SECOND, Duration::from_hours(1)] {
        let mut bed = bed();
        bed.spawn(1, hooked);
        bed.cancel(crate::kernel::Target::Tree(id(1)), Some(grace));
        let effects = bed.end(1, End::Aborted);
        let expected = (grace + Duration::from_millis(800)).min(5 * SECOND);
        assert_eq!(time_of_hooks(&bed, &effects), Some(expected.as_millis()));
        assert_eq!(bed.state(1), State::CancelRequested);
        bed.hooks_over(1, &[]);
        assert_eq!(bed.state(1), State::Cancelled);
    }
}

#[test]
fn pending_and_suspended_tasks_have_their_hooks_when_they_are_cancelled() {
    let mut bed = bed();
    bed.spawn(9, |_| {});
    bed.spawn(1, |spec| {
        hooked(spec);
        spec.after = vec![id(9)];
    });
    bed.spawn(2, hooked);
    bed.end(2, End::Suspended(json("1")));
    for number in [1, 2] {
        let effects = bed.cancel_one(number);
        assert_eq!(time_of_hooks(&bed, &effects), Some(2_800));
        bed.hooks_over(number, &[]);
        assert_eq!(bed.state(number), State::Cancelled);
    }
}

/// A tree that is cancelled is over in time, although every hook of it hangs.
#[test]
fn p4_hooks_of_a_tree_hang_and_its_cancel_is_answered_in_time() {
    let mut bed = bed();
    bed.spawn(1, hooked);
    bed.spawn(2, |spec| {
        hooked(spec);
        spec.parent = Some(id(1));
    });
    bed.spawn(3, |spec| {
        hooked(spec);
        spec.parent = Some(id(2));
    });
    bed.cancel(crate::kernel::Target::Tree(id(1)), Some(Duration::ZERO));
    for number in [1, 2, 3] {
        bed.end(number, End::Aborted);
    }
    let effects = bed.pass(Duration::from_millis(900));
    assert_eq!(
        [1, 2, 3].map(|number| bed.state(number)),
        [State::Cancelled; 3]
    );
    assert_eq!(answers(&effects).len(), 1);
}

/// Whether in the next process or after a long wait: hooks have some time.
#[test]
fn hooks_of_a_task_that_was_cancelled_long_ago_have_time_all_the_same() {
    let mut bed = bed();
    bed.spawn(1, hooked);
    bed.cancel(crate::kernel::Target::Tree(id(1)), Some(Duration::ZERO));
    bed.end(1, End::Aborted);
    bed.now = bed.now.after(10 * SECOND);
    let effects = bed.crash();
    assert_eq!(time_of_hooks(&bed, &effects), Some(300));

    let mut waits = self::bed();
    waits.spawn(1, hooked);
    waits.spawn(2, |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
    });
    waits.cancel_one(1);
    waits.end(1, End::Aborted);
    waits.pass(60 * SECOND);
    let effects = waits.end(2, done());
    assert_eq!(time_of_hooks(&waits, &effects), Some(300));
}

/// A tree that is cancelled waits for nobody's hooks beyond what it was promised.
#[test]
fn p4_hooks_of_a_task_that_was_cancelled_before_its_tree_have_what_the_tree_has() {
    let mut bed = bed();
    bed.spawn(1, hooked);
    bed.spawn(2, |spec| {
        spec.parent = Some(id(1));
        spec.on_parent_end = Some(OnParentEnd::Wait);
        spec.stop_policy = StopPolicy::Cooperative;
    });
    bed.cancel_one(1);
    bed.end(1, End::Aborted);
    bed.pass(60 * SECOND);
    bed.cancel_tree(1);
    bed.pass(2 * SECOND);
    assert_eq!(bed.record(1).wait, Some(Wait::Hook));
    let effects = bed.pass(Duration::from_millis(400));
    assert_eq!(answers(&effects).len(), 2, "both cancels are");
}

#[test]
fn time_of_hooks_begins_when_they_are_called() {
    let mut bed = bed();
    bed.holds_hooks = true;
    bed.spawn(1, hooked);
    bed.end(1, done());
    bed.pass(6 * SECOND);
    bed.pass(60 * SECOND);
    assert_eq!(bed.state(1), State::Waiting, "they were not called yet");
    let (id, turn) = (id(1), bed.hook_turn(1));
    let begin = crate::kernel::Input::HooksBegun { id, turn };
    bed.step(begin.clone());
    bed.pass(Duration::from_millis(5_099));
    assert!(bed.step(begin).is_empty(), "it begins once");
    assert_eq!(bed.state(1), State::Waiting);
    bed.pass(Duration::from_millis(1));
    assert_eq!(bed.state(1), State::Completed);
}

/// Whether they were called or not: the cancel is answered in its time.
#[test]
fn p4_tree_that_is_cancelled_waits_for_no_call_of_hooks() {
    let mut bed = bed();
    bed.holds_hooks = true;
    bed.spawn(1, hooked);
    bed.end(1, done());
    bed.pass(60 * SECOND);
    bed.cancel(crate::kernel::Target::Tree(id(1)), Some(Duration::ZERO));
    let effects = bed.pass(Duration::from_millis(900));
    assert_eq!(answers(&effects).len(), 1);
}

#[test]
fn abandoned_body_stops_while_hooks_run_and_its_late_word_is_nothing() {
    let mut bed = bed();
    bed.spawn(1, |spec| {
        hooked(spec);
        spec.stop_policy = StopPolicy::Cooperative;
        spec.late_success = LateSuccess::Completed;
    });
    bed.cancel_one(1);
    bed.pass(2 * SECOND);
    assert_eq!(bed.record(1).wait, Some(Wait::Hook));
    assert_eq!(bed.record(1).body, Body::Live);

    bed.end(1, done());
    assert_eq!(bed.record(1).body, Body::Absent);
    bed.hooks_over(1, &[]);
    let cancelled = Outcome::Cancelled { late_result: None };
    assert_eq!(bed.record(1).outcome.as_deref(), Some(&cancelled));
    assert!(!bed.record(1).is_abandoned());
}

#[test]
fn settling_task_holds_its_name_and_not_its_slot() {
    let mut bed = Bed::new(Bounds {
        global: Some(crate::kernel::Class::queue(1)),
        ..Bounds::default()
    });
    bed.spawn(1, |spec| {
        hooked(spec);
        spec.name = Some(super::bed::name("ann"));
    });
    bed.spawn(2, |_| {});
    let effects = bed.end(1, done());
    assert_eq!(starts(&effects), [id(2)]);
    bed.spawn(3, |spec| spec.name = Some(super::bed::name("ann")));
    assert!(!bed.records.contains_key(&id(3)), "the name is held");
}

#[test]
fn p12_hooks_run_again_after_a_crash_and_the_conclusion_stands() {
    let mut bed = settling();
    let before = bed.hook_turn(1);
    let effects = bed.crash();

    assert_eq!(time_of_hooks(&bed, &effects), Some(5_000));
    let (id, turn, failures) = (id(1), before, Vec::new());
    let stale = bed.step(crate::kernel::Input::HooksOver { id, turn, failures });
    assert!(stale.is_empty());
    bed.hooks_over(1, &[]);
    assert_eq!(bed.state(1), State::Completed);
}

#[test]
fn closure_lost_in_a_crash_has_its_hooks_before_it_is_interrupted() {
    let mut bed = bed();
    bed.spawn(9, |spec| spec.retry = Retry::fixed(1, SECOND));
    for (number, after) in [(1, vec![]), (2, vec![id(9)])] {
        bed.spawn(number, |spec| {
            hooked(spec);
            spec.origin = Origin::Closure;
            spec.after = after;
        });
    }
    bed.crash();
    for number in [1, 2] {
        assert_eq!(bed.record(number).wait, Some(Wait::Hook));
        bed.pass(SECOND);
        bed.end(9, done());
        bed.hooks_over(number, &[]);
        assert_eq!(bed.state(number), State::Interrupted);
    }
}

/// What it comes after is lost first, so that it is cancelled and not interrupted.
#[test]
fn recovery_concludes_a_task_once_although_hooks_keep_it_from_settling() {
    let mut bed = bed();
    for (number, after) in [(9, vec![]), (1, vec![id(9)])] {
        bed.spawn(number, |spec| {
            spec.origin = Origin::Closure;
            spec.before_settle = number == 1;
            spec.after = after;
        });
    }
    bed.crash();
    bed.hooks_over(1, &[]);
    assert_eq!(bed.state(1), State::Cancelled);
}

#[test]
fn failure_of_an_observer_is_told_of_the_life_that_it_saw() {
    let mut bed = bed();
    bed.spawn(1, |_| {});
    bed.end(1, done());
    let record = std::sync::Arc::new(bed.record(1).clone());
    let fail = |bed: &mut Bed, record: &std::sync::Arc<crate::kernel::Record>| {
        let (record, why) = (
            std::sync::Arc::clone(record),
            "on_settled: it failed".into(),
        );
        bed.step(crate::kernel::Input::HookFailed { record, why });
    };
    let messages = std::sync::Arc::clone(&record);
    bed.step(crate::kernel::Input::Undelivered {
        record: messages,
        count: 2,
    });
    fail(&mut bed, &record);
    let (events, told) = (bed.record(1).events, bed.told(1).len());
    assert_eq!(
        usize::try_from(events),
        Ok(told),
        "although its record was an older one"
    );
    assert_eq!(bed.record(1).undelivered, 2);
    assert_eq!(bed.told(1).last(), Some(&"hook_failed"));
    assert_eq!(bed.state(1), State::Completed);

    bed.reuse(1);
    let seq = bed.kernel.seq();
    fail(&mut bed, &record);
    assert_ne!(seq, Seq(0));
    assert_eq!(bed.kernel.seq(), seq, "that life is over");
}
