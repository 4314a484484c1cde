//! What other scopes may do with a task, and what nobody refers to.

use std::collections::BTreeSet;

use super::super::bed::{Bed, SECOND, answers, ask as why, done, id, json, scope};
use super::transfers::ask;
use crate::kernel::{
    Bounds, CloseReport, Control, Controlled, End, GRANTS_MAX, Grant, GrantChange, GrantRefusal,
    OnScopeClose, Reply, Spec, State, StopPolicy, Target,
};

fn changed(bed: &mut Bed, number: u32, change: GrantChange) -> Result<bool, GrantRefusal> {
    let id = id(number);
    match ask(bed, Control::Grant { id, change }).0 {
        Some(Controlled::Granted(done)) => done,
        other => panic!("{other:?}"),
    }
}

fn give(bed: &mut Bed, number: u32, to: &str, grant: Grant) -> Result<bool, GrantRefusal> {
    let to = scope(to);
    changed(bed, number, GrantChange::Give { to, grant })
}

fn take(bed: &mut Bed, number: u32, from: &str) -> Result<bool, GrantRefusal> {
    let from = scope(from);
    changed(bed, number, GrantChange::Take { from })
}

fn close(bed: &mut Bed, of: &str) -> CloseReport {
    let ask_ = Control::Close {
        scope: scope(of),
        ask: why(Some(SECOND)),
        only_if_idle: false,
    };
    match ask(bed, ask_).0 {
        Some(Controlled::Closed(Ok(report))) => *report,
        other => panic!("{other:?}"),
    }
}

fn holders(bed: &Bed, number: u32) -> Vec<(String, Grant)> {
    let grants = bed.record(number).grants.iter().flat_map(|all| all.iter());
    grants
        .map(|(scope, grant)| (scope.to_string(), *grant))
        .collect()
}

fn below(parent: u32) -> impl Fn(&mut Spec) {
    move |spec| spec.parent = Some(id(parent))
}

#[test]
fn grant_is_given_changed_passed_on_and_taken_back_with_an_event_each() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    assert_eq!(give(&mut bed, 1, "t", Grant::See), Ok(true));
    assert_eq!(give(&mut bed, 1, "t", Grant::See), Ok(false));
    assert_eq!(give(&mut bed, 1, "t", Grant::Talk), Ok(true));
    let pass = |from, to| GrantChange::Pass {
        from: scope(from),
        to: scope(to),
    };
    assert_eq!(changed(&mut bed, 1, pass("t", "u")), Ok(true));
    assert_eq!(holders(&bed, 1), [("u".to_owned(), Grant::Talk)]);
    let nothing = Err(GrantRefusal::NotHeld(scope("t")));
    assert_eq!(changed(&mut bed, 1, pass("t", "u")), nothing);
    assert_eq!(take(&mut bed, 1, "t"), Ok(false));
    assert_eq!(take(&mut bed, 1, "u"), Ok(true));
    assert_eq!(bed.record(1).grants, None);
    let told = ["granted", "granted", "revoked", "granted", "revoked"];
    assert_eq!(bed.told(1)[2..], told);
}

#[test]
fn grant_that_makes_no_sense_is_refused() {
    let mut bed = Bed::new(Bounds::default());
    let unknown = Err(GrantRefusal::Unknown(id(1)));
    assert_eq!(give(&mut bed, 1, "t", Grant::See), unknown);
    bed.spawn(1, |_| {});
    let own = Err(GrantRefusal::Owner(scope("s")));
    assert_eq!(give(&mut bed, 1, "s", Grant::See), own);
    close(&mut bed, "closed");
    let closed = Err(GrantRefusal::ScopeClosed(scope("closed")));
    assert_eq!(give(&mut bed, 1, "closed", Grant::See), closed);
    for number in 0..GRANTS_MAX {
        let to = format!("n{number}");
        assert_eq!(give(&mut bed, 1, &to, Grant::See), Ok(true));
    }
    let full = Err(GrantRefusal::TooMany(GRANTS_MAX));
    assert_eq!(give(&mut bed, 1, "another", Grant::See), full);
    assert_eq!(give(&mut bed, 1, "n0", Grant::Talk), Ok(true));
    bed.end(1, done());
    let ended = Err(GrantRefusal::Ended(State::Completed));
    assert_eq!(give(&mut bed, 1, "t", Grant::See), ended);
}

#[test]
fn grant_survives_the_end_and_crashes_and_is_taken_back_after_them() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    give(&mut bed, 1, "t", Grant::Talk).expect("it lives");
    bed.end(1, End::Suspended(json("1")));
    bed.crash();
    assert_eq!(holders(&bed, 1), [("t".to_owned(), Grant::Talk)]);
    bed.resume(1, "1");
    bed.end(1, done());
    bed.crash();
    assert_eq!(holders(&bed, 1), [("t".to_owned(), Grant::Talk)]);
    assert_eq!(take(&mut bed, 1, "t"), Ok(true));
    assert_eq!(
        (bed.record(1).grants.as_ref(), bed.state(1)),
        (None, State::Completed)
    );
    bed.crash();
    assert_eq!(take(&mut bed, 1, "t"), Ok(false));
}

#[test]
fn grants_go_with_the_record_and_with_the_next_life_of_the_id() {
    let mut bed = Bed::new(Bounds::default());
    for number in [1, 2] {
        bed.spawn(number, |_| {});
        give(&mut bed, number, "t", Grant::See).expect("it lives");
        bed.end(number, done());
    }
    let chosen = bed.chosen(1);
    ask(&mut bed, Control::Remove(vec![chosen]));
    assert_eq!(take(&mut bed, 1, "t"), Err(GrantRefusal::Unknown(id(1))));
    bed.reuse(2);
    assert_eq!(bed.record(2).grants, None);
    assert_eq!(close(&mut bed, "t").revoked, []);
}

#[test]
fn record_of_an_abandoned_body_keeps_its_grants_and_unread_messages() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.stop_policy = StopPolicy::Cooperative);
    give(&mut bed, 1, "t", Grant::See).expect("it lives");
    bed.cancel(Target::One(id(1)), Some(SECOND));
    bed.pass(SECOND);
    let copy = std::sync::Arc::new(bed.record(1).clone());
    bed.end(1, done());
    assert_eq!(take(&mut bed, 1, "t"), Ok(true));
    give(&mut bed, 1, "t", Grant::See).expect_err("it has ended");
    bed.step(crate::kernel::Input::Undelivered {
        record: copy,
        count: 2,
    });
    assert_eq!(
        (bed.record(1).undelivered, &bed.record(1).grants),
        (2, &None)
    );
}

#[test]
fn unread_messages_are_counted_on_the_record_that_is_kept_for_its_grants() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    for to in ["t", "u"] {
        give(&mut bed, 1, to, Grant::See).expect("it lives");
    }
    bed.end(1, done());
    let record = std::sync::Arc::new(bed.record(1).clone());
    take(&mut bed, 1, "t").expect("it is kept");
    let count = 3;
    bed.step(crate::kernel::Input::Undelivered { record, count });
    assert_eq!(holders(&bed, 1), [("u".to_owned(), Grant::See)]);
    assert_eq!(bed.record(1).undelivered, 3);
}

#[test]
fn who_may_cancel_is_decided_in_the_step_of_the_cancel() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, below(1));
    let refused = |bed: &mut Bed, by: &str, number: u32| {
        let effects = bed.cancel(Target::OneFor(scope(by), id(number)), None);
        match &answers(&effects)[..] {
            [(_, Reply::Unknown(_))] => true,
            [] => false,
            other => panic!("{other:?}"),
        }
    };
    give(&mut bed, 1, "t", Grant::Talk).expect("it lives");
    assert!(refused(&mut bed, "t", 1) && refused(&mut bed, "u", 1));
    give(&mut bed, 1, "t", Grant::Cancel).expect("it lives");
    take(&mut bed, 1, "t").expect("it lives");
    assert!(refused(&mut bed, "t", 2), "a grant that was taken back");
    give(&mut bed, 1, "t", Grant::Cancel).expect("it lives");
    assert!(!refused(&mut bed, "t", 2), "a grant reaches what is below");
    assert!(!refused(&mut bed, "s", 1), "its own scope needs none");
    take(&mut bed, 1, "t").expect("it lives");
    assert_eq!(bed.state(1), State::CancelRequested);
    bed.end(2, End::Aborted);
    bed.end(1, End::Aborted);
    assert_eq!(bed.state(1), State::Cancelled, "what was asked goes on");
}

#[test]
fn all_that_a_scope_may_cancel_is_its_own_and_what_was_granted_so_far() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.scope = scope("t"));
    for number in [2, 3, 4, 6] {
        bed.spawn(number, |_| {});
    }
    bed.spawn(5, below(4));
    give(&mut bed, 3, "t", Grant::Talk).expect("it lives");
    for number in [4, 5, 6] {
        give(&mut bed, number, "t", Grant::Cancel).expect("it lives");
    }
    bed.end(6, done());

    bed.cancel(Target::Visible(scope("t")), None);

    let asked = |number| bed.state(number) == State::CancelRequested;
    assert_eq!([1, 2, 3, 4, 5].map(asked), [true, false, false, true, true]);
}

#[test]
fn closing_takes_back_what_the_scope_held_and_tells_what_nobody_refers_to() {
    let mut bed = Bed::new(Bounds::default());
    for number in [1, 2, 3] {
        bed.spawn(number, |_| {});
    }
    bed.spawn(4, |spec| {
        spec.on_scope_close = Some(OnScopeClose::Transfer(scope("t")));
    });
    bed.spawn(5, below(3));
    for (number, to) in [(1, "t"), (2, "u"), (5, "u")] {
        give(&mut bed, number, to, Grant::See).expect("it lives");
    }

    let first = close(&mut bed, "s");
    assert_eq!((first.orphaned, first.revoked), (vec![], vec![]));
    let second = close(&mut bed, "u");
    assert_eq!(second.revoked, [id(2), id(5)]);
    assert_eq!(second.orphaned, [id(3), id(2)]);
    assert_eq!(take(&mut bed, 2, "u"), Ok(false));

    let kept = BTreeSet::from([id(5)]);
    bed.cancel(Target::Unreferenced(kept), None);
    let live = |number| bed.state(number) == State::Running;
    assert_eq!([1, 2, 3, 4, 5].map(live), [true, false, true, true, true]);
    bed.cancel(Target::Unreferenced(BTreeSet::new()), None);
    let live = |number| bed.state(number) == State::Running;
    assert_eq!([1, 2, 3, 4, 5].map(live), [true, false, false, true, false]);
}

#[test]
fn tasks_of_open_scopes_are_never_unreferenced() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    let effects = bed.cancel(Target::Unreferenced(BTreeSet::new()), None);
    assert!(matches!(&answers(&effects)[..], [(_, Reply::Cancelled(report))] if report.is_empty()));
    close(&mut bed, "s");
    ask(&mut bed, Control::Reopen(scope("s")));
    bed.cancel(Target::Unreferenced(BTreeSet::new()), None);
    assert_eq!(bed.state(1), State::Running);
}
