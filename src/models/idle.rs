//! The loop over turns: a turn, then whatever ended meanwhile, then the next turn, until nothing is
//! left to wait for.
//!
//! # Invariants
//! 1. An end is told to one turn, once; ends that come together are told together.
//! 2. Idle time counts between turns only.
//! 3. Of the loops of one scope, or below one task, the newest one goes on.
//! 4. A task that leaves the scope, or what is below the task, is waited for no longer.
//!
//! *Not here*: the text that tells of ends (`texts`).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::texts::continuation;
use crate::api::{Life, Manager, Since, SubscribeError, current, heard, park};
use crate::feed::{FeedItem, Subscription};
use crate::index::Page;
use crate::kernel::{
    Body, Epoch, Event, Filter, Outcome, Rarely, Record, Scope, State, TaskId, What,
};

/// What a turn is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number, from 1 on; the first one has no news.
    pub number: u32,
    /// What to tell the model; `None` in the first turn.
    pub continuation: Option<String>,
    /// The tasks that have ended or were suspended since the turn before. Of a life whose record
    /// was gone by then, pruned or followed by the next life of its id, here is what the event of
    /// its end said: not why it was stopped nor its progress, and every date is that of the end.
    pub news: Vec<Arc<Record>>,
}

/// Why a loop over turns came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// No task is left that could end.
    Idle,
    /// Tasks live, but nothing came for so long.
    TimedOut,
    /// As many turns as are allowed were taken.
    TurnsSpent,
    /// A newer loop over the same tasks goes on instead.
    Replaced,
    /// The manager has stopped.
    Stopped,
}

/// A loop over turns: the first one at once, further ones when tasks of the scope have news.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::models::{Pause, UntilIdle};
/// use understory::{Manager, Scope};
///
/// let manager = Manager::in_memory();
/// let scope = manager.scope("thread-42");
/// let pause = UntilIdle::new(Scope::new("thread-42")?)
///     .run(&manager, |turn| async {
///         match turn.continuation {
///             // Here a model would be asked, and one of its tool calls would become a task.
///             None => _ = scope.task("sum").spawn(|_| async { Ok(5) }).await?,
///             Some(text) => assert!(text.contains("Completed:\n- sum")),
///         }
///         Ok::<(), understory::SpawnError>(())
///     })
///     .await??;
/// assert_eq!(pause, Pause::Idle);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until `run`"]
pub struct UntilIdle {
    scope: Scope,
    below: Option<TaskId>,
    idle_max: Duration,
    turns_max: u32,
    after_timeouts: bool,
}

impl UntilIdle {
    /// A loop over the tasks of this scope.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            below: None,
            idle_max: Duration::from_mins(5),
            turns_max: 32,
            after_timeouts: false,
        }
    }

    /// Leaves out the tasks of the scope that are not below this one, and this one itself. So an
    /// agent waits for what it has spawned, and not for what others of its scope do.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # use understory::models::{Pause, UntilIdle};
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let other = scope.task("other").spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) });
    /// let _other = other.await?;
    /// let lead = scope.task("lead").spawn(|ctx| async move {
    ///     ctx.task("sum").spawn(|_| async { Ok(5) }).await?;
    ///     let own = UntilIdle::new(ctx.scope()).below(ctx.id());
    ///     let pause = own.run(&ctx.manager(), |_| async { Ok::<_, SpawnError>(()) }).await??;
    ///     Ok(pause == Pause::Idle)
    /// });
    /// # use understory::SpawnError;
    /// assert!(lead.await?.await?);
    /// # Ok(()) }
    /// ```
    pub fn below(mut self, task: TaskId) -> Self {
        self.below = Some(task);
        self
    }

    /// Sets how long it waits for news between two turns (5 minutes). Turns themselves take as long
    /// as they take.
    pub fn idle_max(mut self, time: Duration) -> Self {
        self.idle_max = time;
        self
    }

    /// Bounds the turns, the first one among them (32).
    pub fn turns_max(mut self, turns: u32) -> Self {
        self.turns_max = turns.max(1);
        self
    }

    /// Lets a task that ran out of time lead to a turn, too. By default it is told only along with
    /// other news.
    pub fn after_timeouts(mut self) -> Self {
        self.after_timeouts = true;
        self
    }

    /// Takes turns until nothing is left to wait for, and says why it came to rest.
    ///
    /// Inside a body it counts as waiting between two turns: the slots of the body's limits are
    /// lent to others meanwhile.
    ///
    /// The outer result is about hearing of tasks, the inner one is the first error of a turn,
    /// which ends the loop.
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`]: it needs a subscription.
    ///
    /// # Cancel safety
    /// Dropping it drops the turn that is being taken.
    pub async fn run<E, F, Fut>(
        self,
        manager: &Manager,
        mut take_turn: F,
    ) -> Result<Result<Pause, E>, SubscribeError>
    where
        F: FnMut(Turn) -> Fut,
        Fut: Future<Output = Result<(), E>>,
    {
        let place = manager.take_place((self.scope.clone(), self.below));
        let mut ears = Ears::open(manager, &self).await?;
        let mut turn = Turn {
            number: 1,
            continuation: None,
            news: Vec::new(),
        };
        loop {
            let number = turn.number;
            let taken = place.within(Box::pin(take_turn(turn))).await;
            match taken {
                None => return Ok(Ok(Pause::Replaced)),
                Some(Err(error)) => return Ok(Err(error)),
                Some(Ok(())) => {}
            }
            if number == self.turns_max {
                return Ok(Ok(Pause::TurnsSpent));
            }
            let next = place.within(ears.news()).await;
            let news = match next {
                None => return Ok(Ok(Pause::Replaced)),
                Some(News::Rest(pause)) => return Ok(Ok(pause)),
                Some(News::Ends(news)) => news,
            };
            turn = Turn {
                number: number + 1,
                continuation: continuation(&news),
                news,
            };
        }
    }
}

/// The events that change what there is to wait for or to tell.
const HEARD: [&str; 6] = [
    "accepted",
    "suspended",
    "resumed",
    "settled",
    "detached",
    "transferred",
];

enum News {
    Ends(Vec<Arc<Record>>),
    Rest(Pause),
}

/// What the loop hears of its tasks.
struct Ears<'a> {
    manager: &'a Manager,
    wishes: &'a UntilIdle,
    feed: Subscription,
    live: BTreeSet<TaskId>,
    ends: BTreeMap<Life, Arc<Record>>,
    /// The task whose body runs the loop, and those above it: they are not waited for.
    above: BTreeSet<TaskId>,
}

impl<'a> Ears<'a> {
    async fn open(manager: &'a Manager, wishes: &'a UntilIdle) -> Result<Self, SubscribeError> {
        let mut filter = Filter::all().scope(wishes.scope.clone());
        for event in HEARD {
            filter = filter.event(event);
        }
        let mut above = BTreeSet::new();
        let mut at = current().map(|here| here.id());
        while let Some(id) = at {
            above.insert(id);
            at = manager.get(id).and_then(|record| record.parent);
        }
        Ok(Self {
            manager,
            wishes,
            feed: manager.subscribe_to(Since::Snapshot, filter).await?,
            live: BTreeSet::new(),
            ends: BTreeMap::new(),
            above,
        })
    }

    /// What happened since the last turn, as soon as there is something worth another one.
    async fn news(&mut self) -> News {
        let mut limit = pin!(tokio::time::sleep(self.wishes.idle_max));
        let mut parked = None;
        loop {
            // All that was decided by now, so that a task of the turn before is known.
            let now = self.manager.seq();
            while let Some(item) = self.feed.next_by(now).await {
                if item == FeedItem::Stopped {
                    return News::Rest(Pause::Stopped);
                }
                self.hear(item);
            }
            if self.are_worth_a_turn() {
                let ends: Vec<_> = mem::take(&mut self.ends).into_values().collect();
                for end in &ends {
                    heard(&self.manager.task(end.id), end);
                }
                return News::Ends(ends);
            }
            if self.live.is_empty() {
                return News::Rest(Pause::Idle);
            }
            // A body that waits here lends its slots, as where it awaits one task.
            let first = self.live.first().map(|id| self.manager.task(*id));
            parked = parked.or_else(|| first.as_ref().and_then(park));
            tokio::select! {
                biased;
                item = self.feed.next() => match item {
                    None | Some(FeedItem::Stopped) => return News::Rest(Pause::Stopped),
                    Some(item) => self.hear(item),
                },
                () = &mut limit => return News::Rest(Pause::TimedOut),
            }
        }
    }

    fn are_worth_a_turn(&self) -> bool {
        let is_worth =
            |end: &Arc<Record>| end.state != State::TimedOut || self.wishes.after_timeouts;
        self.ends.values().any(is_worth)
    }

    fn hear(&mut self, item: FeedItem) {
        match item {
            FeedItem::Snapshot { records, .. } => {
                let is_meant =
                    |record: &&Arc<Record>| self.is_meant(record.id, record.scope(), record.parent);
                let meant = records.iter().filter(is_meant);
                self.live = meant.map(|record| record.id).collect();
            }
            FeedItem::Event(event) => self.note(&event),
            FeedItem::Stopped => {}
            FeedItem::Lagged { missed, resume_at } => {
                let heard = resume_at.0.saturating_sub(missed + 1);
                self.look_again(heard);
            }
        }
    }

    fn note(&mut self, event: &Event) {
        let task = event.task;
        if matches!(event.what, What::Detached | What::Transferred { .. }) {
            self.sort_out(event);
            return;
        }
        // The index is ahead of what is heard: it may show the next life of the id, or nothing.
        let is_its = |record: &Arc<Record>| record.incarnation == event.incarnation;
        let record = self.manager.get(task).filter(is_its);
        if !self.live.contains(&task) && !self.concerns(event, record.as_deref()) {
            return;
        }
        let life = (task, event.incarnation);
        if matches!(event.what, What::Accepted(_)) {
            self.live.insert(task);
        } else if matches!(event.what, What::Resumed) {
            self.ends.remove(&life);
        } else if let What::Settled { outcome, .. } = &event.what {
            self.live.remove(&task);
            let end = record.unwrap_or_else(|| Arc::new(told_by(event, outcome)));
            self.ends.insert(life, end);
        } else if let Some(record) = record.filter(|record| record.state == State::Suspended) {
            self.ends.insert(life, record);
        }
    }

    /// Whether an event is of a task that the loop is about; where its record is gone, an event of
    /// its beginning says so.
    fn concerns(&self, event: &Event, record: Option<&Record>) -> bool {
        if let Some(record) = record {
            return self.is_meant(record.id, record.scope(), record.parent);
        }
        let is_first = matches!(event.what, What::Accepted(_));
        is_first && self.is_meant(event.task, &event.spec.scope, event.spec.parent)
    }

    /// Where a task belongs has changed, and with it that of all below it.
    fn sort_out(&mut self, event: &Event) {
        if !event.state.is_terminal() {
            self.live.insert(event.task);
        }
        let (mut live, mut ends) = (mem::take(&mut self.live), mem::take(&mut self.ends));
        // Of another one whose record is gone the end is still to be told.
        let is_ours = |id: &TaskId| {
            self.manager.get(*id).map_or(*id != event.task, |record| {
                self.is_meant(record.id, record.scope(), record.parent)
            })
        };
        live.retain(is_ours);
        ends.retain(|(id, _), end| end.state.is_terminal() || is_ours(id));
        self.live = live;
        self.ends = ends;
    }

    /// Whether a task of this scope and parent is one that the loop is about.
    fn is_meant(&self, id: TaskId, scope: &Scope, parent: Option<TaskId>) -> bool {
        if self.above.contains(&id) || *scope != self.wishes.scope {
            return false;
        }
        let Some(top) = self.wishes.below else {
            return true;
        };
        let mut above = parent;
        while let Some(id) = above {
            if id == top {
                return true;
            }
            above = self.manager.get(id).and_then(|record| record.parent);
        }
        false
    }

    /// Events are gone: the records say what they said.
    fn look_again(&mut self, heard: u64) {
        let filter = Filter::all().scope(self.wishes.scope.clone());
        let first = Page::default().oldest_first();
        let mut page = first;
        self.live.clear();
        loop {
            let listing = self.manager.list(&filter, &page);
            for record in listing.records {
                let is_over = record.state.is_terminal();
                if !self.is_meant(record.id, record.scope(), record.parent) {
                    continue;
                }
                if !is_over {
                    self.live.insert(record.id);
                }
                if record.seq.0 > heard && (is_over || record.state == State::Suspended) {
                    self.ends.insert((record.id, record.incarnation), record);
                }
            }
            match listing.next {
                Some(next) => page = first.after(next),
                None => return,
            }
        }
    }
}

/// What the event of an end says of its task.
fn told_by(event: &Event, outcome: &Arc<Outcome>) -> Record {
    let spec = Arc::clone(&event.spec);
    Record {
        id: event.task,
        parent: spec.parent,
        spawned_by: spec.parent,
        spec,
        root: event.root,
        depth: 0,
        state: event.state,
        wait: None,
        incarnation: event.incarnation,
        epoch: Epoch::default(),
        attempt: event.attempt,
        restarts: 0,
        body: Body::Absent,
        inline: false,
        stop: None,
        conclusion: None,
        outcome: Some(Arc::clone(outcome)),
        progress: None,
        undelivered: 0,
        created_at: event.at,
        started_at: None,
        waits_since: None,
        ended_at: Some(event.at),
        events: event.task_seq,
        seq: event.seq,
        facts: Rarely::not(),
    }
}
