//! The lease of a store: who may write it, and from when on nobody else has to wait for them.
//!
//! A manager claims the lease before it reads the store, and each of its batches says by whom it
//! is. Who comes next takes the lease over, and from then on nothing of the one before is kept.
//!
//! # Invariants
//! 1. Epochs only grow, and each claim begins one.
//! 2. What is not by the holder is refused, and nothing of it is kept. Safety rests on this, never
//!    on a clock.
//! 3. Who waits for a holder that is gone has seen one and the same renewal for its time to live
//!    and the drift of clocks, on a clock of their own; the holder ends before that on its own.
//!
//! *Not here*: clocks (points in time come in), who claims and renews (`actors`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

use super::StoreError;
use crate::kernel::Timestamp;

/// How long a lease lasts without a renewal, unless the builder of a manager says otherwise.
pub const LEASE_TTL: Duration = Duration::from_secs(30);
/// The shortest time that can be asked for: a third of it must be long enough for a renewal.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(1);
/// How far two clocks come apart within the time to live of a lease, at most.
pub const DRIFT_MAX: Duration = Duration::from_secs(2);

/// One manager, as the lease of a store knows it. Each one has an id of its own, also within a
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u128);

impl Owner {
    /// The owner with these 128 bits, which nobody else has.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_u128(self.0), f)
    }
}

impl FromStr for Owner {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(|uuid| Self(uuid.as_u128()))
    }
}

/// Who wrote a batch: an owner, in one epoch of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The manager.
    pub owner: Owner,
    /// The fencing number of its claim.
    pub epoch: u64,
}

/// Who may write a store. A place that is new has the default one, which is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it; nobody, before the first claim and after a release.
    pub owner: Option<Owner>,
    /// The number of the newest claim.
    pub epoch: u64,
    /// How often it was claimed, renewed or released.
    pub renewal: u64,
    /// How long it lasts without a renewal.
    pub ttl: Duration,
}

/// What is asked of the lease of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAsk {
    /// To show it.
    Look,
    /// To give it to this owner, if it still is the one that was looked at.
    Claim {
        /// Who shall hold it.
        owner: Owner,
        /// How long it shall last without a renewal.
        ttl: Duration,
        /// What was seen of it last.
        instead_of: Lease,
    },
    /// To count a sign of life of its holder.
    Renew(Holder),
    /// To take it from its holder, who is done.
    Release(Holder),
}

impl Lease {
    /// Who may write, if anybody does.
    pub fn holder(&self) -> Option<Holder> {
        let epoch = self.epoch;
        self.owner.map(|owner| Holder { owner, epoch })
    }

    /// The lease after this was asked of it. A store keeps what comes out, in one step with the
    /// reading of what goes in.
    ///
    /// # Errors
    /// [`StoreError::Held`] when it is not the one that was to be claimed, [`StoreError::Fenced`]
    /// when it is somebody else's.
    pub fn after(&self, ask: &LeaseAsk) -> Result<Self, StoreError> {
        let next = |owner, epoch, ttl| Self {
            owner,
            epoch,
            renewal: self.renewal + 1,
            ttl,
        };
        match *ask {
            LeaseAsk::Look => Ok(*self),
            LeaseAsk::Claim {
                owner,
                ttl,
                instead_of,
            } if instead_of == *self => Ok(next(Some(owner), self.epoch + 1, ttl)),
            LeaseAsk::Claim { .. } => Err(StoreError::Held { lease: *self }),
            LeaseAsk::Renew(holder) => {
                self.check(Some(holder))?;
                Ok(next(self.owner, self.epoch, self.ttl))
            }
            LeaseAsk::Release(holder) => {
                self.check(Some(holder))?;
                Ok(next(None, self.epoch, self.ttl))
            }
        }
    }

    /// Whether they may write. Nobody (`None`) may while nobody holds it.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub fn check(&self, by: Option<Holder>) -> Result<(), StoreError> {
        if self.holder() == by {
            Ok(())
        } else {
            Err(StoreError::Fenced { lease: *self })
        }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Some(owner) => write!(f, "manager {owner} (epoch {})", self.epoch),
            None => write!(f, "nobody (epoch {})", self.epoch),
        }
    }
}

/// What an observer knows of a lease that is somebody else's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// Since when it is the same.
    seen: Option<(Lease, Timestamp)>,
}

/// What an observer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Claim the lease, instead of the one that was seen.
    Claim,
    /// Look again, at this point of its own clock if nothing is heard before.
    Wait(Timestamp),
}

impl Watch {
    /// Takes note of a lease that was read before this point of the observer's own clock.
    pub fn see(&mut self, lease: Lease, at: Timestamp) -> Verdict {
        let since = match self.seen {
            Some((seen, since)) if seen == lease => since,
            Some(_) | None => {
                self.seen = Some((lease, at));
                at
            }
        };
        let over = since.after(lease.ttl).after(DRIFT_MAX);
        if lease.owner.is_none() || over <= at {
            Verdict::Claim
        } else {
            Verdict::Wait(over)
        }
    }
}

/// What the holder of a lease knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Tenure {
    holder: Holder,
    ttl: Duration,
    /// When the call that renewed it was begun.
    renewed: Timestamp,
}

impl Tenure {
    /// The tenure of a claim that was begun at this point of the holder's own clock.
    pub const fn new(holder: Holder, ttl: Duration, begun: Timestamp) -> Self {
        let renewed = begun;
        Self {
            holder,
            ttl,
            renewed,
        }
    }

    /// Who holds it.
    pub const fn holder(&self) -> Holder {
        self.holder
    }

    /// A renewal that was begun then has succeeded.
    pub fn renewed(&mut self, begun: Timestamp) {
        self.renewed = self.renewed.max(begun);
    }

    /// When it is to be renewed: twice it may fail before the tenure is over.
    pub fn due(&self) -> Timestamp {
        self.renewed.after(self.ttl / 3)
    }

    /// When a renewal that failed is to be tried again.
    pub fn retry(&self, failed: Timestamp) -> Timestamp {
        failed.after(self.ttl / 15)
    }

    /// When the holder must have ended: others may take it over from a drift later on.
    pub fn over(&self) -> Timestamp {
        let margin = DRIFT_MAX.min(self.ttl / 4);
        self.renewed.after(self.ttl.saturating_sub(margin))
    }
}

#[cfg(test)]
mod tests;
