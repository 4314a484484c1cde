//! Whether the log beside a file is its own: with the log of another copy, a file is a mixture of
//! several points in time.
//!
//! # Invariants
//! 1. Beside a log, the generation in the file is the noted one or the next, wherever a process
//!    died, however often.
//! 2. What is not known is not held against the file.
//!
//! *Not here*: what a generation is (`database`), where it is noted (`place`).

use super::OpenError;
use super::database::{Database, Trouble};
#[cfg(any(test, feature = "testing"))]
use super::fail;
use super::place::Place;

/// Refuses a file that has the log of another one.
pub(super) fn check(place: &mut Place) -> Result<(), OpenError> {
    let Some(noted) = place.generation() else {
        return Ok(());
    };
    let found = Database::generation_without_log(place.path());
    if !place.has_log() {
        // Another file is in its place, and has no log that could be of that one.
        if found != Some(noted) {
            note(place, None);
        }
        return Ok(());
    }
    match found {
        // It is noted after it is in the file.
        Some(found) if found != noted && found != noted + 1 => Err(OpenError::damaged(
            place.path(),
            "its log (-wal) may belong to another copy of it; if it came with this one, remove \
             .lock, else remove -wal and -shm",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Notes which file the log belongs to from now on.
pub(super) fn begin(database: &mut Database, place: &mut Place) {
    if let Err(error) = catch_up(database, place) {
        tracing::warn!(%error, "the generation of the file is not known");
        note(place, None);
    }
    let generation = database.next_generation().unwrap_or_else(|error| {
        tracing::warn!(%error, "the file has no new generation");
        None
    });
    #[cfg(any(test, feature = "testing"))]
    fail::pass(fail::Point::Begun);
    note(place, generation);
}

/// Notes a generation whose process died before it was noted: two of these in a row would look
/// like another file.
fn catch_up(database: &Database, place: &mut Place) -> Result<(), Trouble> {
    let Some(noted) = place.generation() else {
        return Ok(());
    };
    let begun = database.generation()?;
    if begun != noted {
        let is_whole = database.checkpoint()?;
        note(place, is_whole.then_some(begun));
    }
    Ok(())
}

/// Without a note a mixture is not seen, which is no reason not to open the file.
fn note(place: &mut Place, generation: Option<u64>) {
    if let Err(error) = place.note(generation) {
        tracing::warn!(%error, "the generation of the file was not noted");
    }
}
