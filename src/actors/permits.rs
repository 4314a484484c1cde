//! Permits of the gate on their way back, which are given when a turn of the manager is durable.
//!
//! # Invariants
//! 1. Each permit comes back once, also when the turn that has it fails.
//! 2. Those of notes travel as a number: a letter with one of its own would cost a count that all
//!    threads share.
//!
//! *Not here*: how many there are (`gate`).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Those of one turn, or of several that share a commit.
#[derive(Debug, Default)]
pub(super) struct Permits {
    asks: Vec<OwnedSemaphorePermit>,
    notes: Vec<Passes>,
}

/// So many permits of letters that were taken, and that forgot theirs.
#[derive(Debug)]
struct Passes {
    of: Arc<Semaphore>,
    count: usize,
}

impl Permits {
    /// Those that so many letters have forgotten.
    pub(super) fn forgotten(of: &Arc<Semaphore>, count: usize) -> Self {
        let passes = || Passes {
            of: Arc::clone(of),
            count,
        };
        Self {
            asks: Vec::new(),
            notes: (count > 0).then(passes).into_iter().collect(),
        }
    }

    /// Takes one; those of one semaphore become one, which gives them back at once.
    pub(super) fn put(&mut self, permit: OwnedSemaphorePermit) {
        let is_same =
            |it: &&mut OwnedSemaphorePermit| Arc::ptr_eq(it.semaphore(), permit.semaphore());
        match self.asks.iter_mut().find(is_same) {
            Some(same) => same.merge(permit),
            None => self.asks.push(permit),
        }
    }

    /// Takes others that come back with these.
    pub(super) fn join(&mut self, others: Self) {
        self.asks.extend(others.asks);
        self.notes.extend(others.notes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asks.is_empty() && self.notes.is_empty()
    }
}

impl Drop for Passes {
    fn drop(&mut self) {
        self.of.add_permits(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_that_letters_forgot_come_back_once_when_they_are_dropped() {
        let notes = Arc::new(Semaphore::new(3));
        for _ in 0..2 {
            notes.try_acquire().expect("three are there").forget();
        }

        let none = Permits::forgotten(&notes, 0);
        let two = Permits::forgotten(&notes, 2);
        assert!(none.is_empty() && !two.is_empty());
        assert_eq!(notes.available_permits(), 1);
        drop((none, two));

        assert_eq!(notes.available_permits(), 3);
    }
}
