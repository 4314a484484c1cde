//! Supervising closures with children: one is tried again, one panics, the parent decides.
//!
//! ```sh
//! cargo run --example children
//! ```
//!
//! A lead spawns three readers. The first works. The second fails once and is run again. The third
//! panics, which harms nobody else: the lead sees how it ended and goes on with two. What stands on
//! standard error then is what Rust itself says of a panic.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use serde_json::json;
use understory::{Context, Failure, Filter, Manager, Page, Retry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    let lead = manager.scope("review").task("lead").spawn(lead).await?;
    let id = lead.id();

    let summary = lead.await?;
    println!("the lead says: {summary}");
    assert_eq!(summary, json!({ "read": 2, "lost": 1 }));

    // How each one ended stays in its record.
    let scope = manager.scope("review");
    let all = scope.list(Filter::all(), &Page::first(10).oldest_first())?;
    for record in &all.records {
        let path = manager.task(record.id).path();
        println!("{path}: {} in attempt {}", record.state, record.attempt);
    }
    assert_eq!(all.total, 4);
    // The lead settled after its children.
    let end = manager.get(id).and_then(|lead| lead.ended_at);
    assert!(all.records.iter().all(|record| record.ended_at <= end));

    let report = manager.shutdown(Duration::from_secs(1)).await?;
    assert!(report.is_empty());
    Ok(())
}

/// Spawns the readers, waits for all of them, and makes the best of it.
async fn lead(ctx: Context) -> Result<serde_json::Value, Failure> {
    let retry = Retry::fixed(2, Duration::from_millis(10));
    let readers = [
        ctx.task("docs").spawn(read).await?,
        ctx.task("code").retry(retry).spawn(read_with_luck).await?,
        ctx.task("logs").spawn(read_nothing).await?,
    ];
    let (mut read, mut lost) = (0, 0);
    for reader in readers {
        // While a body awaits another task it lends its slots, so a limit of one cannot deadlock.
        match reader.await {
            Ok(()) => read += 1,
            Err(why) => {
                println!("one is lost: {why}");
                lost += 1;
            }
        }
    }
    Ok(json!({ "read": read, "lost": lost }))
}

async fn read(ctx: Context) -> Result<(), Failure> {
    ctx.progress("reading").await?;
    Ok(())
}

async fn read_with_luck(ctx: Context) -> Result<(), Failure> {
    match ctx.attempt() {
        1 => Err(Failure::new("the connection was lost")),
        _ => Ok(()),
    }
}

async fn read_nothing(_: Context) -> Result<(), Failure> {
    panic!("there are no logs")
}
