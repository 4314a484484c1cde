//! Looking: lists, one task, what happened.
//!
//! # Invariants
//! 1. A stream of events tells each number of the log that is within reach once and in order, or
//!    says how many are gone.
//!
//! *Not here*: how it is printed (`verbs`).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use understory::{Event, FeedItem, Filter, Kind, Seq, Since, TaskId};

use super::{FrontDesk, while_heard};
use crate::run::history::Story;
use crate::run::reach;
use crate::socket::{ListAsk, Reply, Shape, Until};

impl FrontDesk<'_> {
    pub(super) fn show(&self, target: &str) -> Result<Value, String> {
        let record = self.reach().get(target)?;
        Ok(self.shown(&record))
    }

    pub(super) async fn list(&self, ask: &ListAsk, reply: &Reply) -> Result<Value, String> {
        let filter = filter(ask)?;
        let ids: Vec<TaskId> = match ask.shape {
            Shape::Rows => self.rows(filter),
            Shape::Tree => self.tree(filter),
        };
        // The records are read one by one, so that a slow reader holds ids and nothing else.
        for id in ids {
            let Some(record) = self.manager.get(id) else {
                continue;
            };
            if reply.item(self.shown(&record)).await.is_err() {
                break;
            }
        }
        Ok(json!({}))
    }

    /// What is below the caller and matches.
    fn rows(&self, filter: Filter) -> Vec<TaskId> {
        let own = self.caller.map(understory::Context::id);
        let records = self.reach().all(filter).map(|record| record.id);
        records.filter(|id| Some(*id) != own).collect()
    }

    /// What matches, and what is above it up to the caller; those above come first.
    fn tree(&self, filter: Filter) -> Vec<TaskId> {
        let reach = self.reach();
        let mut ids = BTreeSet::new();
        for record in reach.all(filter) {
            ids.insert(record.id);
            for above in reach.above(&record) {
                let is_within = self.manager.get(above).is_some_and(|it| reach.holds(&it));
                if !is_within || !ids.insert(above) {
                    break;
                }
            }
        }
        ids.into_iter().collect()
    }

    pub(super) async fn events(
        &self,
        since: Option<u64>,
        until: Until,
        reply: &Reply,
    ) -> Result<Value, String> {
        let newest = self.newest().await?;
        let from = match (since, until) {
            (Some(seq), _) => Seq(seq),
            (None, Until::Now) => Seq(0),
            (None, Until::End) => newest,
        };
        let feed = self.manager.subscribe_to(Since::Seq(from), Filter::all());
        let feed = feed.await.map_err(|error| error.to_string())?;
        let mut story = self.executor.history().told_by(feed);
        let last = (until == Until::Now).then_some(newest);
        while_heard(reply, self.tell(&mut story, last, reply)).await?;
        Ok(json!({ "seq": story.seq().0.max(from.0) }))
    }

    /// How far the log is.
    async fn newest(&self) -> Result<Seq, String> {
        // A wait for nothing ends at once and says so.
        let waited = self.manager.wait(&[]).any().await;
        Ok(waited.map_err(|error| error.to_string())?.seq)
    }

    async fn tell(
        &self,
        story: &mut Story,
        last: Option<Seq>,
        reply: &Reply,
    ) -> Result<(), String> {
        while last.is_none_or(|last| story.seq() < last) {
            let item = match story.next().await {
                Some(FeedItem::Event(event)) => self.event(&event),
                Some(FeedItem::Lagged { missed, .. }) => {
                    Some(json!({ "event": "lagged", "missed": missed }))
                }
                Some(FeedItem::Snapshot { .. }) => None,
                Some(FeedItem::Stopped) | None => break,
            };
            if let Some(item) = item
                && reply.item(item).await.is_err()
            {
                break;
            }
        }
        Ok(())
    }

    /// An event as it is told, if it is within reach.
    fn event(&self, event: &Event) -> Option<Value> {
        let reach = self.reach();
        let record = self.manager.get(event.task);
        let is_within = match &record {
            Some(record) => reach.holds(record),
            // Of a task that is not kept any more nobody knows where it was.
            None => self.caller.is_none(),
        };
        is_within.then(|| {
            let mut shown = event.to_json();
            shown["path"] = json!(self.manager.task(event.task).path());
            shown
        })
    }
}

/// What a list is narrowed to.
///
/// # Errors
/// Which states and kinds there are.
pub(crate) fn filter(ask: &ListAsk) -> Result<Filter, String> {
    let mut filter = Filter::all();
    for name in &ask.states {
        filter = filter.state(reach::state(name)?);
    }
    if let Some(kind) = &ask.kind {
        filter = filter.kind(Kind::new(kind).map_err(|error| error.to_string())?);
    }
    for (key, value) in &ask.labels {
        filter = filter.label(key, value);
    }
    Ok(filter)
}
