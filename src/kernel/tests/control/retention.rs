//! How long settled records are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::bed::{Bed, SECOND, answers, done, fault, id, key, scope};
use crate::kernel::{
    Bounds, Control, Controlled, Epoch, FaultKind, Input, Removed, Reply, Reuse, Seq, Spec, State,
    StopPolicy, Supervisor, Ticket, Timestamp,
};

fn bed(kept: &[(State, Duration)]) -> Bed {
    Bed::new(Bounds {
        retain: kept.iter().copied().collect(),
        ..Bounds::default()
    })
}

fn is_kept(bed: &Bed, number: u32) -> bool {
    bed.records.contains_key(&id(number))
}

fn removed(bed: &mut Bed, ask: Control) -> Removed {
    let ticket = bed.ticket();
    let effects = bed.step(Input::Control { ticket, ask });
    let [(_, Reply::Controlled(Controlled::Removed(removed)))] = &answers(&effects)[..] else {
        panic!("{effects:?}");
    };
    removed.clone()
}

#[test]
fn records_go_when_the_time_of_their_outcome_is_over() {
    let mut bed = bed(&[(State::Completed, SECOND), (State::Failed, 3 * SECOND)]);
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.spawn(3, |_| {});
    bed.end(1, done());
    bed.end(2, fault(FaultKind::Error));
    bed.cancel_one(3);
    bed.end(3, crate::kernel::End::Aborted);
    assert_eq!(bed.kernel.next_tick(), Some(bed.now.after(SECOND)));

    bed.pass(SECOND);
    assert_eq!(
        [1, 2, 3].map(|number| is_kept(&bed, number)),
        [false, true, true]
    );
    bed.pass(2 * SECOND);
    assert_eq!([2, 3].map(|number| is_kept(&bed, number)), [false, true]);
    assert_eq!(bed.kernel.next_tick(), None);
}

#[test]
fn many_records_go_in_small_batches_and_none_stays() {
    let mut bed = bed(&[(State::Completed, SECOND)]);
    for number in 1..=600 {
        bed.spawn(number, |_| {});
        bed.end(number, done());
    }

    bed.pass(SECOND);
    let left = bed.records.len();
    assert_eq!(left, 600 - 256);
    let counts = removed(&mut bed, Control::Sweep);
    assert_eq!(counts, BTreeMap::from([(State::Completed, 256)]));
    bed.pass(Duration::ZERO);
    assert!(bed.records.is_empty());
    assert!(removed(&mut bed, Control::Sweep).is_empty());
}

#[test]
fn time_of_a_record_goes_on_after_a_crash() {
    let mut bed = bed(&[(State::Completed, 2 * SECOND)]);
    bed.spawn(1, |_| {});
    bed.end(1, done());
    bed.pass(SECOND);

    bed.crash();
    bed.pass(SECOND);

    assert!(!is_kept(&bed, 1));
}

#[test]
fn abandoned_body_holds_its_record_until_it_has_stopped() {
    let mut bed = bed(&[(State::Cancelled, Duration::ZERO)]);
    bed.spawn(1, |spec| spec.stop_policy = StopPolicy::Cooperative);
    bed.cancel_one(1);
    bed.pass(Duration::from_mins(1));
    bed.pass(SECOND);
    assert!(is_kept(&bed, 1));
    let chosen = bed.chosen(1);
    assert!(removed(&mut bed, Control::Remove(vec![chosen])).is_empty());

    bed.end(1, done());
    bed.pass(Duration::ZERO);

    assert!(!is_kept(&bed, 1));
}

#[test]
fn host_removes_what_is_settled_and_nothing_else() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.key = Some(key("k")));
    bed.spawn(2, |_| {});
    bed.end(1, done());

    let chosen = vec![bed.chosen(1), bed.chosen(2), (id(9), Seq(1))];
    let counts = removed(&mut bed, Control::Remove(chosen));

    assert_eq!(counts, BTreeMap::from([(State::Completed, 1)]));
    assert_eq!((is_kept(&bed, 1), is_kept(&bed, 2)), (false, true));
    // Its key is free.
    bed.spawn(3, |spec| spec.key = Some(key("k")));
    assert_eq!(bed.state(3), State::Running);
}

#[test]
fn next_life_of_an_id_is_not_removed_in_the_place_of_the_one_that_was_chosen() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.end(1, done());
    let chosen = bed.chosen(1);
    bed.reuse(1);
    bed.end(1, done());

    assert!(removed(&mut bed, Control::Remove(vec![chosen])).is_empty());
    assert!(is_kept(&bed, 1));
}

#[test]
fn removed_id_that_is_used_again_has_one_place_among_the_settled() {
    let mut kernel = Supervisor::new(Bounds::default(), 1);
    for _ in 0..3 {
        let (ticket, id, epoch) = (Ticket(1), id(1), Epoch(1));
        let now = Timestamp::from_micros(1);
        let lives = [
            Input::Spawn {
                ticket,
                id,
                spec: Spec::new(scope("s")).into(),
                by: None,
                reuse: Reuse::default(),
            },
            Input::Report {
                id,
                epoch,
                end: done(),
                undelivered: 0,
            },
        ];
        let mut newest = Seq(0);
        for input in lives {
            let step = kernel.step(now, input);
            newest = step.records.last().expect("it changed").seq;
            kernel.audit().expect("one place for each settled task");
        }
        let ask = Control::Remove(vec![(id, newest)]);
        let step = kernel.step(now, Input::Control { ticket, ask });
        assert_eq!(step.removed, [id]);
        kernel.audit().expect("one place for each settled task");
    }
}

#[test]
fn p18_record_is_kept_for_its_time_at_most_after_the_clock_went_back() {
    let mut bed = bed(&[(State::Completed, 10 * SECOND)]);
    bed.now = bed.now.after(Duration::from_hours(24));
    bed.spawn(1, |_| {});
    bed.spawn(2, |_| {});
    bed.end(1, done());
    bed.end(2, done());

    bed.now = Timestamp::from_micros(5);
    bed.crash();
    // Its next life ends when the clock is still behind the first one.
    bed.reuse(2);
    bed.end(2, done());
    bed.pass(SECOND);
    bed.crash();

    bed.pass(Duration::from_micros(9_999_999));
    assert!(is_kept(&bed, 1));
    bed.pass(Duration::from_micros(1));
    assert_eq!((is_kept(&bed, 1), is_kept(&bed, 2)), (false, false));
    assert_eq!(bed.kernel.next_tick(), None);
}
