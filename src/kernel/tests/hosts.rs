//! Tasks whose executor is not here: they wait for it without a slot, also after a crash.

use std::collections::BTreeSet;

use super::bed::{Bed, SECOND, done, fault, id, scope};
use crate::kernel::{
    Bounds, Class, Control, FaultKind, Hosts, Input, Kind, Origin, Retry, Spec, State, Wait,
};

fn kind(text: &str) -> Kind {
    Kind::new(text).expect("the test wrote a kind")
}

fn of_kind(spec: &mut Spec) {
    spec.kind = Some(kind("k"));
}

fn bed(hosts: Hosts) -> Bed {
    Bed::new(Bounds {
        hosts,
        global: Some(Class::queue(1)),
        ..Bounds::default()
    })
}

fn none() -> Hosts {
    Hosts::Registered(BTreeSet::new())
}

#[test]
fn task_waits_for_its_executor_without_a_slot_and_survives_a_crash() {
    let mut bed = bed(none());
    bed.spawn(1, of_kind);
    bed.spawn(2, |_| {});
    assert_eq!(bed.record(1).wait, Some(Wait::Executor));
    assert_eq!(bed.state(2), State::Running);
    bed.end(2, done());
    bed.crash();
    assert_eq!(
        (bed.state(1), &bed.record(1).wait),
        (State::Pending, &Some(Wait::Executor))
    );

    bed.host(Hosts::Registered(BTreeSet::from([(None, kind("k"))])));
    assert_eq!(bed.state(1), State::Running);
}

#[test]
fn executor_of_another_scope_is_no_executor() {
    let mut bed = bed(none());
    bed.spawn(1, of_kind);
    let elsewhere = Some(super::bed::scope("t"));
    bed.host(Hosts::Registered(BTreeSet::from([(elsewhere, kind("k"))])));
    assert_eq!(bed.record(1).wait, Some(Wait::Executor));
    let here = Some(super::bed::scope("s"));
    bed.host(Hosts::Registered(BTreeSet::from([(here, kind("k"))])));
    assert_eq!(bed.state(1), State::Running);
}

#[test]
fn task_leaves_the_queue_with_its_executor_and_its_next_attempt_waits_for_it() {
    let mut bed = bed(Hosts::All);
    bed.spawn(1, |spec| {
        of_kind(spec);
        spec.retry = Retry::fixed(1, SECOND);
    });
    bed.spawn(2, of_kind);
    assert_eq!(bed.record(2).wait, Some(Wait::Slot));
    bed.host(none());
    assert_eq!(bed.record(2).wait, Some(Wait::Executor));
    bed.end(1, fault(FaultKind::Error));
    bed.pass(SECOND);
    assert_eq!(bed.record(1).wait, Some(Wait::Executor));

    bed.host(Hosts::All);
    assert_eq!(
        (bed.state(1), bed.state(2)),
        (State::Running, State::Pending)
    );
}

#[test]
fn closures_need_no_executor_but_a_producer_takes_none() {
    let closure = |spec: &mut Spec| spec.origin = Origin::Closure;
    let mut bed = bed(none());
    bed.spawn(1, closure);
    assert_eq!(bed.state(1), State::Running);
    bed.host(Hosts::Nothing);
    bed.spawn(2, closure);
    assert!(!bed.records.contains_key(&id(2)));
}

#[test]
fn task_that_waits_for_its_executor_starts_when_it_is_moved_to_where_that_is() {
    let there = (Some(scope("t")), kind("k"));
    let mut bed = bed(Hosts::Registered([there].into()));
    bed.spawn(1, of_kind);
    assert_eq!(bed.record(1).wait, Some(Wait::Executor));

    let (ticket, ids) = (bed.ticket(), vec![id(1)]);
    let to = scope("t");
    let ask = Control::Transfer { ids, to };
    bed.step(Input::Control { ticket, ask });

    assert_eq!(bed.state(1), State::Running);
}
