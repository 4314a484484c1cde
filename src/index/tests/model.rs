//! Random lives of tasks, read through the index and through a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::super::*;
use super::{numbers, scope, spec};
use crate::kernel::{Body, Name, Spec, State};
use crate::sample;

type Model = BTreeMap<TaskId, Arc<Record>>;

const SCOPES: [&str; 2] = ["one", "two"];
const NAMES: [Option<&str>; 3] = [None, Some("a"), Some("b")];

/// One change of one task.
#[derive(Clone, Copy, Debug)]
enum Act {
    New(usize, usize, Option<Pick>, usize),
    Change(Pick, usize),
    Abandon(Pick),
    Detach(Pick),
    /// To that scope.
    Move(Pick, usize),
    /// Another life of a task that has settled, in that scope and state.
    Again(Pick, usize, usize),
    Remove(Pick),
}

fn act() -> impl Strategy<Value = Act> {
    let new = (0..2_usize, 0..3_usize, any::<Option<Pick>>(), 0..10_usize);
    let again = (any::<Pick>(), 0..2_usize, 0..10_usize);
    prop_oneof![
        4 => new.prop_map(|(scope, name, parent, state)| Act::New(scope, name, parent, state)),
        4 => (any::<Pick>(), 0..10_usize).prop_map(|(task, state)| Act::Change(task, state)),
        1 => any::<Pick>().prop_map(Act::Abandon),
        1 => any::<Pick>().prop_map(Act::Detach),
        1 => (any::<Pick>(), 0..2_usize).prop_map(|(task, to)| Act::Move(task, to)),
        1 => again.prop_map(|(task, scope, state)| Act::Again(task, scope, state)),
        1 => any::<Pick>().prop_map(Act::Remove),
    ]
}

fn pick(model: &Model, which: Pick) -> Option<Arc<Record>> {
    let all: Vec<_> = model.values().cloned().collect();
    (!all.is_empty()).then(|| which.get(&all).clone())
}

fn holder(model: &Model, scope: &Scope, name: &str) -> Option<TaskId> {
    let holds = |record: &&Arc<Record>| {
        let named = record.spec.name.as_ref().map(Name::as_str);
        record.is_held() && record.scope() == scope && named == Some(name)
    };
    model.values().find(holds).map(|record| record.id)
}

/// The changed record, or the removed one.
fn decide(model: &Model, act: Act, seq: u64) -> Result<Option<Record>, TaskId> {
    let changed = |which, change: fn(&mut Record)| {
        pick(model, which).map(|record| {
            let mut record = Record::clone(&record);
            change(&mut record);
            record
        })
    };
    Ok(match act {
        Act::New(scope_at, name_at, parent, state) => {
            let owner = scope(SCOPES[scope_at]);
            let name = NAMES[name_at].filter(|name| holder(model, &owner, name).is_none());
            let parent = parent.and_then(|which| pick(model, which));
            let parent = parent.map(|record| record.id.as_u128());
            let spec = spec(SCOPES[scope_at], name, parent);
            let id = sample::id(u128::from(seq));
            Some(Record::clone(&sample::record(
                id,
                &spec,
                State::ALL[state],
                seq,
            )))
        }
        Act::Change(which, state) => pick(model, which).map(|old| {
            let mut new = sample::record(old.id, &old.spec, State::ALL[state], seq);
            // A settled task stays settled: all that can change is that its body stops.
            if old.state.is_terminal() {
                new = sample::record(old.id, &old.spec, old.state, seq);
            }
            Record::clone(&new)
        }),
        Act::Abandon(which) => changed(which, |record| {
            if !record.state.is_terminal() {
                record.state = State::Cancelled;
                record.body = Body::Live;
            }
        }),
        Act::Detach(which) => changed(which, |record| record.parent = None),
        Act::Move(which, to) => pick(model, which).map(|old| {
            let owner = scope(SCOPES[to]);
            let is_free = |name: &Name| {
                let holder = holder(model, &owner, name.as_str());
                holder.is_none_or(|holder| holder == old.id)
            };
            let mut spec = Spec::clone(&old.spec);
            spec.name = spec.name.filter(is_free);
            spec.scope = owner;
            let mut new = Record::clone(&old);
            new.spec = Arc::new(spec);
            new
        }),
        Act::Again(which, scope, state) => {
            let settled = pick(model, which).filter(|old| !old.is_held());
            settled.map(|old| {
                let spec = spec(SCOPES[scope], None, None);
                let new = sample::record(old.id, &spec, State::ALL[state], seq);
                let mut new = Record::clone(&new);
                new.incarnation = old.incarnation + 1;
                new
            })
        }
        Act::Remove(which) => match pick(model, which) {
            Some(record) => return Err(record.id),
            None => None,
        },
    })
}

fn filters(model: &Model) -> Vec<Filter> {
    let mut filters = vec![Filter::all(), Filter::all().state(State::Running)];
    filters.extend(SCOPES.map(|name| Filter::all().scope(scope(name))));
    for id in model.keys().take(3) {
        let below = Filter::all().parent(*id);
        let stopped = below.clone().state(State::Cancelled).state(State::Running);
        filters.extend([below.clone().scope(scope(SCOPES[0])), below, stopped]);
    }
    let in_one = Filter::all().scope(scope(SCOPES[0]));
    filters.extend([
        in_one.clone().state(State::Completed),
        in_one.state(State::Cancelled).state(State::Pending),
    ]);
    let live: Vec<_> = filters.iter().cloned().map(Filter::live).collect();
    filters.extend(live);
    filters
}

/// Walks all pages and checks each of them.
fn check_pages(
    index: &Index,
    filter: &Filter,
    first: Page,
    expected: &[Arc<Record>],
) -> Result<(), TestCaseError> {
    let (mut page, mut walked) = (first, Vec::new());
    loop {
        let listing = index.list(filter, &page);
        prop_assert_eq!(listing.total, expected.len());
        let left = expected.len() - walked.len();
        prop_assert_eq!(listing.records.len(), left.min(first.limit()));
        walked.extend(listing.records);
        match listing.next {
            Some(cursor) => page = first.after(cursor),
            None => break,
        }
    }
    prop_assert_eq!(walked, expected);
    Ok(())
}

fn check(index: &Index, model: &Model, seq: u64) -> Result<(), TestCaseError> {
    for filter in filters(model) {
        let matching = model.values().filter(|record| filter.matches(record));
        let mut expected: Vec<_> = matching.cloned().collect();
        let live = expected.iter().filter(|record| !record.state.is_terminal());
        let snapshot = (Seq(seq), live.cloned().collect());
        prop_assert_eq!(index.snapshot(&filter), snapshot);
        check_pages(index, &filter, Page::first(3).oldest_first(), &expected)?;
        expected.reverse();
        check_pages(index, &filter, Page::first(3), &expected)?;
    }
    for (id, record) in model {
        let is_below =
            |child: &&Arc<Record>| child.parent == Some(*id) && !child.state.is_terminal();
        let below: Vec<_> = model.values().filter(is_below).cloned().collect();
        prop_assert_eq!(numbers(&index.children(*id)), numbers(&below));
        prop_assert_eq!(index.get(*id), Some(Arc::clone(record)));
    }
    for name in NAMES.into_iter().flatten() {
        for owner in SCOPES.map(scope) {
            prop_assert_eq!(index.holder(&owner, name), holder(model, &owner, name));
        }
    }
    for (state, count) in index.counts().iter() {
        let there = model.values().filter(|record| record.state == state);
        prop_assert_eq!(count, there.count());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn index_reads_like_a_plain_map(
        batches in prop::collection::vec(prop::collection::vec(act(), 1..6), 1..12),
    ) {
        let (index, mut model, mut seq) = (Index::new(), Model::new(), 0);
        for batch in batches {
            let (mut records, mut removed) = (Vec::new(), Vec::new());
            for act in batch {
                seq += 1;
                match decide(&model, act, seq) {
                    Ok(Some(record)) => {
                        let record = Arc::new(record);
                        model.insert(record.id, Arc::clone(&record));
                        records.push(record);
                    }
                    Ok(None) => {}
                    Err(id) => {
                        model.remove(&id);
                        removed.push(id);
                    }
                }
            }
            index.apply(&records, &removed, Seq(seq));
            check(&index, &model, seq)?;
        }
    }
}
