//! The clients that have connected and not yet said what they want.
//!
//! # Invariants
//! 1. There are at most [`SEATS_MAX`] of them. The one too many takes the place of another: of the
//!    oldest of those that come from where most do. So who connects and is silent, however often,
//!    keeps nobody else out.
//!
//! *Not here*: what they say (`socket`), how long they may take.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;
use tokio::sync::oneshot;

/// Clients that may be silent at once.
pub(super) const SEATS_MAX: usize = 128;

/// The seats of a socket; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<Vec<Taken>>>);

/// A seat that somebody has.
#[derive(Debug)]
struct Taken {
    /// What all processes of its task hang below; `None` outside of the run.
    home: Option<Pid>,
    /// Dropped when the seat is given to another.
    stays: oneshot::Sender<Infallible>,
}

/// The right to be silent, until it is dropped or [lost](Seat::lost).
#[derive(Debug)]
pub(super) struct Seat {
    stays: oneshot::Receiver<Infallible>,
    seats: Seats,
}

impl Seats {
    /// A seat for a client that comes from there.
    pub(super) fn take(&self, home: Option<Pid>) -> Seat {
        let mut taken = self.taken();
        if taken.len() >= SEATS_MAX {
            let mut counts: HashMap<Option<Pid>, usize> = HashMap::new();
            for seat in &*taken {
                *counts.entry(seat.home).or_default() += 1;
            }
            // Of equals the first one is the oldest.
            let seats = taken.iter().enumerate();
            let least = seats.min_by_key(|(_, seat)| Reverse(counts[&seat.home]));
            if let Some(at) = least.map(|(at, _)| at) {
                taken.remove(at);
            }
        }
        let (sender, stays) = oneshot::channel();
        taken.push(Taken {
            home,
            stays: sender,
        });
        drop(taken);
        Seat {
            stays,
            seats: self.clone(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits until another has it.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.stays).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stays.close();
        self.seats.taken().retain(|seat| !seat.stays.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oneshot::error::TryRecvError;

    fn is_lost(seat: &mut Seat) -> bool {
        seat.stays.try_recv() == Err(TryRecvError::Closed)
    }

    #[test]
    fn silent_clients_of_one_task_displace_each_other_and_nobody_else() {
        let (modest, greedy) = (Pid::from_raw(7), Pid::from_raw(8));
        let seats = Seats::default();
        let mut outside = seats.take(None);
        let mut others = [seats.take(modest), seats.take(modest)];
        let mut greedy: Vec<Seat> = (0..2 * SEATS_MAX).map(|_| seats.take(greedy)).collect();

        assert!(!is_lost(&mut outside));
        assert!(others.iter_mut().all(|seat| !is_lost(seat)));
        let stay = SEATS_MAX - 3;
        let (oldest, newest) = greedy.split_at_mut(2 * SEATS_MAX - stay);
        assert!(oldest.iter_mut().all(is_lost));
        assert!(newest.iter_mut().all(|seat| !is_lost(seat)));
        drop(greedy);
        assert_eq!(seats.taken().len(), 3);
    }
}
