//! Cancelling a tree: ask, grace, force, and the certainty that nothing of it runs.
//!
//! ```sh
//! cargo run --example cancel_tree
//! ```
//!
//! A lead, three workers and nine helpers. Every other helper says goodbye when it is asked to
//! stop; the rest ignore the request and are dropped when the grace is over. When `cancel_tree`
//! returns, all bodies are gone, and nothing new can appear below the lead.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use understory::{
    Cancel, Context, Failure, FeedItem, Filter, Manager, Outcome, Since, Subscription,
};

/// The lead, three workers, three helpers of each.
const TASKS: usize = 1 + 3 + 9;
/// Five of the nine helpers end by themselves when asked.
const POLITE: usize = 5;

/// Counts bodies while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    let scope = manager.scope("crew");
    let bodies = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&bodies);
    let starts = manager.subscribe_to(Since::Now, Filter::all().event("started"));
    let starts = starts.await?;
    let lead = scope
        .task("lead")
        .spawn(move |ctx| lead(ctx, count))
        .await?;
    wait_for(TASKS, starts).await;
    println!("{TASKS} tasks have started");

    let cancel = Cancel::because("user pressed stop").grace(Duration::from_secs(1));
    let report = lead.cancel_tree(cancel).await?;

    println!(
        "{} cancelled, {} abandoned, {} bodies run",
        report.cancelled.len(),
        report.abandoned.len(),
        bodies.load(Ordering::SeqCst)
    );
    assert_eq!(report.cancelled.len(), TASKS);
    assert!(report.abandoned.is_empty());
    assert_eq!(bodies.load(Ordering::SeqCst), 0);

    // What a body still returned during its grace is kept beside the outcome.
    let goodbyes = report.cancelled.iter().filter(|id| {
        let outcome = manager.get(**id).and_then(|record| record.outcome.clone());
        matches!(
            outcome.as_deref(),
            Some(Outcome::Cancelled {
                late_result: Some(_)
            })
        )
    });
    assert_eq!(goodbyes.count(), POLITE);

    // The tree is closed for good.
    let late = scope
        .task("late")
        .parent(lead.id())
        .spawn(|_| async { Ok(()) })
        .await;
    println!(
        "a late child: {}",
        late.as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default()
    );
    assert!(late.is_err());
    Ok(())
}

/// Waits until so many tasks have started.
async fn wait_for(tasks: usize, mut starts: Subscription) {
    for _ in 0..tasks {
        let item = starts.next().await;
        assert!(matches!(item, Some(FeedItem::Event(_))));
    }
}

async fn lead(ctx: Context, bodies: Arc<AtomicUsize>) -> Result<(), Failure> {
    let _alive = Alive::new(&bodies);
    for worker in 0..3 {
        let count = Arc::clone(&bodies);
        let task = ctx.task(&format!("worker-{worker}"));
        task.spawn(move |ctx| work(ctx, worker, count)).await?;
    }
    std::future::pending().await
}

async fn work(ctx: Context, worker: usize, bodies: Arc<AtomicUsize>) -> Result<(), Failure> {
    let _alive = Alive::new(&bodies);
    for helper in 0..3 {
        let count = Arc::clone(&bodies);
        let is_polite = (worker * 3 + helper).is_multiple_of(2);
        let task = ctx.unnamed().kind("helper");
        task.spawn(move |ctx| help(ctx, is_polite, count)).await?;
    }
    std::future::pending().await
}

async fn help(ctx: Context, is_polite: bool, bodies: Arc<AtomicUsize>) -> Result<String, Failure> {
    let _alive = Alive::new(&bodies);
    if !is_polite {
        return std::future::pending().await;
    }
    let stop = ctx.cancelled().await;
    Ok(format!("goodbye: {}", stop.reason))
}
