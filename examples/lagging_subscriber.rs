//! A subscriber that survives lag: it hears how much it missed, and goes on without a gap.
//!
//! ```sh
//! cargo run --example lagging_subscriber
//! ```
//!
//! The feed keeps 256 events here. The subscriber reads ten, sleeps through 3,000, and wakes up:
//! one `Lagged` tells how many numbers are gone, and what follows is contiguous again. Seen and
//! missed add up. Nobody waited for it, and what it missed is still in the records.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use understory::{FeedItem, Filter, Manager, Page, Seq, Since, State, Subscription};

const TASKS: u64 = 1_000;
/// Each task is accepted, started and settled.
const EVENTS: u64 = 3 * TASKS;
const KEPT: usize = 256;

/// What the subscriber knows at the end.
#[derive(Debug, Default)]
struct Tally {
    seen: u64,
    missed: u64,
    gaps: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::builder().feed_events_max(KEPT).build()?;
    let scope = manager.scope("work");
    let mut feed = manager.subscribe(Since::Now).await?;
    let mut tally = Tally::default();
    let mut at = feed.seq();

    let mut handles = Vec::new();
    for number in 0..TASKS {
        handles.push(
            scope
                .unnamed()
                .spawn(move |_| async move { Ok(number) })
                .await?,
        );
        // It keeps up at first, and then it does not read for a long time.
        if number < 10 {
            read(&mut feed, &mut at, &mut tally).await;
        }
    }
    for handle in handles {
        handle.await?;
    }

    // The stream ends when the manager has stopped, after the last event.
    manager.shutdown(Duration::from_secs(1)).await?;
    while read(&mut feed, &mut at, &mut tally).await {}

    println!("{tally:?}");
    assert_eq!(tally.seen + tally.missed, EVENTS);
    assert_eq!(tally.gaps, 1, "it slept once");
    assert!(tally.seen >= u64::try_from(KEPT)?);

    // Events are news; how things stand is in the records, whoever slept.
    let completed = Filter::all().state(State::Completed);
    let completed = manager.list(&completed, &Page::first(1)).total;
    assert_eq!(u64::try_from(completed)?, TASKS);
    Ok(())
}

/// Reads one item; `at` is the number of the last event that is accounted for.
async fn read(feed: &mut Subscription, at: &mut Seq, tally: &mut Tally) -> bool {
    match feed.next().await {
        Some(FeedItem::Event(event)) => {
            assert_eq!(event.seq, at.next(), "no number is skipped in silence");
            *at = event.seq;
            tally.seen += 1;
        }
        Some(FeedItem::Lagged { missed, resume_at }) => {
            println!("missed {missed} events; it goes on with number {resume_at}");
            assert_eq!(at.0 + missed, resume_at.0 - 1);
            *at = Seq(resume_at.0 - 1);
            tally.missed += missed;
            tally.gaps += 1;
        }
        // It was not asked for; `Since::Snapshot` begins with one.
        Some(FeedItem::Snapshot { .. }) => {}
        Some(FeedItem::Stopped) | None => return false,
    }
    true
}
