//! Waiting until nothing of a group lives.
//!
//! *Not here*: waiting for tasks that are named (`waiting`).

use std::collections::BTreeSet;

use super::manager::Manager;
use super::subscribe::{Since, SubscribeError};
use super::wait::park;
use crate::feed::FeedItem;
use crate::kernel::{Event, Filter, TaskId, What};

impl Manager {
    /// Waits until no live task of a group is left: at once if there is none. Conditions on states
    /// and events are left out; a task of the group that is spawned meanwhile is waited for, too,
    /// and one that leaves it, as it is transferred or detached, no longer. Inside a body this
    /// counts as waiting, as [`TaskRef::settled`](super::TaskRef::settled) does.
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
    /// [`SubscribeError::Stopped`]: the manager stopped, and tasks of the group have not settled.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn group_settled(&self, group: Filter) -> Result<(), SubscribeError> {
        let group = group.of_tasks();
        // Of all tasks: what a task that leaves the group does is no event of the group.
        let mut changes = Filter::all().with_hidden();
        for event in ["accepted", "settled", "detached", "transferred"] {
            changes = changes.event(event);
        }
        // Tasks of before are shown then.
        if !self.core.hub.recovered().await {
            return Err(SubscribeError::Stopped);
        }
        'anew: loop {
            let (seq, records) = self.core.hub.index.snapshot(&group);
            let mut live: BTreeSet<_> = records.iter().map(|record| record.id).collect();
            if live.is_empty() {
                return Ok(());
            }
            let _parked = live.iter().find_map(|id| park(&self.task(*id)));
            // What happened since the look is told first.
            let mut feed = self.subscribe_to(Since::Seq(seq), changes.clone()).await?;
            while !live.is_empty() {
                match feed.next().await {
                    Some(FeedItem::Event(event)) => self.follow(&group, &event, &mut live),
                    Some(FeedItem::Snapshot { .. }) => {}
                    Some(FeedItem::Lagged { .. }) => continue 'anew,
                    // Nothing more is told: what the index shows is how it stays.
                    Some(FeedItem::Stopped) | None if self.has_live(&group) => {
                        return Err(SubscribeError::Stopped);
                    }
                    Some(FeedItem::Stopped) | None => break,
                }
            }
            return Ok(());
        }
    }

    fn has_live(&self, group: &Filter) -> bool {
        let (_, live) = self.core.hub.index.snapshot(group);
        !live.is_empty()
    }

    /// Keeps the live tasks of a group up to date.
    fn follow(&self, group: &Filter, event: &Event, live: &mut BTreeSet<TaskId>) {
        if event.state.is_terminal() {
            live.remove(&event.task);
        } else if group.matches_event(event) {
            live.insert(event.task);
        }
        if matches!(event.what, What::Detached | What::Transferred { .. }) {
            // All below it has moved with it.
            live.retain(|id| self.get(*id).is_some_and(|record| group.matches(&record)));
        }
    }
}
