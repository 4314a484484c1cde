//! Removing the records of settled tasks: those whose time is over, and those the host picks.

use super::control::{self, ControlError};
use super::manager::Manager;
use crate::index::{PAGE_MAX, Page};
use crate::kernel::{Control, Controlled, Filter, Removed, Seq, Timestamp};

impl Manager {
    /// Removes every record whose time is over, as [`Builder::retain`](crate::Builder::retain)
    /// says, and tells how many of which state. The manager does so by itself, too, in small
    /// batches.
    ///
    /// # Errors
    /// [`ControlError`] when the manager is gone or was started anew.
    ///
    /// # Cancel safety
    /// When it is dropped, some of them may have been removed.
    pub async fn cleanup(&self) -> Result<Removed, ControlError> {
        let mut all = Removed::new();
        loop {
            let removed = self.ask_removed(Control::Sweep).await?;
            if removed.is_empty() {
                return Ok(all);
            }
            add(&mut all, removed);
        }
    }

    /// Removes the records of settled tasks that match, ended before this time, are granted to no
    /// other scope, and did not change after the event `up_to`: the number that the slowest reader
    /// of the feed has seen. Tells how many of which state.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Filter, Manager, State};
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(()) }).await?;
    /// let record = task.settled().await?;
    /// let removed = manager.prune(manager.now(), &Filter::all(), record.seq).await?;
    /// assert_eq!(removed[&State::Completed], 1);
    /// assert!(manager.get(record.id).is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ControlError`] when the manager is gone or was started anew.
    ///
    /// # Cancel safety
    /// When it is dropped, some of them may have been removed.
    pub async fn prune(
        &self,
        before: Timestamp,
        filter: &Filter,
        up_to: Seq,
    ) -> Result<Removed, ControlError> {
        let mut all = Removed::new();
        let mut page = Page::first(PAGE_MAX).oldest_first();
        loop {
            let listing = self.list(filter, &page);
            let mut chosen = Vec::new();
            for record in &listing.records {
                let is_old = record.ended_at.is_some_and(|ended| ended < before);
                if is_old && record.seq <= up_to && record.grants.is_none() {
                    chosen.push((record.id, record.seq));
                }
            }
            if !chosen.is_empty() {
                add(&mut all, self.ask_removed(Control::Remove(chosen)).await?);
            }
            let Some(next) = listing.next else {
                return Ok(all);
            };
            page = page.after(next);
        }
    }

    /// The time as this manager has it.
    pub fn now(&self) -> Timestamp {
        self.core.hub.clock.now()
    }

    async fn ask_removed(&self, ask: Control) -> Result<Removed, ControlError> {
        let Controlled::Removed(removed) = control::ask(&self.core, ask).await? else {
            unreachable!("a removal is answered as one");
        };
        Ok(removed)
    }
}

fn add(all: &mut Removed, removed: Removed) {
    for (state, count) in removed {
        *all.entry(state).or_default() += count;
    }
}
