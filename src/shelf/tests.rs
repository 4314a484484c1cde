//! What the shelf promises, one behavior each.

use super::*;
use crate::sample;

fn shelf(task_bytes_max: usize, bytes_max: usize) -> Shelf {
    Shelf::new(ShelfBounds {
        task_bytes_max,
        bytes_max,
    })
}

fn piece(number: u64) -> Payload {
    Payload::from_json(format!("{number:04}"))
}

fn pieces(numbers: impl IntoIterator<Item = u64>) -> Vec<Payload> {
    numbers.into_iter().map(piece).collect()
}

#[test]
fn pages_go_on_without_a_gap() {
    let (shelf, task) = (shelf(1_000, 1_000), sample::id(1));
    for number in 1..=5 {
        shelf.put(task, piece(number));
    }
    let first = shelf.read(task, 0, 2);
    assert_eq!(
        (first.first, first.last(), first.missed, first.written),
        (1, 2, 0, 5)
    );
    assert_eq!(first.pieces, pieces(1..=2));
    assert_eq!(shelf.read(task, first.last(), 9).pieces, pieces(3..=5));

    let end = shelf.read(task, 5, 9);
    assert_eq!((end.first, end.last(), end.pieces.len()), (6, 5, 0));
    assert_eq!(shelf.read(task, 99, 9).first, 6);
    assert_eq!(shelf.read(sample::id(2), 0, 9).written, 0);
}

#[test]
fn oldest_pieces_go_first_and_are_told_as_missed() {
    for (bytes, kept) in [(15, 3), (16, 4), (17, 4)] {
        let (shelf, task) = (shelf(bytes, 1_000), sample::id(1));
        for number in 1..=6 {
            shelf.put(task, piece(number));
        }
        let page = shelf.read(task, 1, 9);
        assert_eq!(page.pieces, pieces(7 - kept..=6), "{bytes}");
        assert_eq!((page.missed, page.first), (5 - kept, 7 - kept));
    }
}

#[test]
fn piece_larger_than_the_bound_is_kept_alone() {
    let (shelf, task) = (shelf(2, 1_000), sample::id(1));
    shelf.put(task, piece(1));
    shelf.put(task, piece(2));
    assert_eq!(shelf.read(task, 0, 9).pieces, pieces([2]));
}

#[test]
fn task_that_was_silent_longest_makes_room_for_the_others() {
    let shelf = shelf(1_000, 12);
    for number in [1, 2, 3, 1] {
        shelf.put(sample::id(u128::from(number)), piece(number));
    }
    assert_eq!(shelf.read(sample::id(2), 0, 9).missed, 1);
    assert_eq!(shelf.read(sample::id(1), 0, 9).pieces, pieces([1, 1]));
    assert_eq!(shelf.read(sample::id(3), 0, 9).pieces, pieces([3]));
}

#[test]
fn held_piece_can_be_read_when_it_is_revealed() {
    let (shelf, task) = (shelf(1_000, 1_000), sample::id(1));
    shelf.put(task, piece(1));
    let ticket = shelf.hold(task, piece(2));
    assert_eq!(shelf.read(task, 0, 9).pieces, pieces([1]));

    shelf.reveal(task, ticket);

    assert_eq!(shelf.read(task, 0, 9).pieces, pieces([1, 2]));
}

#[test]
fn held_piece_that_had_to_go_is_told_as_missed() {
    let (shelf, task) = (shelf(4, 1_000), sample::id(1));
    let ticket = shelf.hold(task, piece(1));
    shelf.put(task, piece(2));
    let other = shelf.hold(task, piece(3));
    shelf.reveal(task, ticket);
    shelf.reveal(task, other);

    let page = shelf.read(task, 0, 9);
    assert_eq!((page.written, page.missed), (3, 2));
    assert_eq!(page.pieces, pieces([3]));
}

#[test]
fn what_is_forgotten_or_never_told_takes_no_room() {
    let shelf = shelf(1_000, 1_000);
    let (one, two) = (sample::id(1), sample::id(2));
    let ticket = shelf.hold(one, piece(1));
    shelf.hold(one, piece(2));
    shelf.put(two, piece(3));
    shelf.drop_held(one, ticket);
    assert_eq!(shelf.lock().bytes, 8);
    shelf.settle(one);
    assert_eq!(shelf.lock().bytes, 4);
    shelf.forget(&[one, two]);

    let inner = shelf.lock();
    assert_eq!(
        (inner.bytes, inner.rows.len(), inner.by_age.len()),
        (0, 0, 0)
    );
}
