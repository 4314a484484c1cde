//! Waiting for several tasks: any or all of them, for a time, from a number of the log on.
//!
//! # Invariants
//! 1. A wait cancels nothing, whatever ends it.
//! 2. Nothing is lost between two waits: what ended by `Waited::seq` is told by the first one, what
//!    ends later by the one that is asked for what comes after that number.
//! 3. What counts is read from the index after its number: a latch that is set earlier than the
//!    number read is looked at again.
//!
//! *Not here*: awaiting one task and its value (`wait`).

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::core::Core;
use super::handle::TaskRef;
use super::manager::Manager;
use super::wait::{Parked, WaitError, heard, is_settled, park, settled_here};
use crate::feed::{FeedItem, Subscription};
use crate::kernel::{Filter, Record, Seq, State, TaskId, Timestamp};

/// What a wait for several tasks brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// Those that have settled, in the order given.
    pub done: Vec<Arc<Record>>,
    /// Those that are suspended, in the order given, if they were asked for.
    pub suspended: Vec<Arc<Record>>,
    /// Those that have asked something which is not answered, in the order given, if they were
    /// asked for.
    pub asking: Vec<Arc<Record>>,
    /// Those that have neither settled nor count as suspended or asking.
    pub pending: Vec<TaskId>,
    /// Whether the time ran out first.
    pub timed_out: bool,
    /// How far the log was looked at: [`Waiting::after`] this number misses and repeats nothing.
    pub seq: Seq,
}

/// How a wait stands; see [`Waiting::on_tick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTick {
    /// Since the wait began.
    pub elapsed: Duration,
    /// How many of the tasks have settled or count as suspended or asking.
    pub done: usize,
    /// How many have not.
    pub pending: usize,
}

type OnTick = Box<dyn FnMut(WaitTick) + Send>;

/// A wait to be: say when it ends, then wait for [`any`](Waiting::any) or [`all`](Waiting::all).
#[must_use = "it waits only when `any` or `all` is awaited"]
pub struct Waiting {
    core: Arc<Core>,
    tasks: Vec<TaskRef>,
    timeout: Option<Duration>,
    after: Option<Seq>,
    with_suspended: bool,
    with_asking: bool,
    tick: Option<(Duration, OnTick)>,
}

/// How many of the tasks must have settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quorum {
    Any,
    All,
}

impl Manager {
    /// Waits for several tasks with a time limit, from a number of the log on, with ticks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use understory::Manager;
    ///
    /// let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let slow = scope
    ///     .task("slow")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    ///     .await?;
    /// let quick = scope.task("quick").spawn(|_| async { Ok(1) }).await?;
    /// let both = [slow.task(), quick.task()];
    /// let waited = manager.wait(&both).timeout(Duration::from_millis(50)).all().await?;
    /// assert!(waited.timed_out); // and `slow` goes on
    /// assert_eq!(waited.done[0].id, quick.id());
    /// assert_eq!(waited.pending, [slow.id()]);
    ///
    /// slow.send("go on").await?;
    /// let later = manager.wait(&both).after(waited.seq).any().await?;
    /// assert_eq!(later.done[0].id, slow.id()); // `quick` is known already
    /// # Ok(()) }
    /// ```
    pub fn wait(&self, tasks: &[TaskRef]) -> Waiting {
        // Tasks that live now are held on to, so that a record that is pruned meanwhile is told.
        let hold = |task: &TaskRef| task.clone().holding();
        Waiting {
            core: Arc::clone(&self.core),
            tasks: tasks.iter().map(hold).collect(),
            timeout: None,
            after: None,
            with_suspended: false,
            with_asking: false,
            tick: None,
        }
    }
}

impl Waiting {
    /// Ends the wait after this time, with what there is then. The tasks go on.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Leaves out the tasks that ended by this number, or are suspended and did nothing since: that
    /// is known. What follows an end, as a body that stops late, is no other end.
    ///
    /// With the number of an earlier [`Waited`], or of a snapshot, no end is lost in between.
    pub fn after(mut self, seq: Seq) -> Self {
        self.after = Some(seq);
        self
    }

    /// Lets a task that is suspended count like one that has settled.
    pub fn or_suspended(mut self) -> Self {
        self.with_suspended = true;
        self
    }

    /// Lets a task with an open question count like one that has settled, so that somebody can
    /// answer it; [`Waiting::after`] a number, one that has done something since.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("t").spawn(|ctx| async move {
    ///     Ok(ctx.ask("color", "Which color?").await?)
    /// });
    /// let task = task.await?;
    /// let waited = manager.wait(&[task.task()]).or_asking().any().await?;
    /// for (key, _question) in waited.asking[0].open_questions() {
    ///     task.respond(key.as_str(), "red").await?;
    /// }
    /// assert_eq!(task.await?, "red");
    /// # Ok(()) }
    /// ```
    pub fn or_asking(mut self) -> Self {
        self.with_asking = true;
        self
    }

    /// Calls `tick` again and again while it waits, in the future that waits.
    pub fn on_tick(mut self, every: Duration, tick: impl FnMut(WaitTick) + Send + 'static) -> Self {
        self.tick = Some((every.max(Duration::from_millis(1)), Box::new(tick)));
        self
    }

    /// Waits until at least one of the tasks has settled. Those that already have count at once.
    /// Without tasks it returns at once.
    ///
    /// # Errors
    /// [`WaitError::Gone`] when a task is unknown, at once, or when the manager is gone;
    /// [`WaitError::Subscribers`] when suspensions or questions are asked for and there is no
    /// room to hear of them.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn any(self) -> Result<Waited, WaitError> {
        self.run(Quorum::Any).await
    }

    /// Waits until all of the tasks have settled.
    ///
    /// # Errors
    /// [`WaitError::Gone`] when a task is unknown, at once, or when the manager is gone;
    /// [`WaitError::Subscribers`] when suspensions or questions are asked for and there is no
    /// room to hear of them.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn all(self) -> Result<Waited, WaitError> {
        self.run(Quorum::All).await
    }

    async fn run(self, quorum: Quorum) -> Result<Waited, WaitError> {
        let core = Arc::clone(&self.core);
        core.within(self.run_here(quorum)).await
    }

    async fn run_here(mut self, quorum: Quorum) -> Result<Waited, WaitError> {
        let began = self.core.hub.clock.now();
        let mut limit = self.timeout.map(|limit| Box::pin(sleep(limit)));
        let mut bell = self.tick.as_ref().map(|(every, _)| Box::pin(sleep(*every)));
        let mut parked: Option<Parked> = None;
        // Tasks of before may not be shown yet.
        tokio::select! {
            biased;
            _has_begun = self.core.hub.recovered() => {}
            () = rung(&mut limit) => {
                let pending = self.tasks.iter().map(TaskRef::id).collect();
                return Ok(Waited { pending, timed_out: true, ..Waited::default() });
            }
        }
        let mut news = self.news()?;
        loop {
            let (waited, places) = self.look()?;
            if waited.is_enough(quorum) {
                return Ok(self.told(waited));
            }
            if parked.is_none() {
                parked = self
                    .tasks
                    .iter()
                    .filter(|task| !is_settled(task))
                    .find_map(park);
            }
            tokio::select! {
                // What has settled goes before the time limit; a bell delays neither.
                biased;
                changed = change(&self.tasks, &places, quorum, &mut news) => changed?,
                () = rung(&mut limit) => {
                    return Ok(self.told(Waited { timed_out: true, ..self.look()?.0 }));
                }
                () = rung(&mut bell) => self.ring(began, &waited, &mut bell),
            }
        }
    }

    /// The body that waits hears of these ends.
    fn told(&self, waited: Waited) -> Waited {
        for record in &waited.done {
            heard(&TaskRef::new(Arc::clone(&self.core), record.id), record);
        }
        waited
    }

    /// How the tasks stand, at one number of the log, and the places of those that are pending.
    fn look(&self) -> Result<(Waited, Vec<usize>), WaitError> {
        let seq = self.core.hub.index.seq();
        let mut waited = Waited {
            seq,
            ..Waited::default()
        };
        let mut places = Vec::new();
        for (place, task) in self.tasks.iter().enumerate() {
            let (record, last) = self.record_of(task)?;
            let is_news = self.after.is_none_or(|after| last > after);
            let is_suspended = self.with_suspended && record.state == State::Suspended;
            // One whose question is known is waited for, as it goes on without it or ends.
            let is_asking = self.with_asking && is_news && !is_suspended && record.is_asking();
            if last > seq || !(record.state.is_terminal() || is_suspended || is_asking) {
                waited.pending.push(record.id);
                places.push(place);
            } else if is_asking {
                waited.asking.push(record);
            } else if is_suspended {
                waited.suspended.extend(is_news.then_some(record));
            } else {
                waited.done.extend(is_news.then_some(record));
            }
        }
        Ok((waited, places))
    }

    /// The record of a task, and the number of what it did last: of its end, once that is known
    /// here, as what follows that tells nobody of it again.
    fn record_of(&self, task: &TaskRef) -> Result<(Arc<Record>, Seq), WaitError> {
        // A task that was spawned a moment ago is in the index before its handle is out; one that
        // is pruned is only in its latch, and so is one whose id has another life since. Where the
        // index shows that life a moment before the latch is set, the latch is waited for.
        let shown = self.core.hub.index.get(task.id());
        let latched = task.live().and_then(|live| live.done.get().cloned());
        let Some(end) = latched else {
            let record = shown.ok_or(WaitError::Gone(task.id()))?;
            let last = record.seq;
            return Ok((record, last));
        };
        let is_its =
            |shown: &Arc<Record>| shown.incarnation == end.incarnation && shown.state.is_terminal();
        let last = end.seq;
        Ok((shown.filter(is_its).unwrap_or(end), last))
    }

    /// What tells of suspensions and questions, if they are asked for.
    fn news(&self) -> Result<Option<Subscription>, WaitError> {
        let mut filter = Filter::all().with_hidden();
        for (is_wanted, event) in [
            (self.with_suspended, "suspended"),
            (self.with_asking, "asked"),
        ] {
            if is_wanted {
                filter = filter.event(event);
            }
        }
        if !self.with_suspended && !self.with_asking {
            return Ok(None);
        }
        let hub = &self.core.hub;
        let news = hub.feed.subscribe(hub.index.seq(), filter);
        news.map(Some)
            .map_err(|full| WaitError::Subscribers(full.max))
    }

    fn ring(&mut self, began: Timestamp, waited: &Waited, bell: &mut Option<Pin<Box<Sleep>>>) {
        let (Some((every, tick)), Some(bell)) = (&mut self.tick, bell) else {
            return;
        };
        tick(WaitTick {
            elapsed: self.core.hub.clock.now().since(began),
            done: waited.done.len() + waited.suspended.len() + waited.asking.len(),
            pending: waited.pending.len(),
        });
        bell.set(sleep(*every));
    }
}

impl Waited {
    fn is_enough(&self, quorum: Quorum) -> bool {
        let lists = [&self.done, &self.suspended, &self.asking];
        let has_some = lists.iter().any(|list| !list.is_empty());
        self.pending.is_empty() || (quorum == Quorum::Any && has_some)
    }
}

/// Waits until it is worth to look again.
async fn change(
    tasks: &[TaskRef],
    places: &[usize],
    quorum: Quorum,
    news: &mut Option<Subscription>,
) -> Result<(), WaitError> {
    let mut pending_tasks = places.iter().filter_map(|place| tasks.get(*place));
    let settles: Vec<_> = match quorum {
        // One after the other: each has to settle anyway.
        Quorum::All if news.is_none() => pending_tasks.next().into_iter().collect(),
        Quorum::All | Quorum::Any => pending_tasks.collect(),
    };
    let mut waits: Vec<Pin<Box<dyn Future<Output = _> + Send + '_>>> = Vec::new();
    for task in settles {
        waits.push(Box::pin(settled_here(task)));
    }
    let settled = poll_fn(|cx| {
        let ready = waits.iter_mut().map(|wait| wait.as_mut().poll(cx));
        let first = ready.into_iter().find(Poll::is_ready);
        first.unwrap_or(Poll::Pending)
    });
    tokio::select! {
        biased;
        record = settled => record.map(drop),
        _ = next_of(news) => Ok(()),
    }
}

async fn rung(sleep: &mut Option<Pin<Box<Sleep>>>) {
    match sleep {
        Some(sleep) => sleep.as_mut().await,
        None => pending().await,
    }
}

async fn next_of(news: &mut Option<Subscription>) -> Option<FeedItem> {
    match news {
        Some(news) => news.next().await,
        None => pending().await,
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("tasks", &self.tasks)
            .field("timeout", &self.timeout)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
