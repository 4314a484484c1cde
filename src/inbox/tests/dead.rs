//! Letters on their way to be replayed.

use super::*;
use crate::kernel::Scope;

fn letters(letters_max: usize) -> DeadLetters {
    let bytes_max = 1_000;
    DeadLetters::new(DeadBounds {
        letters_max,
        bytes_max,
    })
}

/// Keeps a letter to one task for each of these bodies.
fn keep(letters: &DeadLetters, bodies: &[u64]) {
    let spec = Spec::new(Scope::new("s").expect("it is valid"));
    for body in bodies {
        let message = message(*body, *body);
        letters.keep(
            TaskId::from_u128(1),
            &spec,
            spec.scope.clone(),
            message,
            Undelivered::Ended,
        );
    }
}

fn id(body: u64) -> MessageId {
    parcel(body).id
}

fn kept(letters: &DeadLetters) -> Vec<u64> {
    let letters = letters.list(&DeadFilter::all());
    letters.iter().map(|letter| letter.number).collect()
}

/// Takes the letter that was kept first, and gives its place.
fn take_first(letters: &DeadLetters) -> u64 {
    let taken = letters.take(id(0)).expect("it is kept");
    taken.expect("it is first").0
}

#[test]
fn letter_that_was_not_delivered_is_kept_although_others_came_meanwhile() {
    for bodies in [&[2_u64][..], &[2, 3], &[2, 3, 4]] {
        let letters = letters(2);
        keep(&letters, &[0, 1]);
        let place = take_first(&letters);
        keep(&letters, bodies);

        letters.put_back(place);

        let newest = *bodies.last().expect("there is one");
        assert_eq!(kept(&letters), [0, newest]);
        assert_eq!(letters.forgotten(), bodies.len() as u64);
    }
}

#[test]
fn letter_waits_for_an_older_one_that_is_on_its_way() {
    let letters = letters(2);
    keep(&letters, &[0, 1]);
    let place = take_first(&letters);

    assert_eq!(letters.take(id(1)), Some(Err(id(0))));

    letters.put_back(place);
    assert_eq!(kept(&letters), [0, 1]);
    let place = take_first(&letters);
    letters.delivered(place);
    assert_eq!(kept(&letters), [1]);
    assert!(matches!(letters.take(id(1)), Some(Ok(_))));
}
