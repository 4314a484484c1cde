//! What happened in a run, in the order of the numbers of its log: from the feed, and where that
//! has passed something over, from the file.
//!
//! # Invariants
//! 1. Each number is told once and in order, or counted as missed. Of a run with a file only what
//!    that does not keep any more is missed, however slow the reader is.
//!
//! *Not here*: who may hear of it (`calls`), how it is shown (`show`).

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use understory::store::StoreError;
use understory::store::sqlite::{OpenError, Reader};
use understory::{Event, FeedItem, Seq, Subscription};

/// Events that are read at once: a line of output has up to 64 KiB.
const PAGE: usize = 256;

/// Where the events of a run are kept; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct History {
    file: Option<Arc<Reader>>,
}

impl History {
    /// That of the run with this file; without one, what the feed holds is all there is.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, OpenError> {
        let file = file.map(Reader::open).transpose()?;
        Ok(Self {
            file: file.map(Arc::new),
        })
    }

    /// What comes after the number that a subscription begins with.
    pub(super) fn told_by(&self, feed: Subscription) -> Story {
        let seq = feed.seq();
        Story {
            history: self.clone(),
            feed,
            seq,
            gap_end: seq,
            page: VecDeque::new(),
        }
    }

    async fn after(&self, seq: Seq) -> Result<Vec<Arc<Event>>, StoreError> {
        let Some(file) = self.file.clone() else {
            return Ok(Vec::new());
        };
        let read = tokio::task::spawn_blocking(move || file.events(seq, PAGE));
        // It ends otherwise only with the runtime.
        read.await.unwrap_or_else(|_| Ok(Vec::new()))
    }
}

/// A subscription without its gaps.
#[derive(Debug)]
pub(super) struct Story {
    history: History,
    feed: Subscription,
    /// The last number that was told or is missed.
    seq: Seq,
    /// Up to here the feed has passed over what comes after `seq`.
    gap_end: Seq,
    /// What was read of the gap, and not told.
    page: VecDeque<Arc<Event>>,
}

impl Story {
    /// How far it is told.
    pub(super) fn seq(&self) -> Seq {
        self.seq
    }

    /// The next item, or `None` when nothing more will come.
    ///
    /// # Cancel safety
    /// A dropped future has taken nothing; the next call goes on where it was.
    pub(super) async fn next(&mut self) -> Option<FeedItem> {
        loop {
            if self.seq < self.gap_end {
                return Some(self.next_of_gap().await);
            }
            match self.feed.next().await? {
                FeedItem::Lagged { resume_at, .. } => self.gap_end = Seq(resume_at.0 - 1),
                item @ (FeedItem::Event(_) | FeedItem::Snapshot { .. } | FeedItem::Stopped) => {
                    self.seq = self.feed.seq();
                    self.gap_end = self.seq;
                    return Some(item);
                }
            }
        }
    }

    async fn next_of_gap(&mut self) -> FeedItem {
        if self.page.is_empty() {
            // What cannot be read is missed, like what is not kept.
            let page = self.history.after(self.seq).await.unwrap_or_default();
            let page = page.into_iter();
            self.page = page.take_while(|event| event.seq <= self.gap_end).collect();
        }
        let due = Seq(self.seq.0 + 1);
        if let Some(event) = self.page.pop_front_if(|event| event.seq == due) {
            self.seq = due;
            return FeedItem::Event(event);
        }
        let after_gap = Seq(self.gap_end.0 + 1);
        let resume_at = self.page.front().map_or(after_gap, |first| first.seq);
        let missed = resume_at.0 - due.0;
        self.seq = Seq(resume_at.0 - 1);
        FeedItem::Lagged { missed, resume_at }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use understory::store::sqlite::Options;
    use understory::{Manager, Since};

    use super::*;

    /// How many of the first numbers are missed; the others are told, up to this one.
    async fn missed_by(history: &History, feed: Subscription, newest: Seq) -> u64 {
        let mut story = history.told_by(feed);
        let mut all_missed = 0;
        while story.seq() < newest {
            let before = story.seq();
            match story.next().await.expect("the manager goes on") {
                FeedItem::Event(event) => assert_eq!(event.seq.0, before.0 + 1),
                FeedItem::Lagged { missed, .. } => {
                    assert_eq!(before.0, all_missed, "what is missed comes first");
                    all_missed += missed;
                    assert_eq!(story.seq().0, all_missed);
                }
                item @ (FeedItem::Snapshot { .. } | FeedItem::Stopped) => panic!("{item:?}"),
            }
        }
        all_missed
    }

    #[tokio::test]
    async fn file_tells_what_the_feed_has_passed_over_and_what_neither_has_is_counted() {
        let folder = tempfile::tempdir().expect("there is a temporary directory");
        let path = folder.path().join("run.db");
        let options = Options::default().history_max(8);
        let builder = Manager::builder().feed_events_max(4);
        let manager = builder.open_with(&path, options).await;
        let manager = manager.expect("the file is new");
        for _ in 0..10 {
            let task = manager.scope("run").task("a").spawn(|_| async { Ok(()) });
            let ended = task.await.expect("it is taken").settled().await;
            ended.expect("it ends");
        }
        let newest = manager.wait(&[]).any().await.expect("it goes on").seq;
        let feed = || manager.subscribe(Since::Seq(Seq(0)));

        let without = History::open(None).expect("there is nothing to open");
        let feed_only = missed_by(&without, feed().await.expect("there is room"), newest).await;
        let with = History::open(Some(&path)).expect("it is there");
        let both = missed_by(&with, feed().await.expect("there is room"), newest).await;

        assert_eq!(feed_only, newest.0 - 4);
        assert!(0 < both && both <= newest.0 - 8, "{both} of {newest:?}");
        drop(manager.shutdown(Duration::ZERO).await);
    }
}
