//! The suite that every store passes, for those who write one.
//!
//! A suite is run on fresh places. A place is anything that outlives a store: a file, a server, or
//! the store itself. Each call of the opener that [`exercise`] gets for a place opens it once more,
//! after the store that was opened before has been dropped.
//!
//! *Not here*: crash images and full disks, which only a store with a file can have.

mod leases;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Batch, EVENTS_PAGE_MAX, Loaded, Store, StoreError};
use crate::kernel::{Body, Outcome, Payload, Record, Scope, Seq, State, TaskId};
use crate::sample;
use place::{Open, Place};

/// How many records and events the big batches have.
const BIG: u64 = 10_000;

/// Proves that the stores of a kind keep the contract of [`Store`].
///
/// `fresh` makes an empty place and returns its opener. The place has to keep at least 10,000
/// events.
///
/// # Panics
/// When a store breaks the contract, with the law that it breaks.
pub fn exercise<F, O>(fresh: F)
where
    F: Fn() -> O,
    O: Fn() -> Arc<dyn Store>,
{
    new_place_is_empty(&fresh());
    reopened_place_gives_back_what_was_committed(&fresh());
    later_record_and_removal_win(&fresh());
    refused_batch_leaves_no_trace(&fresh());
    log_has_no_gap_and_no_repetition(&fresh());
    settled_record_keeps_its_end(&fresh());
    settled_record_keeps_its_end_within_a_batch(&fresh());
    facts_beside_a_settled_state_may_change(&fresh());
    events_come_in_pages(&fresh());
    big_batches_are_kept_whole(&fresh());
    compacting_changes_nothing(&fresh(), &fresh());
    closed_scopes_are_those_of_the_newest_batch(&fresh());
    leases::exercise(&fresh);
}

fn new_place_is_empty(open: Open<'_>) {
    let place = Place::new(open);

    assert_eq!(place.everything(), (Loaded::default(), vec![]));
    let committed = place.store().commit(&Batch::default());
    committed.expect("an empty batch is a valid one");
    assert_eq!(place.everything(), (Loaded::default(), vec![]));
}

fn reopened_place_gives_back_what_was_committed(open: Open<'_>) {
    let mut place = Place::new(open);
    let mut states: Vec<_> = (1..).zip(State::ALL).collect();
    states.reverse();
    let mut events = place.change(&states).events;
    events.extend(place.change(&[(77, State::Pending)]).events);
    let before = place.everything();

    place.reopen();

    assert_eq!(place.everything(), before);
    let (loaded, log) = before;
    assert_eq!((loaded.seq, log), (Seq(11), events));
    let found: Vec<_> = loaded.records.iter().map(|r| (r.id, r.state)).collect();
    let in_order = (1..).zip(State::ALL).chain([(77, State::Pending)]);
    let wanted: Vec<_> = in_order.map(|(n, state)| (sample::id(n), state)).collect();
    assert_eq!(found, wanted, "records come whole, in the order of ids");
}

fn later_record_and_removal_win(open: Open<'_>) {
    let mut place = Place::new(open);
    place.change(&[(1, State::Pending), (2, State::Failed), (3, State::Failed)]);

    let mut batch = place.batch(&[
        (1, State::Running),
        (1, State::Completed),
        (2, State::Failed),
        (4, State::Cancelled),
    ]);
    batch.removed = [2, 3, 4, 5].map(sample::id).to_vec();
    place.commit(&batch);
    place.reopen();

    let loaded = place.loaded();
    assert_eq!(loaded.records, [Arc::clone(&batch.records[1])]);
    assert_eq!(loaded.seq, Seq(7));
}

fn refused_batch_leaves_no_trace(open: Open<'_>) {
    let mut place = Place::new(open);
    place.change(&[(1, State::Running), (2, State::Completed)]);

    let mut late = place.batch(&[(1, State::Failed), (3, State::Pending), (2, State::Failed)]);
    late.removed = vec![sample::id(1)];
    let error = place.refuse(&late);
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");

    let mut skipping = place.batch(&[(1, State::Failed), (3, State::Pending), (4, State::Pending)]);
    skipping.events.remove(1);
    let error = place.refuse(&skipping);
    assert!(matches!(error, StoreError::OutOfOrder { .. }), "{error:?}");

    place.change(&[(1, State::Failed)]);
    assert_eq!(place.loaded().seq, Seq(3));
}

fn log_has_no_gap_and_no_repetition(open: Open<'_>) {
    let mut place = Place::new(open);
    let first = place.change(&[(1, State::Pending), (1, State::Running)]);

    let mut ahead = place.batch(&[(2, State::Pending), (3, State::Pending)]);
    ahead.events.remove(0);
    let mut backward = place.batch(&[(2, State::Pending), (3, State::Pending)]);
    backward.events.reverse();
    for (batch, wrong) in [(&first, 1), (&ahead, 4), (&backward, 4)] {
        let error = place.refuse(batch);
        let StoreError::OutOfOrder { newest, found } = error else {
            panic!("the order is wrong, but the store says {error:?}");
        };
        assert_eq!((newest, found), (Seq(2), Seq(wrong)));
    }

    let mut silent = place.batch(&[(2, State::Pending)]);
    silent.events.clear();
    // Its last event is one that the store has.
    let mut record = Record::clone(&silent.records[0]);
    record.seq = Seq(2);
    silent.records = vec![Arc::new(record)];
    place.commit(&silent);
    assert_eq!(place.loaded().seq, Seq(2), "records alone move no number");
}

fn settled_record_keeps_its_end(open: Open<'_>) {
    let mut place = Place::new(open);
    let settled: Vec<_> = (1..)
        .zip(State::ALL.into_iter().filter(|state| state.is_terminal()))
        .collect();
    place.change(&settled);

    for (task, kept_state) in settled {
        for state in State::ALL.into_iter().filter(|state| *state != kept_state) {
            let error = place.refuse(&place.batch(&[(task, state)]));
            let StoreError::Conflict {
                task: id,
                kept,
                refused,
            } = error
            else {
                panic!("a settled task was to change, but the store says {error:?}");
            };
            assert_eq!((id, kept, refused), (sample::id(task), kept_state, state));
        }
    }

    let mut other_value = place.batch(&[(1, State::Completed)]);
    let mut record = Record::clone(&other_value.records[0]);
    let value = Payload::from_json("8");
    record.outcome = Some(Arc::new(Outcome::Completed(value)));
    other_value.records = vec![Arc::new(record)];
    let error = place.refuse(&other_value);
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

fn settled_record_keeps_its_end_within_a_batch(open: Open<'_>) {
    let mut place = Place::new(open);
    place.change(&[(1, State::Running)]);

    for second in [State::Failed, State::Running] {
        let error = place.refuse(&place.batch(&[(1, State::Completed), (1, second)]));
        assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    }
}

fn facts_beside_a_settled_state_may_change(open: Open<'_>) {
    let mut place = Place::new(open);
    let mut abandon = place.batch(&[(1, State::Cancelled)]);
    let mut record = Record::clone(&abandon.records[0]);
    record.body = Body::Live;
    abandon.records = vec![Arc::new(record)];
    place.commit(&abandon);

    let stopped = place.change(&[(1, State::Cancelled)]);
    place.reopen();

    assert_eq!(place.loaded().records, stopped.records);
}

fn events_come_in_pages(open: Open<'_>) {
    let mut place = Place::new(open);
    let count = EVENTS_PAGE_MAX + 2;
    let log = place.change(&vec![(1, State::Running); count]).events;

    let number = |len: usize| u64::try_from(len).expect("it fits");
    for (after, limit) in [(0, 0), (0, 1), (0, 3), (2, 3), (count - 2, 3), (count, 3)] {
        let end = (after + limit).min(count);
        assert_eq!(place.events(number(after), limit), log[after..end]);
    }
    for limit in [EVENTS_PAGE_MAX - 1, EVENTS_PAGE_MAX, EVENTS_PAGE_MAX + 1] {
        let page = place.events(0, limit);
        assert_eq!(page, log[..limit.min(EVENTS_PAGE_MAX)]);
    }
    assert_eq!(place.events(number(count) + 5, 3), []);
    assert_eq!(place.events(u64::MAX, 3), []);
}

fn big_batches_are_kept_whole(open: Open<'_>) {
    let mut place = Place::new(open);
    let tasks = 1..=u128::from(BIG);
    let pending: Vec<_> = tasks.clone().map(|task| (task, State::Pending)).collect();
    let ended: Vec<_> = tasks.map(|task| (task, State::Completed)).collect();
    place.change(&pending);
    let last = place.change(&ended);
    place.reopen();

    let loaded = place.loaded();
    assert_eq!(loaded.seq, Seq(2 * BIG));
    assert_eq!(loaded.records, last.records);
    assert_eq!(
        place.events(2 * BIG - 1, 10),
        last.events[last.events.len() - 1..]
    );

    let removed: Vec<TaskId> = loaded.records.iter().map(|record| record.id).collect();
    place.commit(&Batch {
        removed,
        ..Batch::default()
    });
    assert_eq!(place.loaded().records, []);
}

fn compacting_changes_nothing(open: Open<'_>, open_other: Open<'_>) {
    let (mut plain, mut compacted) = (Place::new(open), Place::new(open_other));
    let mut batch = plain.batch(&[
        (2, State::Pending),
        (1, State::Pending),
        (2, State::Running),
        (3, State::Running),
        (2, State::Failed),
    ]);
    batch.removed = vec![sample::id(3)];
    plain.commit(&batch);
    batch.compact();
    compacted.commit(&batch);

    assert_eq!(compacted.everything(), plain.everything());
    let kept: BTreeMap<_, _> = batch.records.iter().map(|r| (r.id, r.state)).collect();
    assert_eq!(batch.records.len(), kept.len(), "one of each task");
    let wanted = [(1, State::Pending), (2, State::Failed), (3, State::Running)];
    assert_eq!(kept, wanted.map(|(n, state)| (sample::id(n), state)).into());
}

fn closed_scopes_are_those_of_the_newest_batch(open: Open<'_>) {
    let mut place = Place::new(open);
    let scope = |name: &str| Scope::new(name).expect("it is a valid one");
    let closing = |names: &[&str]| Batch {
        closed: Some(names.iter().map(|name| scope(name)).collect()),
        ..Batch::default()
    };
    let mut both = closing(&["a", "b"]);
    both.absorb(closing(&["b", "c"]));
    assert!(!both.is_empty());
    both.absorb(place.batch(&[(1, State::Pending)]));
    place.commit(&both);
    place.change(&[(1, State::Running)]);
    place.reopen();

    let closed: Vec<_> = place.loaded().closed.into_iter().collect();
    assert_eq!(closed, [scope("b"), scope("c")]);

    place.commit(&closing(&[]));
    place.reopen();
    assert!(place.loaded().closed.is_empty());
}
