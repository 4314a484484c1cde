//! Subscribers while much happens: those that read, and those that do not.

use understory::{Context, Failure, FeedItem, Manager, Seq, Since, Subscription};

use crate::stage::soon;

const TASKS: u64 = 200;
/// What each task tells: accepted, started, ten notes, settled.
const NOTES: u64 = 10;
const LAST: u64 = TASKS * (NOTES + 3);

async fn talks(ctx: Context) -> Result<(), Failure> {
    for note in 0..NOTES {
        ctx.progress(note).await?;
    }
    Ok(())
}

async fn run_all(manager: &Manager) {
    let scope = manager.scope("s");
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(scope.unnamed().spawn(talks).await.unwrap());
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
}

/// Reads to the last number; returns how many events came and how many numbers were missed.
async fn read_all(mut feed: Subscription) -> (u64, u64) {
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
        }
    }
    (came, missed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_subscribers_that_never_read_cost_the_others_nothing() {
    let kept = usize::try_from(LAST).unwrap();
    let manager = Manager::builder().feed_events_max(kept).build().unwrap();
    let mut silent = Vec::new();
    let mut readers = Vec::new();
    for number in 0..100 {
        let feed = manager.subscribe(Since::Now).await.unwrap();
        if number % 10 == 0 {
            silent.push(feed);
        } else {
            readers.push(tokio::spawn(read_all(feed)));
        }
    }

    run_all(&manager).await;

    for reader in readers {
        assert_eq!(soon(reader).await.unwrap(), (LAST, 0));
    }
    for feed in &silent {
        assert_eq!(feed.seq(), Seq(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_numbers_that_a_slow_subscriber_misses_add_up() {
    const KEPT: u64 = 64;
    let kept = usize::try_from(KEPT).unwrap();
    let manager = Manager::builder().feed_events_max(kept).build().unwrap();
    let mut silent = Vec::new();
    let mut readers = Vec::new();
    for number in 0..100 {
        let feed = manager.subscribe(Since::Now).await.unwrap();
        if number % 10 == 0 {
            silent.push(feed);
        } else {
            readers.push(tokio::spawn(read_all(feed)));
        }
    }

    run_all(&manager).await;

    for reader in readers {
        let (came, missed) = soon(reader).await.unwrap();
        assert_eq!(came + missed, LAST);
    }
    for feed in silent {
        assert_eq!(soon(read_all(feed)).await, (KEPT, LAST - KEPT));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_under_load_is_followed_without_a_gap() {
    let manager = Manager::in_memory();
    let load = tokio::spawn({
        let manager = manager.clone();
        async move { run_all(&manager).await }
    });
    let mut busy = 0;
    loop {
        let mut feed = manager.subscribe(Since::Snapshot).await.unwrap();
        let Some(FeedItem::Snapshot { seq, records }) = soon(feed.next()).await else {
            panic!("the snapshot comes first");
        };
        assert!(records.iter().all(|record| record.seq <= seq));
        assert!(records.iter().all(|record| !record.state.is_terminal()));
        if seq == Seq(LAST) {
            break;
        }
        busy += u32::from(seq > Seq(0));
        for next in (seq.0 + 1..=LAST).take(100) {
            let item = soon(feed.next()).await;
            let Some(FeedItem::Event(event)) = item else {
                panic!("event {next} comes next, not {item:?}");
            };
            assert_eq!(event.seq, Seq(next));
        }
    }

    soon(load).await.unwrap();
    assert!(busy > 0, "no snapshot was taken while tasks ran");
}
