//! A store that fails or holds its commits on command, for tests of what a sick store leads to.
//!
//! # Invariants
//! 1. A commit that is failed never reaches the inner store; one that is held reaches it after it
//!    was let go, and then in the order in which the inner store's lock admits it.
//!
//! *Not here*: reads that fail; they go to the inner store.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Batch, Latency, Lease, LeaseAsk, Loaded, Store, StoreError, Tenancy};
use crate::kernel::{Event, Seq};

/// Wraps a store and fails or holds its commits on command.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    latency: Latency,
    tenancy: Tenancy,
    orders: Mutex<Orders>,
    released: Condvar,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Orders {
    /// How many commits to fail from now on.
    fail: Fail,
    /// How many commits to let through before that.
    spare: u64,
    /// Whether commits are held.
    holds: bool,
    /// Whether loads are held.
    holds_loads: bool,
    /// How many calls are held now.
    held: u32,
    failed: u64,
    /// How many commits were let through.
    passed: u64,
    /// Whether the lease cannot be reached.
    fails_lease: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Fail {
    #[default]
    Never,
    Next(u32),
    Always,
    /// As a place that is damaged.
    Damaged,
    /// By a panic, once.
    Panic,
}

impl FaultyStore {
    /// A store that does what `inner` does until it is told otherwise.
    ///
    /// It says that it may block, as it does when commits are held.
    pub fn new(inner: impl Store) -> Self {
        let tenancy = inner.tenancy();
        Self {
            inner: Arc::new(inner),
            latency: Latency::Blocking,
            tenancy,
            orders: Mutex::default(),
            released: Condvar::new(),
            changed: Notify::new(),
        }
    }

    /// Says of itself that its commits take this long.
    ///
    /// When commits are held, [`Latency::Instant`] blocks whoever commits, for which a runtime
    /// needs another thread.
    pub fn with_latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Says of itself that its place may be opened by these.
    pub fn with_tenancy(mut self, tenancy: Tenancy) -> Self {
        self.tenancy = tenancy;
        self
    }

    /// Fails the next `count` commits as unavailable.
    pub fn fail_next(&self, count: u32) {
        self.orders().fail = Fail::Next(count);
        self.changed.notify_waiters();
    }

    /// Fails every commit as unavailable, until [`FaultyStore::heal`].
    pub fn fail_until_healed(&self) {
        self.orders().fail = Fail::Always;
        self.changed.notify_waiters();
    }

    /// Fails every commit, and whatever is asked of the lease, as a call that finds its place
    /// damaged, until [`FaultyStore::heal`].
    pub fn damage_until_healed(&self) {
        self.orders().fail = Fail::Damaged;
        self.changed.notify_waiters();
    }

    /// Lets so many commits through before it fails as it was or will be told.
    ///
    /// With 0, 1, 2 and so on a program is tested against a failure of each commit; all were tried
    /// when [`FaultyStore::failed`] stays 0.
    pub fn spare_next(&self, count: u64) {
        self.orders().spare = count;
    }

    /// Lets the next commit panic.
    pub fn panic_next(&self) {
        self.orders().fail = Fail::Panic;
        self.changed.notify_waiters();
    }

    /// Fails everything that is asked of the lease as unavailable, until [`FaultyStore::heal`].
    pub fn fail_lease_until_healed(&self) {
        self.orders().fails_lease = true;
    }

    /// Fails nothing more.
    pub fn heal(&self) {
        let mut orders = self.orders();
        (orders.fail, orders.spare, orders.fails_lease) = (Fail::Never, 0, false);
        drop(orders);
        self.changed.notify_waiters();
    }

    /// Holds every commit, before it has any effect, until [`FaultyStore::release`].
    pub fn hold(&self) {
        self.orders().holds = true;
    }

    /// Lets go of what is held, and holds nothing from now on.
    pub fn release(&self) {
        let mut orders = self.orders();
        (orders.holds, orders.holds_loads) = (false, false);
        drop(orders);
        self.released.notify_all();
    }

    /// Holds every load, before it begins, until [`FaultyStore::release`].
    pub fn hold_loads(&self) {
        self.orders().holds_loads = true;
    }

    /// Waits until at least `count` calls are held.
    ///
    /// # Cancel safety
    /// Dropping the future ends the waiting and nothing else.
    pub async fn until_held(&self, count: u32) {
        self.until(|orders| orders.held >= count).await;
    }

    /// Waits until at least `count` commits have been failed since the store was made.
    ///
    /// # Cancel safety
    /// Dropping the future ends the waiting and nothing else.
    pub async fn until_failed(&self, count: u64) {
        self.until(|orders| orders.failed >= count).await;
    }

    /// How many commits have been failed.
    pub fn failed(&self) -> u64 {
        self.orders().failed
    }

    /// How many commits have been handed to the inner store.
    pub fn passed(&self) -> u64 {
        self.orders().passed
    }

    async fn until(&self, is_so: impl Fn(&Orders) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so(&self.orders()) {
                return;
            }
            changed.await;
        }
    }

    /// Obeys the orders; an error when the commit is to fail.
    fn obey(&self) -> Result<(), StoreError> {
        let mut orders = self.held_while(|orders| orders.holds);
        let fail = orders.fail;
        match fail {
            Fail::Next(_) | Fail::Always | Fail::Damaged | Fail::Panic if orders.spare > 0 => {
                orders.spare -= 1;
                orders.passed += 1;
                return Ok(());
            }
            Fail::Never | Fail::Next(0) => {
                orders.passed += 1;
                return Ok(());
            }
            Fail::Next(count) => orders.fail = Fail::Next(count - 1),
            Fail::Panic => orders.fail = Fail::Never,
            Fail::Always | Fail::Damaged => {}
        }
        orders.failed += 1;
        drop(orders);
        self.changed.notify_waiters();
        assert!(!matches!(fail, Fail::Panic), "it was told to panic");
        Err(match fail {
            Fail::Damaged => damaged(),
            Fail::Never | Fail::Next(_) | Fail::Always | Fail::Panic => told(),
        })
    }

    /// Holds this call for as long as it is so.
    fn held_while(&self, is_so: impl Fn(&Orders) -> bool) -> MutexGuard<'_, Orders> {
        let mut orders = self.orders();
        if is_so(&orders) {
            orders.held += 1;
            self.changed.notify_waiters();
            while is_so(&orders) {
                let woken = self.released.wait(orders);
                orders = woken.unwrap_or_else(PoisonError::into_inner);
            }
            orders.held -= 1;
        }
        orders
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn damaged() -> StoreError {
    let source = "it was told that it is damaged".into();
    StoreError::Damaged { source }
}

fn told() -> StoreError {
    let source = "it was told to fail".into();
    StoreError::Unavailable { source }
}

impl Store for FaultyStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.obey()?;
        self.inner.commit(batch)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        drop(self.held_while(|orders| orders.holds_loads));
        self.inner.load()
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        self.inner.events(after, limit)
    }

    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        let orders = self.orders();
        if orders.fails_lease {
            return Err(told());
        }
        if matches!(orders.fail, Fail::Damaged) {
            return Err(damaged());
        }
        drop(orders);
        self.inner.lease(ask)
    }

    fn tenancy(&self) -> Tenancy {
        self.tenancy
    }

    fn latency(&self) -> Latency {
        self.latency
    }
}
