//! Subscribing to lifecycle events: a snapshot and everything after it, or from a number on.

use super::manager::Manager;
use super::scope::ScopeRef;
use crate::feed::Subscription;
use crate::kernel::{Filter, InvalidText, Seq};

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With the live tasks as they are, then every event after that.
    Snapshot,
    /// With the event after this number; `Lagged` comes first if it is no longer kept.
    Seq(Seq),
    /// With the next event.
    Now,
}

/// Why a subscription was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// There are too many already.
    #[error("{0} subscriptions exist, and no more are allowed; drop one or raise subscribers_max")]
    TooMany(usize),
    /// The manager has stopped before what was waited for: it left its tasks as they are, it has
    /// failed, or its store is gone.
    #[error("the manager has stopped")]
    Stopped,
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
}

impl Manager {
    /// Subscribes to the events of all tasks.
    ///
    /// The numbers of a subscription have no gap, or a `Lagged` says how many are missing. A
    /// subscriber that does not read delays nobody. Dropping the subscription ends it. While a
    /// manager that was just built reads its store, [`Since::Now`] and [`Since::Snapshot`] wait.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::{FeedItem, Manager, Since};
    ///
    /// let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("t")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    ///     .await?;
    /// let mut feed = manager.subscribe(Since::Snapshot).await?;
    /// let Some(FeedItem::Snapshot { seq, records }) = feed.next().await else {
    ///     panic!("the snapshot comes first")
    /// };
    /// assert_eq!(records[0].id, task.id());
    ///
    /// task.send("go on").await?;
    /// while let Some(FeedItem::Event(event)) = feed.next().await {
    ///     assert!(event.seq > seq);
    ///     if event.what.name() == "settled" {
    ///         break;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`] at the bound; [`SubscribeError::Stopped`] when the manager ended
    /// before it had read its store.
    ///
    /// # Cancel safety
    /// Nothing is subscribed when it is dropped.
    pub async fn subscribe(&self, since: Since) -> Result<Subscription, SubscribeError> {
        self.subscribe_to(since, Filter::all()).await
    }

    /// Subscribes to the events that match. A filter drops events, never numbers: the
    /// [`seq`](Subscription::seq) of the subscription passes those that it left out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::{FeedItem, Filter, Manager, Since};
    ///
    /// let manager = Manager::in_memory();
    /// let mut ends = manager.subscribe_to(Since::Now, Filter::all().event("settled")).await?;
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(()) }).await?;
    /// let Some(FeedItem::Event(event)) = ends.next().await else { panic!("an event") };
    /// assert_eq!(event.task, task.id());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`] at the bound; [`SubscribeError::Stopped`] when the manager ended
    /// before it had read its store.
    ///
    /// # Cancel safety
    /// Nothing is subscribed when it is dropped.
    pub async fn subscribe_to(
        &self,
        since: Since,
        filter: Filter,
    ) -> Result<Subscription, SubscribeError> {
        let hub = &self.core.hub;
        let subscribe = |after, filter| {
            let subscription = hub.feed.subscribe(after, filter);
            subscription.map_err(|full| SubscribeError::TooMany(full.max))
        };
        // Until then what was before is still to come, and no task of it is shown.
        if !matches!(since, Since::Seq(_)) && !hub.recovered().await {
            return Err(SubscribeError::Stopped);
        }
        match since {
            Since::Seq(seq) => subscribe(seq, filter),
            Since::Now => subscribe(hub.index.seq(), filter),
            Since::Snapshot => {
                let (seq, records) = hub.index.snapshot(&filter);
                Ok(subscribe(seq, filter)?.with_snapshot(seq, records))
            }
        }
    }
}

impl ScopeRef {
    /// Subscribes to the events of this scope.
    ///
    /// # Errors
    /// [`SubscribeError`], as for [`Manager::subscribe`].
    ///
    /// # Cancel safety
    /// Nothing is subscribed when it is dropped.
    pub async fn subscribe(&self, since: Since) -> Result<Subscription, SubscribeError> {
        let scope = self.scope.clone()?;
        let manager = Manager::over(std::sync::Arc::clone(&self.core));
        manager
            .subscribe_to(since, Filter::all().scope(scope))
            .await
    }
}
