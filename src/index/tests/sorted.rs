//! Random keys and states, in runs of a few and in those of the library, beside a plain map.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::super::page::Direction;
use super::super::sorted::{RUN, Range, Sorted, States};
use crate::kernel::{Filter, State};

type Model = BTreeMap<u16, State>;

#[derive(Clone, Copy, Debug)]
enum Act {
    Put(u16, usize),
    /// So many keys from this one on, each above the one before.
    Row(u16, u16, usize),
    Remove(u16),
    /// All keys of a row but every so manyth one.
    Thin(u16, u16, u16),
}

fn act() -> impl Strategy<Value = Act> {
    let state = || 0..State::ALL.len();
    let put = (0..600_u16, state());
    let row = (0..400_u16, 0..200_u16, state());
    let thin = (0..400_u16, 0..300_u16, 1..40_u16);
    prop_oneof![
        6 => put.prop_map(|(key, state)| Act::Put(key, state)),
        2 => row.prop_map(|(from, len, state)| Act::Row(from, len, state)),
        4 => (0..600_u16).prop_map(Act::Remove),
        1 => thin.prop_map(|(from, len, rest)| Act::Thin(from, len, rest)),
    ]
}

fn play<const MAX: usize>(sorted: &mut Sorted<u16, MAX>, model: &mut Model, act: Act) {
    let mut put = |key, state: usize| {
        sorted.put(key, State::ALL[state]);
        model.insert(key, State::ALL[state]);
    };
    match act {
        Act::Put(key, state) => put(key, state),
        Act::Row(from, len, state) => (from..from + len).for_each(|key| put(key, state)),
        Act::Remove(key) => {
            sorted.remove(&key);
            model.remove(&key);
        }
        Act::Thin(from, len, rest) => {
            for key in (from..from + len).filter(|key| key % rest != 0) {
                sorted.remove(&key);
                model.remove(&key);
            }
        }
    }
}

/// What the map has in the range, in these states.
fn wanted(model: &Model, (from, to): Range<u16>, filter: &Filter) -> Vec<u16> {
    let is_in = |key: &u16| {
        let is_after = match from {
            Bound::Unbounded => true,
            Bound::Included(first) => first <= *key,
            Bound::Excluded(before) => before < *key,
        };
        is_after
            && match to {
                Bound::Unbounded => true,
                Bound::Included(last) => *key <= last,
                Bound::Excluded(after) => *key < after,
            }
    };
    let entries = model.iter().filter(|(key, _)| is_in(key));
    let entries = entries.filter(|(_, state)| filter.wants(**state));
    entries.map(|(key, _)| *key).collect()
}

fn compare<const MAX: usize>(
    sorted: &Sorted<u16, MAX>,
    model: &Model,
    (range, filter, max): (Range<u16>, &Filter, usize),
) -> Result<(), TestCaseError> {
    let states = States::of(filter);
    sorted.audit().map_err(TestCaseError::fail)?;
    let all = (Bound::Unbounded, Bound::Unbounded);
    prop_assert_eq!(sorted.is_empty(), model.is_empty());
    prop_assert_eq!(sorted.len(states), wanted(model, all, filter).len());

    let mut keys = wanted(model, range, filter);
    prop_assert_eq!(sorted.count(states, range), keys.len());
    let oldest = sorted.part(states, range, Direction::OldestFirst, max);
    prop_assert_eq!(oldest, &keys[..max.min(keys.len())]);
    keys.reverse();
    let newest = sorted.part(states, range, Direction::NewestFirst, max);
    prop_assert_eq!(newest, &keys[..max.min(keys.len())]);
    Ok(())
}

fn bound() -> impl Strategy<Value = Bound<u16>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..600_u16).prop_map(Bound::Included),
        (0..600_u16).prop_map(Bound::Excluded),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let states = prop::collection::vec(0..State::ALL.len(), 0..4);
    states.prop_map(|states| {
        let all = states.into_iter().map(|state| State::ALL[state]);
        all.fold(Filter::all(), Filter::state)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sorted_keys_read_like_a_plain_map(
        acts in prop::collection::vec(act(), 1..60),
        range in (bound(), bound()),
        filter in filter(),
        max in 0..300_usize,
    ) {
        let (mut short, mut long) = (Sorted::<u16, 4>::default(), Sorted::<u16, 128>::default());
        let (mut model, mut same) = (Model::new(), Model::new());
        for act in acts {
            play(&mut short, &mut model, act);
            compare(&short, &model, (range, &filter, max))?;
            play(&mut long, &mut same, act);
            compare(&long, &model, (range, &filter, max))?;
        }
    }
}

#[test]
fn keys_that_come_in_their_order_fill_their_runs() {
    let mut sorted = Sorted::<u16, RUN>::default();
    let keys = u16::try_from(RUN * 10).expect("it is small");
    for key in 0..keys {
        sorted.put(key, State::Running);
    }
    assert_eq!(sorted.runs(), 10);
}
