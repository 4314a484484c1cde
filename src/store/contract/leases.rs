//! What the lease of a store has to hold.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Batch, Holder, Lease, LeaseAsk, Owner, Store, StoreError};
use super::{Open, Place};
use crate::kernel::{Seq, State};

const TTL: Duration = Duration::from_millis(1_500);
const ONE: Owner = Owner::from_u128(1);
const OTHER: Owner = Owner::from_u128(u128::MAX);

pub(super) fn exercise<F, O>(fresh: &F)
where
    F: Fn() -> O,
    O: Fn() -> Arc<dyn Store>,
{
    new_place_is_held_by_nobody(&fresh());
    claim_is_kept_and_its_holder_writes(&fresh());
    claim_of_what_was_renewed_is_refused(&fresh());
    taken_over_holder_changes_nothing(&fresh());
    released_lease_is_nobodys(&fresh());
    epochs_only_grow(&fresh());
    what_is_not_by_the_holder_leaves_no_trace(&fresh());
}

fn claim(owner: Owner, instead_of: Lease) -> LeaseAsk {
    LeaseAsk::Claim {
        owner,
        ttl: TTL,
        instead_of,
    }
}

impl Place<'_> {
    /// Takes the lease, and writes as its holder from now on.
    fn hold(&mut self, owner: Owner) -> Holder {
        let lease = self.lease(&claim(owner, self.look()));
        let holder = lease.expect("it is the one that was seen").holder();
        self.by = holder;
        holder.expect("it was claimed")
    }

    fn is_fenced(&mut self, batch: &Batch) {
        let lease = self.look();
        let error = self.refuse(batch);
        let StoreError::Fenced { lease: told } = error else {
            panic!("it is somebody else's, but the store says {error:?}");
        };
        assert_eq!(told, lease);
    }

    fn is_fenced_from_lease(&mut self, ask: &LeaseAsk) {
        let lease = self.look();
        let error = self.refuse_lease(ask);
        let StoreError::Fenced { lease: told } = error else {
            panic!("it is somebody else's, but the store says {error:?}");
        };
        assert_eq!(told, lease);
    }
}

fn new_place_is_held_by_nobody(open: Open<'_>) {
    let mut place = Place::new(open);

    assert_eq!(place.look(), Lease::default());
    place.change(&[(1, State::Pending)]);
    place.reopen();
    assert_eq!(place.look(), Lease::default(), "looking changes nothing");
}

fn claim_is_kept_and_its_holder_writes(open: Open<'_>) {
    let mut place = Place::new(open);
    let holder = place.hold(ONE);
    let claimed = place.look();
    assert_eq!((claimed.holder(), claimed.ttl), (Some(holder), TTL));
    assert_eq!(holder.owner, ONE);

    let batch = place.change(&[(1, State::Pending), (2, State::Running)]);
    let renewed = place.lease(&LeaseAsk::Renew(holder));
    let renewed = renewed.expect("it is the holder");
    place.reopen();

    assert_eq!(place.look(), renewed);
    let renewal = claimed.renewal + 1;
    assert_eq!(renewed, Lease { renewal, ..claimed });
    assert_eq!(place.loaded().records, batch.records);
    place.change(&[(1, State::Running)]);
}

fn claim_of_what_was_renewed_is_refused(open: Open<'_>) {
    let mut place = Place::new(open);
    let unclaimed = place.look();
    let holder = place.hold(ONE);
    let seen = place.look();
    let renewed = place.lease(&LeaseAsk::Renew(holder));
    let renewed = renewed.expect("it is the holder");

    for instead_of in [unclaimed, seen] {
        for owner in [ONE, OTHER] {
            let error = place.refuse_lease(&claim(owner, instead_of));
            let StoreError::Held { lease } = error else {
                panic!("it was renewed, but the store says {error:?}");
            };
            assert_eq!(lease, renewed);
        }
    }
    place.change(&[(1, State::Pending)]);
}

fn taken_over_holder_changes_nothing(open: Open<'_>) {
    let mut place = Place::new(open);
    let first = place.hold(ONE);
    place.change(&[(1, State::Running)]);
    let late = place.batch(&[(1, State::Failed), (2, State::Pending)]);
    let silent = Batch {
        by: Some(first),
        ..Batch::default()
    };

    let second = place.hold(OTHER);

    assert_eq!(second.epoch, first.epoch + 1);
    place.is_fenced(&late);
    place.is_fenced(&silent);
    place.is_fenced_from_lease(&LeaseAsk::Renew(first));
    place.is_fenced_from_lease(&LeaseAsk::Release(first));
    place.change(&[(1, State::Completed)]);
    // The same owner, in an epoch that is over.
    let third = place.hold(ONE);
    place.is_fenced(&late);
    assert_eq!(third.epoch, second.epoch + 1);
    place.change(&[(2, State::Running)]);
    assert_eq!(place.loaded().seq, Seq(3));
}

fn released_lease_is_nobodys(open: Open<'_>) {
    let mut place = Place::new(open);
    let holder = place.hold(ONE);
    place.change(&[(1, State::Running)]);
    let late = place.batch(&[(1, State::Failed)]);

    let released = place.lease(&LeaseAsk::Release(holder));
    let released = released.expect("it is the holder");
    place.reopen();

    assert_eq!(place.look(), released);
    assert_eq!((released.owner, released.epoch), (None, holder.epoch));
    place.is_fenced(&late);
    place.is_fenced_from_lease(&LeaseAsk::Renew(holder));
    place.is_fenced_from_lease(&LeaseAsk::Release(holder));
    place.by = None;
    place.change(&[(2, State::Running)]);
}

fn epochs_only_grow(open: Open<'_>) {
    let mut place = Place::new(open);
    let mut newest = place.look();
    for round in 0..4 {
        let holder = place.hold(if round % 2 == 0 { ONE } else { OTHER });
        let mut leases = vec![place.look()];
        for ask in [LeaseAsk::Renew(holder), LeaseAsk::Release(holder)] {
            leases.push(place.lease(&ask).expect("it is the holder"));
            place.reopen();
        }
        assert_eq!(leases[0].epoch, newest.epoch + 1);
        for lease in leases {
            assert!(lease.epoch >= newest.epoch && lease.renewal > newest.renewal);
            newest = lease;
        }
    }
}

fn what_is_not_by_the_holder_leaves_no_trace(open: Open<'_>) {
    let mut place = Place::new(open);
    let Holder { owner, epoch } = place.hold(ONE);
    place.change(&[(1, State::Running)]);

    let others = [
        None,
        Some(Holder {
            owner: OTHER,
            epoch,
        }),
        Some(Holder {
            owner,
            epoch: epoch + 1,
        }),
        Some(Holder {
            owner,
            epoch: epoch - 1,
        }),
    ];
    for by in others {
        let mut batch = place.batch(&[(1, State::Failed), (2, State::Pending)]);
        batch.by = by;
        batch.removed = vec![crate::sample::id(1)];
        place.is_fenced(&batch);
    }
}
