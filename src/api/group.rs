//! Waiting until nothing of a group lives.
//!
//! *Not here*: waiting for tasks that are named (`waiting`).

use std::collections::BTreeSet;

use super::manager::Manager;
use super::subscribe::{Since, SubscribeError};
use crate::feed::FeedItem;
use crate::kernel::{Filter, What};

impl Manager {
    /// Waits until no live task of a group is left: at once if there is none. Conditions on states
    /// and events are left out; a task of the group that is spawned meanwhile is waited for, too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Filter, Manager};
    /// # let manager = Manager::in_memory();
    /// for name in ["a", "b"] {
    ///     let task = manager.scope("s").task(name).label("checkpoint", "7");
    ///     task.spawn(|_| async { Ok(()) }).await?;
    /// }
    /// manager.group_settled(Filter::all().label("checkpoint", "7")).await?;
    /// assert_eq!(manager.live(), 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`]: it needs a subscription of its own while it waits.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn group_settled(&self, group: Filter) -> Result<(), SubscribeError> {
        let group = group.of_tasks().event("accepted").event("settled");
        'anew: loop {
            let mut feed = self.subscribe_to(Since::Snapshot, group.clone()).await?;
            let mut live = BTreeSet::new();
            loop {
                match feed.next().await {
                    Some(FeedItem::Snapshot { records, .. }) => {
                        live.extend(records.iter().map(|record| record.id));
                    }
                    Some(FeedItem::Event(event)) => {
                        if matches!(event.what, What::Accepted(_)) {
                            live.insert(event.task);
                        } else {
                            live.remove(&event.task);
                        }
                    }
                    Some(FeedItem::Lagged { .. }) => continue 'anew,
                    Some(FeedItem::Stopped) | None => return Ok(()),
                }
                if live.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}
