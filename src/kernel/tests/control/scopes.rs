//! Scopes that are closed and opened again.

use super::super::bed::{Bed, SECOND, answers, ask as why, done, id, name, scope};
use super::transfers::ask;
use crate::kernel::{
    Bounds, CloseRefusal, CloseReport, Control, Controlled, End, Input, OnScopeClose, Refusal,
    Reply, Spec, State, StopPolicy, TransferRefusal,
};

fn with(policy: OnScopeClose) -> impl Fn(&mut Spec) {
    move |spec| spec.on_scope_close = Some(policy.clone())
}

fn below(parent: u32) -> impl Fn(&mut Spec) {
    move |spec| spec.parent = Some(id(parent))
}

fn close(bed: &mut Bed, only_if_idle: bool) -> Option<Result<CloseReport, CloseRefusal>> {
    let ask_ = Control::Close {
        scope: scope("s"),
        ask: why(Some(SECOND)),
        only_if_idle,
    };
    match ask(bed, ask_).0 {
        None => None,
        Some(Controlled::Closed(closed)) => Some(closed.map(|report| *report)),
        other => panic!("{other:?}"),
    }
}

fn is_taken(bed: &mut Bed, number: u32) -> bool {
    let effects = bed.spawn(number, |_| {});
    match &answers(&effects)[..] {
        [(_, Reply::Spawned(Ok(_)))] => true,
        [(_, Reply::Spawned(Err(Refusal::ScopeClosed(of))))] if *of == scope("s") => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_task_of_a_closed_scope_does_as_it_says_and_is_reported_once() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| {
        below(1)(spec);
        with(OnScopeClose::Cancel)(spec);
    });
    bed.spawn(3, below(2));
    bed.spawn(4, with(OnScopeClose::Transfer(scope("t"))));
    bed.spawn(5, below(4));
    bed.spawn(6, |spec| {
        with(OnScopeClose::Cancel)(spec);
        spec.stop_policy = StopPolicy::Cooperative;
    });
    bed.spawn(7, |spec| {
        with(OnScopeClose::Transfer(scope("t")))(spec);
        spec.name = Some(name("ann"));
    });
    bed.spawn(8, |spec| {
        spec.name = Some(name("ann"));
        spec.scope = scope("t");
    });

    assert_eq!(close(&mut bed, false), None);
    bed.end(3, done());
    bed.end(2, End::Aborted);
    let effects = bed.pass(SECOND);

    let replies = answers(&effects);
    let [(_, Reply::Controlled(Controlled::Closed(Ok(report))))] = &replies[..] else {
        panic!("{replies:?}");
    };
    let to = scope("t");
    let wanted = CloseReport {
        kept: vec![id(1)],
        revoked: vec![],
        orphaned: vec![id(7), id(1)],
        cancelled: vec![id(3), id(2)],
        ended: vec![],
        transferred: vec![(id(4), to.clone()), (id(5), to)],
        refused: vec![(id(7), TransferRefusal::NameTaken(name("ann"), id(8)))],
        abandoned: vec![id(6)],
    };
    assert_eq!(**report, wanted);
    assert_eq!(
        (bed.state(1), bed.state(7)),
        (State::Running, State::Running)
    );
}

#[test]
fn closed_scope_takes_tasks_of_its_bodies_only_until_it_is_opened() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    assert!(matches!(close(&mut bed, false), Some(Ok(report)) if report.kept == [id(1)]));

    assert!(!is_taken(&mut bed, 2));
    let (ticket, by) = (bed.ticket(), Some((id(1), bed.epoch(1))));
    let mut spec = Spec::new(scope("s"));
    spec.parent = Some(id(1));
    let spec = spec.into();
    bed.step(Input::Spawn {
        ticket,
        id: id(3),
        spec,
        by,
        reuse: crate::kernel::Reuse::default(),
    });
    assert_eq!(bed.state(3), State::Running);
    let moved = ask(
        &mut bed,
        Control::Transfer {
            ids: vec![id(1)],
            to: scope("s"),
        },
    );
    assert!(matches!(moved.0, Some(Controlled::Transferred(Ok(_)))));

    assert_eq!(
        ask(&mut bed, Control::Reopen(scope("s"))).0,
        Some(Controlled::Reopened(true))
    );
    assert!(is_taken(&mut bed, 4));
    assert_eq!(
        ask(&mut bed, Control::Reopen(scope("s"))).0,
        Some(Controlled::Reopened(false))
    );
}

#[test]
fn nothing_is_moved_into_a_closed_scope() {
    let mut bed = Bed::new(Bounds {
        closed_scopes: [scope("s")].into(),
        ..Bounds::default()
    });
    bed.spawn(1, |spec| spec.scope = scope("t"));

    let moved = ask(
        &mut bed,
        Control::Transfer {
            ids: vec![id(1)],
            to: scope("s"),
        },
    );

    let refused = TransferRefusal::ScopeClosed(scope("s"));
    assert_eq!(moved.0, Some(Controlled::Transferred(Err(refused))));
    assert!(!is_taken(&mut bed, 2));
}

#[test]
fn guard_keeps_a_scope_open_in_which_tasks_live() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, below(1));

    assert_eq!(close(&mut bed, true), Some(Err(CloseRefusal::Active(2))));
    assert!(is_taken(&mut bed, 3));
    for number in [2, 1, 3] {
        bed.end(number, done());
    }
    assert_eq!(close(&mut bed, true), Some(Ok(CloseReport::default())));
    assert!(!is_taken(&mut bed, 4));
}

#[test]
fn closed_scope_keeps_what_was_to_go_to_it_and_says_so_of_all_below() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, with(OnScopeClose::Transfer(scope("s"))));
    bed.spawn(2, below(1));
    bed.spawn(3, |spec| {
        below(1)(spec);
        with(OnScopeClose::Cancel)(spec);
    });

    assert_eq!(close(&mut bed, false), None);
    let effects = bed.end(3, End::Aborted);

    let replies = answers(&effects);
    let [(_, Reply::Controlled(Controlled::Closed(Ok(report))))] = &replies[..] else {
        panic!("{replies:?}");
    };
    let wanted = CloseReport {
        kept: vec![id(2)],
        cancelled: vec![id(3)],
        refused: vec![(id(1), TransferRefusal::ScopeClosed(scope("s")))],
        orphaned: vec![id(1)],
        ..CloseReport::default()
    };
    assert_eq!(**report, wanted);
}
