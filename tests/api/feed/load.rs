//! Subscribers while much happens: those that read, and those that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use understory::{Context, Failure, FeedItem, Manager, Seq, Since, Subscription};

use crate::stage::{soon, until};

const TASKS: u64 = 200;
const NOTES: u64 = 10;
/// What each task tells: accepted, started, its notes, settled.
const EACH: u64 = NOTES + 3;
const LAST: u64 = TASKS * EACH;
/// How many events a forgetful manager keeps.
const KEPT: u64 = 64;

async fn talks(ctx: Context) -> Result<(), Failure> {
    for note in 0..NOTES {
        ctx.progress(note).await?;
    }
    Ok(())
}

async fn run(manager: &Manager, tasks: u64) {
    let scope = manager.scope("s");
    let mut running = Vec::new();
    for _ in 0..tasks {
        running.push(scope.unnamed().spawn(talks).await.unwrap());
    }
    for task in running {
        soon(task).await.unwrap();
    }
}

/// A manager that keeps few events.
fn forgetful() -> Manager {
    let kept = usize::try_from(KEPT).unwrap();
    Manager::builder().feed_events_max(kept).build().unwrap()
}

/// Ninety subscribers that read, and ten that never do.
async fn hundred(manager: &Manager) -> (Vec<Reader>, Vec<Subscription>) {
    let (mut readers, mut silent) = (Vec::new(), Vec::new());
    for number in 0..100 {
        let feed = manager.subscribe(Since::Now).await.unwrap();
        if number % 10 == 0 {
            silent.push(feed);
        } else {
            let at = Arc::new(AtomicU64::new(0));
            let reading = tokio::spawn(read_all(feed, Arc::clone(&at)));
            readers.push(Reader { at, reading });
        }
    }
    (readers, silent)
}

struct Reader {
    /// The last number that it has seen.
    at: Arc<AtomicU64>,
    reading: JoinHandle<(u64, u64)>,
}

/// Reads to the last number; returns how many events came and how many numbers were missed.
async fn read_all(mut feed: Subscription, told: Arc<AtomicU64>) -> (u64, u64) {
    let (mut at, mut came, mut missed) = (feed.seq().0, 0, 0);
    while at < LAST {
        match soon(feed.next()).await.expect("the manager goes on") {
            FeedItem::Event(event) => {
                assert_eq!(event.seq, Seq(at + 1), "no gap goes untold");
                at += 1;
                came += 1;
            }
            FeedItem::Lagged {
                missed: count,
                resume_at,
            } => {
                assert_eq!(resume_at, Seq(at + count + 1));
                at += count;
                missed += count;
            }
            FeedItem::Snapshot { .. } => panic!("nobody asked for a snapshot"),
            FeedItem::Stopped => panic!("the manager goes on"),
        }
        told.store(at, Ordering::Relaxed);
    }
    (came, missed)
}

#[tokio::test]
async fn p9_subscribers_that_never_read_cost_the_others_nothing() {
    let manager = forgetful();
    let (readers, silent) = hundred(&manager).await;

    for task in 1..=TASKS {
        run(&manager, 1).await;
        let has_read = |reader: &Reader| reader.at.load(Ordering::Relaxed) == task * EACH;
        until(|| readers.iter().all(has_read)).await;
    }

    for reader in readers {
        assert_eq!(soon(reader.reading).await.unwrap(), (LAST, 0));
    }
    for feed in silent {
        assert_eq!(feed.seq(), Seq(0));
        let read = soon(read_all(feed, Arc::default())).await;
        assert_eq!(read, (KEPT, LAST - KEPT));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_numbers_that_a_slow_subscriber_misses_add_up() {
    let manager = forgetful();
    let (readers, silent) = hundred(&manager).await;

    run(&manager, TASKS).await;

    for reader in readers {
        let (came, missed) = soon(reader.reading).await.unwrap();
        assert_eq!(came + missed, LAST);
    }
    for feed in silent {
        let (came, missed) = soon(read_all(feed, Arc::default())).await;
        assert_eq!(came + missed, LAST);
        assert!(missed > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_under_load_is_followed_without_a_gap() {
    const BATCH: u64 = 20;
    let manager = Manager::in_memory();
    let go = Arc::new(Semaphore::new(0));
    let load = tokio::spawn({
        let (manager, go) = (manager.clone(), Arc::clone(&go));
        async move {
            for _ in 0..TASKS / BATCH {
                go.acquire().await.unwrap().forget();
                run(&manager, BATCH).await;
            }
        }
    });

    for batch in 1..=TASKS / BATCH {
        go.add_permits(1);
        let mut feed = manager.subscribe(Since::Snapshot).await.unwrap();
        let Some(FeedItem::Snapshot { seq, records }) = soon(feed.next()).await else {
            panic!("the snapshot comes first");
        };
        assert!(records.iter().all(|record| record.seq <= seq));
        assert!(records.iter().all(|record| !record.state.is_terminal()));
        for next in seq.0 + 1..=batch * BATCH * EACH {
            let item = soon(feed.next()).await;
            let Some(FeedItem::Event(event)) = item else {
                panic!("event {next} comes next, not {item:?}");
            };
            assert_eq!(event.seq, Seq(next));
        }
    }
    soon(load).await.unwrap();
}
