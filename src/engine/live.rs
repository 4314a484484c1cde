//! What the process holds of a task beside its record: its work, inbox, signal and latch.
//!
//! # Invariants
//! 1. One `Live` per accepted task, shared by its handles, its attempts and the index of live
//!    tasks.
//! 2. `done` is set once, when the settled record is durable, or as lost when that is kept no more.
//! 3. What few tasks need is made when it is needed: it is then as if no attempt but the first had
//!    begun, and a later one makes it when it begins.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::attempt::{Attempt, Verdict};
use super::callback::CancelCall;
use super::hook::HookSet;
use super::latch::Latch;
use super::pace::Pace;
use super::signal::Signal;
use super::unheard::{News, Unheard};
use super::unwind::dispose;
use crate::inbox::{DeadLetters, Inbox, Lost, Undelivered};
use crate::kernel::{Epoch, Scope, Spec, TaskId, Wait};

/// One run of a body.
pub(crate) type BodyFuture = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// How attempts of a task are made.
pub(crate) enum Work {
    /// A closure that can be called once.
    Once(Box<dyn FnOnce(Arc<Attempt>) -> BodyFuture + Send>),
    /// A closure or executor that can be called for each attempt.
    Many(Arc<dyn Fn(Arc<Attempt>) -> BodyFuture + Send + Sync>),
    /// There is no body here; this cancels what runs elsewhere.
    Callback(CancelCall),
    /// It has been used up or dropped.
    Spent,
}

/// A task as the process holds it.
pub(crate) struct Live {
    pub(crate) id: TaskId,
    pub(crate) spec: Arc<Spec>,
    pub(crate) inbox: Inbox,
    dead: Arc<DeadLetters>,
    pub(crate) done: Latch,
    work: Mutex<Work>,
    /// The signal of the newest attempt. Each has its own: a request to an earlier one stands.
    signal: Mutex<Arc<Signal>>,
    /// Whether an attempt has begun: the first one here has the signal of those who waited for it.
    has_begun: AtomicBool,
    epoch: AtomicU32,
    /// Whether its spec has an idle limit.
    pub(crate) may_idle_out: bool,
    /// When it last gave a sign of life, in microseconds of the manager's clock.
    activity: AtomicU64,
    /// Made when the first of it is needed.
    extras: OnceLock<Box<Extras>>,
}

/// What the process holds of a task that does more than run.
#[derive(Debug)]
struct Extras {
    /// What came since its body began, while somebody is to be told of it.
    unheard: Mutex<Unheard>,
    /// Wakes a body that awaits answers, which stand in the record.
    answered: Notify,
    park: Mutex<Park>,
    pace: Mutex<Pace>,
    /// Its scope, where that is not the one of its spec any more.
    moved: Mutex<Option<Scope>>,
    /// The hooks that its asker gave it.
    hooks: Mutex<HookSet>,
}

/// The first epoch of nearly all tasks; only the next lives of an id begin with a later one.
const FIRST: Epoch = Epoch(1);

/// How many things a body awaits, and what the manager has to hear of it.
#[derive(Debug)]
pub(crate) struct Park {
    /// The attempt whose body it is: what one before left behind counts no more.
    epoch: Epoch,
    awaited: u32,
    /// Counts up with each change between none and some.
    turn: u64,
    on: Option<Wait>,
    /// Whether a letter that tells of it is under way: one is enough, it tells the newest.
    is_told: bool,
}

impl Park {
    /// That of a new attempt. A letter of before may have been lost with a manager.
    const fn of(epoch: Epoch, turn: u64) -> Self {
        Self {
            epoch,
            awaited: 0,
            turn,
            on: None,
            is_told: false,
        }
    }

    /// Counts one more or one less for the attempt of this epoch; tells whether a letter is due.
    pub(crate) fn change(
        &mut self,
        epoch: Epoch,
        count: impl FnOnce(u32) -> u32,
        on: Option<Wait>,
    ) -> bool {
        if epoch != self.epoch {
            return false;
        }
        let before = self.awaited;
        self.awaited = count(before);
        if (before == 0) == (self.awaited == 0) {
            return false;
        }
        self.turn += 1;
        self.on = on;
        !std::mem::replace(&mut self.is_told, true)
    }

    /// Opens the letter: the newest change.
    pub(crate) fn open(&mut self) -> (u64, Option<Wait>) {
        self.is_told = false;
        (self.turn, self.on.clone())
    }
}

impl Live {
    pub(crate) fn new(
        id: TaskId,
        spec: Arc<Spec>,
        (inbox, dead): (Inbox, Arc<DeadLetters>),
        work: Work,
    ) -> Self {
        Self {
            id,
            may_idle_out: spec.idle_timeout.is_some(),
            spec,
            inbox,
            dead,
            done: Latch::new(),
            work: Mutex::new(work),
            signal: Mutex::default(),
            has_begun: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            activity: AtomicU64::new(0),
            extras: OnceLock::new(),
        }
    }

    /// Gives it its own hooks.
    pub(crate) fn set_hooks(&self, hooks: HookSet) {
        if self.extras.get().is_some() || !hooks.is_empty() {
            *lock(&self.extras().hooks) = hooks;
        }
    }

    /// Its own hooks.
    pub(crate) fn hooks(&self) -> HookSet {
        let extras = self.extras.get();
        extras.map_or_else(HookSet::default, |extras| lock(&extras.hooks).clone())
    }

    /// Whether observers of its own are to hear of it.
    pub(crate) fn is_observed(&self) -> bool {
        let extras = self.extras.get();
        extras.is_some_and(|extras| !lock(&extras.hooks).observers.is_empty())
    }

    /// A new attempt begins: its epoch is the current one from here on. Gives its signal.
    pub(crate) fn begin(&self, epoch: Epoch, now_micros: u64) -> Arc<Signal> {
        let mut newest = lock(&self.signal);
        // The lock of the signal orders it.
        let had_begun = self.has_begun.swap(true, Ordering::Relaxed);
        if epoch > FIRST && (had_begun || newest.is_asked()) {
            *newest = Arc::default();
        }
        let signal = Arc::clone(&newest);
        drop(newest);
        self.epoch.store(epoch.0, Ordering::Release);
        self.touch(now_micros);
        if epoch > FIRST {
            // What an attempt before left behind may wait for messages that are not for it.
            self.inbox.stir();
            self.extras().begin(epoch);
        } else if let Some(extras) = self.extras.get() {
            extras.begin(epoch);
        }
        signal
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    /// The attempt of this epoch is over: until another begins, none is the current one, and who
    /// awaits answers for it hears so. Tells whether it was the current one.
    pub(crate) fn end(&self, epoch: Epoch) -> bool {
        let none = Epoch::default().0;
        let (was, relaxed) = (epoch.0, Ordering::Relaxed);
        let ended = self
            .epoch
            .compare_exchange(was, none, Ordering::AcqRel, relaxed);
        // Who waits for the first time looks at the epoch after that: one of both sees the other.
        fence(Ordering::SeqCst);
        self.notify_answered();
        ended.is_ok()
    }

    /// The attempt that runs now; the default when none does.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(crate) fn is_current(&self, epoch: Epoch) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch.0
    }

    pub(crate) fn signal(&self) -> Arc<Signal> {
        Arc::clone(&lock(&self.signal))
    }

    /// Notes a sign of life.
    pub(crate) fn touch(&self, now_micros: u64) {
        self.activity.fetch_max(now_micros, Ordering::Relaxed);
    }

    pub(crate) fn activity(&self) -> u64 {
        self.activity.load(Ordering::Relaxed)
    }

    pub(crate) fn pace(&self) -> MutexGuard<'_, Pace> {
        let extras = self.extras();
        fence(Ordering::SeqCst);
        lock(&extras.pace)
    }

    /// The same, if it was ever asked for: otherwise no note is held.
    ///
    /// Whoever holds a note back looks after that whether the body was asked to stop, and whoever
    /// asks looks after that for a note: one of them sees the other.
    pub(crate) fn pace_kept(&self) -> Option<MutexGuard<'_, Pace>> {
        fence(Ordering::SeqCst);
        self.extras.get().map(|extras| lock(&extras.pace))
    }

    pub(crate) fn park(&self) -> MutexGuard<'_, Park> {
        lock(&self.extras().park)
    }

    /// Wakes whoever awaits answers to questions of its body.
    pub(crate) fn notify_answered(&self) {
        // Who asks for the wake-up looks into the record after that, and this was changed before.
        if let Some(extras) = self.extras.get() {
            extras.answered.notify_waiters();
        }
    }

    /// The wake-up of those who await answers.
    pub(crate) fn answered(&self) -> &Notify {
        let extras = self.extras();
        fence(Ordering::SeqCst);
        &extras.answered
    }

    /// Something came for its body.
    pub(crate) fn note_news(&self, news: News) {
        lock(&self.extras().unheard).note(news);
    }

    /// What came for its body that it did not hear of; nothing if nobody is to be told.
    pub(crate) fn unheard(&self) -> Option<MutexGuard<'_, Unheard>> {
        self.extras.get().map(|extras| lock(&extras.unheard))
    }

    /// Closes the inbox: what nobody has read becomes dead letters. Tells how many messages were
    /// accepted and not read since the last call, those that were dropped for newer ones included.
    pub(crate) fn close_inbox(&self) -> u32 {
        let (left, dropped) = self.inbox.close();
        let count = u32::try_from(left.len()).unwrap_or(u32::MAX);
        for lost in left {
            self.bury(lost, Undelivered::Ended);
        }
        count.saturating_add(dropped)
    }

    /// Keeps a message that nobody will read, and tells its sender.
    pub(crate) fn bury(&self, lost: Lost, why: Undelivered) {
        // The sender hears of it when the letter can be found.
        let message = lost.message.clone();
        #[cfg(feature = "metrics")]
        crate::meter::buried(why.as_str());
        // Held until it is kept, so that a transfer takes it along or comes before.
        let moved = lock(&self.extras().moved);
        let scope = moved.as_ref().unwrap_or(&self.spec.scope).clone();
        self.dead.keep(self.id, &self.spec, scope, message, why);
        drop(moved);
        lost.tell(why);
    }

    /// It is in this scope now, and the letters to it with it.
    pub(crate) fn move_to(&self, scope: &Scope) {
        if self.extras.get().is_none() && *scope == self.spec.scope {
            return;
        }
        let mut moved = lock(&self.extras().moved);
        if moved.as_ref().unwrap_or(&self.spec.scope) == scope {
            return;
        }
        *moved = Some(scope.clone());
        self.dead.move_to(self.id, scope);
    }

    /// The work for one attempt; [`Work::Spent`] when there is none left.
    pub(crate) fn take_work(&self) -> Work {
        let mut work = lock(&self.work);
        match &*work {
            Work::Many(make) => Work::Many(Arc::clone(make)),
            Work::Once(_) | Work::Callback(_) | Work::Spent => {
                std::mem::replace(&mut *work, Work::Spent)
            }
        }
    }

    /// Whether its work can be called again.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(&*lock(&self.work), Work::Many(_))
    }

    /// Drops the work of a task that will not run, where its destructor can harm nobody.
    pub(crate) fn discard_work(&self) {
        let work = std::mem::replace(&mut *lock(&self.work), Work::Spent);
        if matches!(work, Work::Spent) {
            return;
        }
        let doomed = Doomed { id: self.id, work };
        // Outside a runtime it is a caller's own thread, which may wait for the destructor.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { drop(doomed) });
        }
    }
}

impl Extras {
    /// A new attempt begins.
    fn begin(&self, epoch: Epoch) {
        let mut park = lock(&self.park);
        *park = Park::of(epoch, park.turn);
        drop(park);
        *lock(&self.pace) = Pace::of(epoch);
        self.answered.notify_waiters();
        *lock(&self.unheard) = Unheard::default();
    }
}

/// Those of the first attempt.
impl Default for Extras {
    fn default() -> Self {
        Self {
            unheard: Mutex::default(),
            answered: Notify::const_new(),
            park: Mutex::new(Park::of(FIRST, 0)),
            pace: Mutex::new(Pace::of(FIRST)),
            moved: Mutex::default(),
            hooks: Mutex::default(),
        }
    }
}

/// Whoever drops the last reference may be an actor of ours: no destructor may harm it.
impl Drop for Live {
    fn drop(&mut self) {
        self.discard_work();
    }
}

/// Work on its way out: however it is dropped, a panic of its destructor stays here.
struct Doomed {
    id: TaskId,
    work: Work,
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Err(panic) = dispose(std::mem::replace(&mut self.work, Work::Spent)) {
            tracing::warn!(task = %self.id, panic, "work that never ran panicked when dropped");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
