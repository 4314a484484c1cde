//! The manager's hold on its store: it claims the lease before it reads, looks after it while it
//! runs, and lets go of it at the end.
//!
//! # Invariants
//! 1. Nothing is loaded, and so nothing decided, before the lease is this manager's. Each start of
//!    its actors begins an epoch, so that what an earlier one has left under way is refused.
//! 2. Who has lost the lease never claims it again: bodies are dropped, and nothing is answered.
//! 3. The lease is looked after every third of its time to live by one timer of the manager, as few
//!    or as many tasks as it has. In a shared store it is renewed. One with a sole tenant is only
//!    looked at: nobody waits for it to lapse, and a disk at rest is not woken; a manager that
//!    commits hears of a loss by that, as it does of a store that is gone.
//! 4. In a shared store, a manager that cannot renew ends before anybody may take it over.
//! 5. It is looked after from the claim on, also while the store is read, and no longer than its
//!    guard is there and has not given up.
//!
//! *Not here*: the rules of the lease (`store/lease.rs`), what follows from its loss (`guard`).

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::task::AbortHandle;
use tokio::time::{sleep, sleep_until, timeout_at};

use super::guard::Order;
use super::hub::Hub;
use super::storage::unavailable;
use crate::kernel::Timestamp;
use crate::store::{Holder, Lease, LeaseAsk, Loaded, StoreError, Tenure, Verdict, Watch};

/// How often and after which pause a store that is not available is opened again at a start.
const OPENINGS_MAX: u32 = 60;
const OPENING_PAUSE: Duration = Duration::from_millis(500);
/// How long an opening that is under way may go on when the manager is shut down.
const LAST_OPENING_MAX: Duration = Duration::from_secs(1);

/// The lease was not renewed for so long that others may take it over.
#[derive(Debug, thiserror::Error)]
#[error("the lease of the store could not be renewed in time")]
struct Lapsed;

/// What came of one opening.
enum Opened {
    /// The store is this manager's; that is what is in it.
    Loaded(Loaded, Option<Watching>),
    /// It is somebody else's; it may be tried again then.
    Held(Lease, Timestamp),
}

impl Hub {
    /// Claims the store and reads it: again and again for a while if it is not available, and for
    /// as long as it takes if it is somebody else's who lives.
    ///
    /// `None` when the manager is shut down meanwhile.
    pub(super) async fn open_store(
        self: &Arc<Self>,
        guard: &ActorRef<Order>,
    ) -> Result<Option<(Loaded, Option<Watching>)>, StoreError> {
        let mut watch = Watch::default();
        let mut left = OPENINGS_MAX;
        loop {
            let opened = tokio::select! {
                biased;
                opened = self.open_once(&mut watch, guard) => opened,
                () = self.leaving_for(LAST_OPENING_MAX) => return Ok(None),
            };
            let (why, pause) = match opened {
                Ok(Opened::Loaded(loaded, watching)) => {
                    self.set_sickness(None);
                    return Ok(Some((loaded, watching)));
                }
                Ok(Opened::Held(lease, until)) => {
                    tracing::warn!(%lease, "the store is held; it is waited for");
                    let pause = until.since(self.clock.now()).max(OPENING_PAUSE);
                    let why = format!("it is held by {lease}, which is waited for");
                    (why, pause.min(lease.ttl.max(OPENING_PAUSE)))
                }
                Err(StoreError::Unavailable { source }) if left > 1 => {
                    tracing::error!(%source, "the store cannot be read; it will be tried again");
                    left -= 1;
                    (source.to_string(), OPENING_PAUSE)
                }
                Err(wrong) => return Err(wrong),
            };
            self.set_sickness(Some(why.into()));
            tokio::select! {
                biased;
                () = self.leaving_for(Duration::ZERO) => return Ok(None),
                () = sleep(pause) => {}
            }
        }
    }

    /// Comes back when the manager has been about to stop for so long.
    pub(super) async fn leaving_for(&self, time: Duration) {
        self.leaving.wait().await;
        sleep(time).await;
    }

    async fn open_once(
        self: &Arc<Self>,
        watch: &mut Watch,
        guard: &ActorRef<Order>,
    ) -> Result<Opened, StoreError> {
        let seen = self.storage.lease(LeaseAsk::Look).await?;
        let begun = self.clock.now();
        if seen.owner != Some(self.owner) {
            if self.tenure().is_some() {
                return Err(StoreError::Fenced { lease: seen });
            }
            if self.storage.is_shared()
                && let Verdict::Wait(until) = watch.see(seen, begun)
            {
                return Ok(Opened::Held(seen, until));
            }
        }
        let ask = LeaseAsk::Claim {
            owner: self.owner,
            ttl: self.queues.lease_ttl,
            instead_of: seen,
        };
        match self.storage.lease(ask).await {
            Ok(lease) => {
                let tenure = lease.holder().map(|it| Tenure::new(it, lease.ttl, begun));
                self.set_tenure(tenure);
                let watching = tenure.and_then(|it| look_after(self, guard, it));
                Ok(Opened::Loaded(self.storage.load().await?, watching))
            }
            // Somebody else was faster, or has just been heard of.
            Err(StoreError::Held { lease }) => Ok(Opened::Held(lease, begun)),
            Err(wrong) => Err(wrong),
        }
    }

    /// By whom what is written now is.
    pub(super) fn holder(&self) -> Option<Holder> {
        self.tenure().map(|tenure| tenure.holder())
    }
}

/// Somebody looks after the lease, until this is dropped.
pub(super) struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks after the lease of `hub` in the background, and tells its guard when it is lost.
///
/// What never waits is this process's own: who is taken over there hears of it at the next commit.
fn look_after(hub: &Arc<Hub>, guard: &ActorRef<Order>, tenure: Tenure) -> Option<Watching> {
    if hub.storage.is_instant() && !hub.storage.is_shared() {
        return None;
    }
    let (hub, guard) = (Arc::clone(hub), guard.clone());
    let watching = tokio::spawn(async move {
        let why = until_lost(&hub, tenure).await;
        let is_ruin = matches!(
            why,
            StoreError::Damaged { .. } | StoreError::Newer { .. } | StoreError::Gone { .. }
        );
        if is_ruin {
            hub.set_ruin(&why);
        } else {
            hub.set_lost(&why);
        }
        let _is_heard = guard.cast(Order::End).is_ok();
    });
    Some(Watching(watching.abort_handle()))
}

/// Comes back when the lease is not this manager's any more, with the reason.
async fn until_lost(hub: &Hub, mut tenure: Tenure) -> StoreError {
    let is_shared = hub.storage.is_shared();
    let holder = tenure.holder();
    let mut next = tenure.due();
    loop {
        sleep_until(hub.clock.instant(next)).await;
        let begun = hub.clock.now();
        let looked = if is_shared {
            let renewed = hub.storage.lease(LeaseAsk::Renew(holder));
            match timeout_at(hub.clock.instant(tenure.over()), renewed).await {
                Ok(renewed) => renewed,
                Err(_) => return unavailable(Lapsed),
            }
        } else {
            hub.storage.lease(LeaseAsk::Look).await
        };
        match looked.and_then(|lease| lease.check(Some(holder))) {
            Ok(()) => {
                tenure.renewed(begun);
                next = tenure.due();
            }
            Err(
                lost @ (StoreError::Fenced { .. }
                | StoreError::Damaged { .. }
                | StoreError::Newer { .. }
                | StoreError::Gone { .. }),
            ) => return lost,
            Err(error) => {
                tracing::debug!(%error, "the lease of the store could not be looked after");
                let failed = hub.clock.now();
                next = tenure.retry(failed);
                if is_shared {
                    // Then there is no time left to try again.
                    next = next.min(tenure.over().max(failed));
                }
            }
        }
    }
}
