//! What happened in a run, in the order of the numbers of its log: from the feed, and where that
//! has passed something over, from the file.
//!
//! # Invariants
//! 1. Each number is told once and in order, or counted as missed. Of a run with a file only what
//!    that does not keep any more is missed, however slow the reader is.
//! 2. The file is open only while a page is read, and never while the history is held: whoever
//!    writes it can be the last to close it, and only then all is in it and nothing in its log.
//!
//! *Not here*: who may hear of it (`calls`), how it is shown (`show`).

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::{JoinHandle, spawn_blocking};
use understory::store::sqlite::Reader;
use understory::{Event, FeedItem, Seq, Subscription};

/// Events that are read at once: a line of output has up to 64 KiB.
const PAGE: usize = 256;

/// Where the events of a run are kept; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct History {
    file: Option<Arc<Path>>,
    /// Shared by those who read the file.
    reads: Arc<RwLock<()>>,
}

impl History {
    /// That of the run with this file; without one, what the feed holds is all there is.
    pub(super) fn of(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Arc::from),
            reads: Arc::default(),
        }
    }

    /// Lets nobody read the file until this is dropped.
    pub(super) async fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.reads.write().await
    }

    /// What comes after the number that a subscription begins with.
    pub(super) fn told_by(&self, feed: Subscription) -> Story {
        let seq = feed.seq();
        Story {
            history: self.clone(),
            feed,
            read: None,
            seq,
            gap_end: seq,
            page: VecDeque::new(),
        }
    }
}

fn page_after(file: &Path, seq: Seq) -> Option<Vec<Arc<Event>>> {
    Reader::open(file).ok()?.events(seq, PAGE).ok()
}

/// A subscription without its gaps.
#[derive(Debug)]
pub(super) struct Story {
    history: History,
    feed: Subscription,
    /// A page of the file, as soon as it is read.
    read: Option<JoinHandle<Vec<Arc<Event>>>>,
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
        if self.page.is_empty()
            && let Some(file) = &self.history.file
        {
            let read = match &mut self.read {
                Some(read) => read,
                none => {
                    let (file, after) = (Arc::clone(file), self.seq);
                    let right = Arc::clone(&self.history.reads).read_owned().await;
                    none.insert(spawn_blocking(move || {
                        let page = page_after(&file, after);
                        drop(right);
                        // What cannot be read is missed, like what is not kept.
                        page.unwrap_or_default()
                    }))
                }
            };
            // It ends otherwise only with the runtime.
            let page = read.await.unwrap_or_default().into_iter();
            self.read = None;
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
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use understory::store::sqlite::Options;
    use understory::{Manager, Since};

    use super::*;
    use crate::records::tests::private_folder;

    /// A manager that has run some tasks and whose feed holds four events, and the newest number.
    async fn ten_tasks(path: &Path, options: Options) -> (Manager, Seq) {
        let builder = Manager::builder().feed_events_max(4);
        let manager = builder.open_with(path, options).await;
        let manager = manager.expect("the file is new");
        for _ in 0..10 {
            let task = manager.scope("run").task("a").spawn(|_| async { Ok(()) });
            let ended = task.await.expect("it is taken").settled().await;
            ended.expect("it ends");
        }
        let newest = manager.wait(&[]).any().await.expect("it goes on").seq;
        (manager, newest)
    }

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
        let folder = private_folder();
        let path = folder.path().join("run.db");
        let (manager, newest) = ten_tasks(&path, Options::default().history_max(8)).await;
        let feed = || manager.subscribe(Since::Seq(Seq(0)));

        let without = History::of(None);
        let feed_only = missed_by(&without, feed().await.expect("there is room"), newest).await;
        let with = History::of(Some(&path));
        let both = missed_by(&with, feed().await.expect("there is room"), newest).await;

        assert_eq!(feed_only, newest.0 - 4);
        assert!(0 < both && both <= newest.0 - 8, "{both} of {newest:?}");
        drop(manager.shutdown(Duration::ZERO).await);
    }

    #[test]
    fn read_that_outlasts_who_asked_for_it_is_taken_by_who_asks_next() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build();
        runtime.expect("there are threads").block_on(async {
            let folder = private_folder();
            let path = folder.path().join("run.db");
            let (manager, newest) = ten_tasks(&path, Options::default()).await;
            let feed = manager.subscribe(Since::Seq(Seq(0))).await;
            let history = History::of(Some(&path));
            let mut story = history.told_by(feed.expect("there is room"));
            let last = manager.subscribe(Since::Seq(Seq(newest.0 - 1))).await;
            // The feed has all that it will hold.
            last.expect("there is room")
                .next()
                .await
                .expect("it is told");

            // The only thread is busy, so no read goes on.
            let (go_on, is_busy) = occupy_thread();
            is_busy.await.expect("it is told");
            for _ in 0..3 {
                assert!(at_once(&mut story).await.is_none());
            }
            // It is busy again when the reads before that have ended.
            let (_go_on_again, is_busy) = occupy_thread();
            drop(go_on);
            is_busy.await.expect("it is told");
            let first = at_once(&mut story).await.flatten();

            assert!(matches!(first, Some(FeedItem::Event(event)) if event.seq == Seq(1)));
        });
    }

    /// Keeps a thread that may block until the sender is dropped, and tells when it has one.
    fn occupy_thread() -> (mpsc::Sender<()>, oneshot::Receiver<()>) {
        let (go_on, held) = mpsc::channel();
        let (tell, told) = oneshot::channel();
        spawn_blocking(move || {
            let _ = tell.send(());
            held.recv()
        });
        (go_on, told)
    }

    /// What there is without waiting.
    async fn at_once(story: &mut Story) -> Option<Option<FeedItem>> {
        tokio::select! {
            biased;
            item = story.next() => Some(item),
            () = async {} => None,
        }
    }
}
