//! Tasks that are moved to another scope.

use super::super::bed::{Bed, answers, done, id, key, name, scope, starts};
use crate::kernel::{
    Bounds, Class, Control, Controlled, Effect, End, Input, OnParentEnd, Refusal, Reply, Reuse,
    Spec, State, Supervisor, Target, Ticket, Timestamp, TransferRefusal, TransferReport,
    Visibility, Wait, WhenFull,
};

pub(super) fn ask(bed: &mut Bed, ask: Control) -> (Option<Controlled>, Vec<Effect>) {
    let ticket = bed.ticket();
    let effects = bed.step(Input::Control { ticket, ask });
    let replies = answers(&effects);
    let answer = replies.into_iter().find(|(of, _)| *of == ticket);
    let answer = answer.map(|(_, reply)| {
        let Reply::Controlled(answer) = reply else {
            panic!("{reply:?}");
        };
        answer
    });
    (answer, effects)
}

fn transfer(bed: &mut Bed, numbers: &[u32], to: &str) -> Result<TransferReport, TransferRefusal> {
    let (ids, to) = (
        numbers.iter().map(|number| id(*number)).collect(),
        scope(to),
    );
    match ask(bed, Control::Transfer { ids, to }) {
        (Some(Controlled::Transferred(done)), _) => done.map(|report| *report),
        other => panic!("{other:?}"),
    }
}

fn moved(bed: &mut Bed, numbers: &[u32], to: &str) -> Vec<u32> {
    let report = transfer(bed, numbers, to).expect("they can be moved");
    let number = |id: &crate::kernel::TaskId| u32::try_from(id.as_u128()).expect("a small id");
    report.moved.iter().map(number).collect()
}

fn in_scope(bed: &Bed, number: u32) -> &str {
    bed.record(number).spec.scope.as_str()
}

fn below(parent: u32) -> impl Fn(&mut Spec) {
    move |spec| spec.parent = Some(id(parent))
}

fn named(text: &'static str) -> impl Fn(&mut Spec) {
    move |spec| spec.name = Some(name(text))
}

fn limits(of: &[(&str, Class)]) -> Bed {
    let scopes = of.iter().map(|(text, class)| (scope(text), *class));
    Bed::new(Bounds {
        scopes: scopes.collect(),
        ..Bounds::default()
    })
}

#[test]
fn moved_task_takes_everything_below_it_along_and_ends_where_it_is() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, named("lead"));
    bed.spawn(2, below(1));
    bed.spawn(3, below(2));

    assert_eq!(moved(&mut bed, &[1], "t"), [1, 2, 3]);
    bed.say(3, "1");
    for number in [3, 2, 1] {
        bed.end(number, done());
        assert_eq!(in_scope(&bed, number), "t");
        assert_eq!(bed.state(number), State::Completed);
        assert!(bed.told(number).contains(&"transferred"));
    }
    let scopes = bed.events.iter().rev().take(5);
    assert!(
        scopes
            .into_iter()
            .all(|event| event.spec.scope == scope("t"))
    );
}

#[test]
fn task_can_be_moved_while_it_waits_stops_or_is_suspended() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.park(1, 1, Some(Wait::Parked));
    bed.spawn(2, |_| {});
    bed.cancel_one(2);
    bed.spawn(3, |_| {});
    bed.end(3, End::Suspended(super::super::bed::json("1")));
    bed.spawn(4, |spec| spec.after = vec![id(1)]);

    assert_eq!(moved(&mut bed, &[1, 2, 3, 4], "t"), [1, 2, 3, 4]);

    bed.park(1, 2, None);
    bed.end(1, done());
    bed.end(2, End::Aborted);
    bed.resume(3, "2");
    let states = [1, 2, 3, 4].map(|number| bed.state(number));
    let (running, cancelled) = (State::Running, State::Cancelled);
    assert_eq!(states, [State::Completed, cancelled, running, running]);
}

#[test]
fn one_name_that_is_taken_there_keeps_all_where_they_are() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, named("ann"));
    bed.spawn(2, named("bob"));
    bed.spawn(3, |spec| {
        named("bob")(spec);
        spec.scope = scope("t");
    });
    let seq = bed.kernel.seq();

    let refused = transfer(&mut bed, &[1, 2], "t");

    assert_eq!(refused, Err(TransferRefusal::NameTaken(name("bob"), id(3))));
    assert_eq!((bed.kernel.seq(), in_scope(&bed, 1)), (seq, "s"));
    // Two of one name cannot both go to a third scope.
    let refused = transfer(&mut bed, &[2, 3], "u");
    assert_eq!(refused, Err(TransferRefusal::NameTaken(name("bob"), id(3))));
}

#[test]
fn name_and_key_are_free_where_the_task_was_and_held_where_it_is() {
    let mut bed = Bed::new(Bounds::default());
    let keyed = |spec: &mut Spec| {
        named("ann")(spec);
        spec.key = Some(key("k"));
    };
    bed.spawn(1, keyed);
    moved(&mut bed, &[1], "t");

    bed.spawn(2, keyed);
    assert_eq!(bed.state(2), State::Running);
    let again = bed.spawn(3, |spec| {
        keyed(spec);
        spec.scope = scope("t");
    });
    let same = Reply::Spawned(Ok(crate::kernel::Accepted::Existing(id(1))));
    assert_eq!(format!("{:?}", answers(&again)[0].1), format!("{same:?}"));
    assert_eq!(
        transfer(&mut bed, &[2], "t"),
        Err(TransferRefusal::NameTaken(name("ann"), id(1)))
    );
}

#[test]
fn key_that_is_bound_there_refuses() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.key = Some(key("k")));
    bed.spawn(2, |spec| {
        spec.key = Some(key("k"));
        spec.scope = scope("t");
    });
    bed.end(2, done());

    assert_eq!(
        transfer(&mut bed, &[1], "t"),
        Err(TransferRefusal::KeyTaken(id(2)))
    );
}

#[test]
fn unknown_ended_and_present_tasks_are_listed_and_stop_nothing() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.end(2, done());
    bed.spawn(3, |spec| spec.scope = scope("t"));

    let report = transfer(&mut bed, &[1, 1, 2, 3, 9], "t").expect("they can be moved");

    assert_eq!(report.moved, [id(1)]);
    assert_eq!(report.ended, [id(2)]);
    assert_eq!(report.already_there, [id(3)]);
    assert_eq!(report.unknown, [id(9)]);
    let seq = bed.kernel.seq();
    assert!(
        transfer(&mut bed, &[1, 3], "t")
            .expect("a no-op")
            .moved
            .is_empty()
    );
    assert_eq!(bed.kernel.seq(), seq);
}

#[test]
fn child_moves_with_its_parent_and_never_alone() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, below(1));

    let alone = transfer(&mut bed, &[2], "t");
    assert_eq!(alone, Err(TransferRefusal::BelowAnother(id(2), id(1))));
    assert_eq!(moved(&mut bed, &[2, 1], "t"), [1, 2]);
}

#[test]
fn running_task_changes_its_slot_and_lets_the_next_one_run() {
    let mut bed = limits(&[("s", Class::queue(1)), ("t", Class::queue(1))]);
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.spawn(3, |spec| spec.scope = scope("t"));

    let (_, effects) = ask(
        &mut bed,
        Control::Transfer {
            ids: vec![id(1)],
            to: scope("t"),
        },
    );

    assert_eq!(starts(&effects), [id(2)]);
    bed.spawn(4, |spec| spec.scope = scope("t"));
    bed.end(3, done());
    // Two ran in `t`; there is room only when both have ended.
    assert_eq!(bed.state(4), State::Pending);
    assert_eq!(starts(&bed.end(1, done())), [id(4)]);
}

#[test]
fn waiting_task_is_asked_about_again_in_its_new_scope() {
    let mut bed = limits(&[("s", Class::queue(1)), ("u", Class::queue(1))]);
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.spawn(3, |_| {});
    bed.spawn(4, |spec| spec.scope = scope("u"));

    moved(&mut bed, &[2], "t");
    moved(&mut bed, &[3], "u");

    assert_eq!(
        (bed.state(2), bed.state(3)),
        (State::Running, State::Pending)
    );
    assert_eq!(starts(&bed.end(4, done())), [id(3)]);
}

#[test]
fn scope_that_is_full_and_refuses_takes_no_running_task() {
    let two = WhenFull::Queue { waiting_max: 0 };
    let one = Class {
        size: 1,
        when_full: two,
    };
    let mut bed = limits(&[("s", Class::queue(1)), ("t", Class::refuse(1)), ("u", one)]);
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.spawn(3, |spec| spec.scope = scope("t"));

    let refused = transfer(&mut bed, &[1], "t");
    assert!(matches!(refused, Err(TransferRefusal::LimitReached(full)) if full.in_use == 1));
    // A queue that takes nobody refuses who waits.
    let refused = transfer(&mut bed, &[2], "u");
    assert!(matches!(refused, Err(TransferRefusal::LimitReached(_))));
    bed.end(3, done());
    assert_eq!(moved(&mut bed, &[1], "t"), [1]);
}

#[test]
fn scope_cancel_and_crash_know_the_new_scope() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        named("ann")(spec);
        spec.retry = crate::kernel::Retry::fixed(3, std::time::Duration::ZERO);
    });
    moved(&mut bed, &[1], "t");

    bed.crash();
    assert_eq!(in_scope(&bed, 1), "t");
    bed.cancel(Target::Scope(scope("s")), None);
    assert!(bed.record(1).stop.is_none());
    bed.cancel(Target::Scope(scope("t")), None);
    assert!(bed.record(1).stop.is_some());
}

#[test]
fn child_that_was_asked_for_before_the_move_is_taken_after_it() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    moved(&mut bed, &[1], "t");
    let mut spec = Spec::new(scope("s"));
    spec.parent = Some(id(1));
    spec.on_parent_end = Some(OnParentEnd::Wait);

    let (ticket, by) = (bed.ticket(), Some((id(1), bed.epoch(1))));
    bed.step(Input::Spawn {
        ticket,
        id: id(2),
        spec: spec.clone().into(),
        by,
        reuse: crate::kernel::Reuse::default(),
    });

    assert_eq!(in_scope(&bed, 2), "t");
    // The host, who names the scope, is told that it is the wrong one.
    let effects = bed.spawn(3, |asked| *asked = spec.clone());
    let refused = Refusal::ParentElsewhere(id(1), scope("t"));
    assert!(matches!(&answers(&effects)[..], [(_, Reply::Spawned(Err(why)))] if *why == refused));
}

#[test]
fn hidden_task_needs_no_room_where_it_is_moved_to() {
    let scopes = [(scope("t"), Class::refuse(1))].into_iter().collect();
    // Without the checks of a bed, which know of no hidden tasks at limits.
    let mut kernel = Supervisor::new(
        Bounds {
            scopes,
            ..Bounds::default()
        },
        1,
    );
    let now = Timestamp::from_micros(1);
    for (number, text, visibility) in [(1, "s", Visibility::Hidden), (2, "t", Visibility::Shown)] {
        let mut spec = Spec::new(scope(text));
        spec.visibility = visibility;
        let (ticket, spec) = (Ticket(u64::from(number)), spec.into());
        let _step = kernel.step(
            now,
            Input::Spawn {
                ticket,
                id: id(number),
                spec,
                by: None,
                reuse: Reuse::Refused,
            },
        );
    }

    let (ticket, ids, to) = (Ticket(3), vec![id(1)], scope("t"));
    let ask = Control::Transfer { ids, to };
    let step = kernel.step(now, Input::Control { ticket, ask });

    let answers = answers(&step.effects);
    let [(_, Reply::Controlled(Controlled::Transferred(told)))] = &answers[..] else {
        panic!("{answers:?}");
    };
    let moved = told.as_ref().map(|report| report.moved.clone());
    assert_eq!(moved, Ok(vec![id(1)]));
}

#[test]
fn task_above_a_full_inline_limit_needs_room_where_it_is_moved_to() {
    let mut bed = limits(&[("s", Class::inline(1)), ("t", Class::refuse(1))]);
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.spawn(3, |spec| spec.scope = scope("t"));
    assert!(bed.record(2).inline);

    let refused = transfer(&mut bed, &[2], "t");

    assert!(matches!(refused, Err(TransferRefusal::LimitReached(full)) if full.in_use == 1));
    bed.end(3, done());
    assert_eq!(moved(&mut bed, &[2], "t"), [2]);
}
