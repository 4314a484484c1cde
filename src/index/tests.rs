//! What the read side promises, one behavior each.

mod model;
mod sorted;

use super::*;
use crate::kernel::{Body, Date, Name, Spec, State, Timestamp};
use crate::sample;

fn spec(scope: &str, name: Option<&str>, parent: Option<u128>) -> Arc<Spec> {
    let mut spec = sample::spec(scope);
    spec.name = name.map(|name| Name::new(name).expect("it is a valid name"));
    spec.parent = parent.map(sample::id);
    Arc::new(spec)
}

fn scope(name: &str) -> Scope {
    Scope::new(name).expect("it is a valid scope")
}

fn put(index: &Index, record: &Arc<Record>) {
    index.apply(std::slice::from_ref(record), &[], record.seq);
}

/// The index with this many running tasks of the scope `one`, with ids from 1 on.
fn index_with(count: usize) -> Index {
    let (index, spec) = (Index::new(), spec("one", None, None));
    let ids = (1..).take(count);
    let records: Vec<_> = ids
        .map(|id| sample::record(sample::id(id), &spec, State::Running, 1))
        .collect();
    index.apply(&records, &[], Seq(1));
    index
}

fn numbers(records: &[Arc<Record>]) -> Vec<u128> {
    records.iter().map(|record| record.id.as_u128()).collect()
}

#[test]
fn get_gives_the_newest_record_until_it_is_removed() {
    let (index, spec, id) = (Index::new(), spec("one", None, None), sample::id(1));
    assert_eq!(index.get(id), None);

    put(&index, &sample::record(id, &spec, State::Pending, 1));
    let done = sample::record(id, &spec, State::Completed, 3);
    let batch = [sample::record(id, &spec, State::Running, 2), done.clone()];
    index.apply(&batch, &[], Seq(3));
    assert_eq!(index.get(id), Some(done.clone()));

    index.apply(&[done], &[id], Seq(3));
    assert_eq!(index.get(id), None);
    assert_eq!(index.counts(), Counts::default());
    assert_eq!(
        index.list(&Filter::all(), &Page::default()),
        Listing::default()
    );
}

#[test]
fn name_is_held_until_the_body_has_stopped() {
    let (index, one, id) = (Index::new(), scope("one"), sample::id(1));
    let spec = spec("one", Some("lead"), None);
    put(&index, &sample::record(id, &spec, State::Running, 1));
    assert_eq!(index.holder(&one, "lead"), Some(id));
    assert_eq!(index.holder(&one, "other"), None);
    assert_eq!(index.holder(&scope("two"), "lead"), None);

    let mut abandoned = Record::clone(&sample::record(id, &spec, State::Cancelled, 2));
    abandoned.body = Body::Live;
    put(&index, &Arc::new(abandoned));
    assert_eq!(index.holder(&one, "lead"), Some(id));
    assert_eq!(index.live(), 0);

    put(&index, &sample::record(id, &spec, State::Cancelled, 3));
    assert_eq!(index.holder(&one, "lead"), None);
}

#[test]
fn name_that_was_passed_on_stays_with_its_new_holder() {
    let (index, one) = (Index::new(), scope("one"));
    let (first, second) = (sample::id(1), sample::id(2));
    let spec = spec("one", Some("lead"), None);
    put(&index, &sample::record(first, &spec, State::Running, 1));

    let ended = sample::record(first, &spec, State::Failed, 2);
    let follower = sample::record(second, &spec, State::Pending, 3);
    index.apply(&[follower, ended.clone()], &[], Seq(3));
    assert_eq!(index.holder(&one, "lead"), Some(second));

    index.apply(&[], &[first], Seq(3));
    assert_eq!(index.holder(&one, "lead"), Some(second));
}

#[test]
fn children_are_the_live_ones_that_were_not_detached() {
    let index = Index::new();
    let (parent, child) = (spec("one", None, None), spec("one", None, Some(1)));
    put(
        &index,
        &sample::record(sample::id(1), &parent, State::Running, 1),
    );
    for (id, state) in [(2, State::Running), (3, State::Failed), (4, State::Pending)] {
        put(&index, &sample::record(sample::id(id), &child, state, 2));
    }
    let mut detached = Record::clone(&sample::record(sample::id(5), &child, State::Running, 3));
    detached.parent = None;
    put(&index, &Arc::new(detached));

    assert_eq!(numbers(&index.children(sample::id(1))), [2, 4]);
    assert_eq!(index.children(sample::id(2)), []);
    let asked_below = index.list(&Filter::all().parent(sample::id(1)), &Page::first(9));
    assert_eq!(numbers(&asked_below.records), [5, 4, 3, 2]);
    assert_eq!(asked_below.total, 4);
}

#[test]
fn page_has_at_most_its_limit_and_never_more_than_the_bound() {
    let index = index_with(PAGE_MAX + 2);
    let total = PAGE_MAX + 2;

    for (limit, len) in [
        (0, 1),
        (1, 1),
        (2, 2),
        (PAGE_MAX - 1, PAGE_MAX - 1),
        (PAGE_MAX, PAGE_MAX),
        (PAGE_MAX + 1, PAGE_MAX),
        (usize::MAX, PAGE_MAX),
    ] {
        let listing = index.list(&Filter::all(), &Page::first(limit));
        assert_eq!((listing.records.len(), listing.total), (len, total));
        assert!(listing.next.is_some());
    }
}

#[test]
fn page_that_ends_with_the_list_has_no_next_one() {
    for count in [4, 5, 6] {
        let index = index_with(count);
        for filter in [Filter::all(), Filter::all().state(State::Running)] {
            let listing = index.list(&filter, &Page::first(5));
            assert_eq!(listing.records.len(), count.min(5));
            assert_eq!((listing.total, listing.next.is_some()), (count, count > 5));
        }
    }
}

#[test]
fn scan_longer_than_a_chunk_finds_everything() {
    let index = index_with(2 * CHUNK + 3);
    let filter = Filter::all().state(State::Running).label("no", "such");
    assert_eq!(index.list(&filter, &Page::first(5)), Listing::default());

    let ever = Timestamp::from_micros(0)..Timestamp::from_micros(u64::MAX);
    let filter = Filter::all().date(Date::Created, ever);
    let first = index.list(&filter, &Page::first(2).oldest_first());
    assert_eq!(
        (numbers(&first.records), first.total),
        (vec![1, 2], 2 * CHUNK + 3)
    );
    let cursor = first.next.expect("there is more").to_string();
    let cursor = cursor.parse().expect("it is what a cursor shows");
    let second = index.list(&filter, &Page::first(2).oldest_first().after(cursor));
    assert_eq!(numbers(&second.records), [3, 4]);
}

#[test]
fn snapshot_has_the_live_tasks_as_of_its_number() {
    let (index, spec) = (Index::new(), spec("one", None, None));
    for (id, state) in [(1, State::Running), (2, State::Failed), (3, State::Pending)] {
        put(&index, &sample::record(sample::id(id), &spec, state, 1));
    }
    index.apply(&[], &[], Seq(9));

    let (seq, records) = index.snapshot(&Filter::all());
    assert_eq!((seq, numbers(&records)), (Seq(9), vec![1, 3]));
    let (_, records) = index.snapshot(&Filter::all().scope(scope("two")));
    assert_eq!(records, []);
}

#[test]
fn snapshot_is_a_cut_between_two_batches() {
    let index = Arc::new(index_with(2));
    let spec = spec("one", None, None);
    let writer = {
        let index = Arc::clone(&index);
        std::thread::spawn(move || {
            for seq in 2..5_000 {
                let change = |id| sample::record(sample::id(id), &spec, State::Running, seq);
                index.apply(&[change(1), change(2)], &[], Seq(seq));
            }
        })
    };

    while !writer.is_finished() {
        let (seq, records) = index.snapshot(&Filter::all());
        let seqs: Vec<_> = records.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, [seq, seq]);
    }
    writer.join().expect("the writer does not panic");
}

#[test]
fn counts_follow_every_change_of_state() {
    let (index, spec) = (index_with(3), spec("one", None, None));
    put(
        &index,
        &sample::record(sample::id(2), &spec, State::Waiting, 2),
    );
    put(
        &index,
        &sample::record(sample::id(3), &spec, State::TimedOut, 3),
    );

    let counts = index.counts();
    assert_eq!((counts.total(), counts.live(), index.live()), (3, 2, 2));
    let there: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    let wanted = [State::Running, State::Waiting, State::TimedOut].map(|state| (state, 1));
    assert_eq!(there, wanted);
    assert_eq!(counts.of(State::TimedOut), 1);
}
