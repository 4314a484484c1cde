//! A supervisor whose children are started again, and which gives up when that does not help.
//!
//! ```sh
//! cargo run --example supervisor_with_restarts
//! ```
//!
//! A gateway keeps a listener and a cache running. The listener breaks twice and is restarted after
//! a delay. The cache cannot be helped that way: as it would have been restarted too often within a
//! minute, it fails, and says so. The gateway then gives up on the set, so its other child is
//! stopped, and is itself restarted, with new children. Then all goes well until the program stops
//! the tree.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use understory::{
    Cancel, Context, Failure, FaultKind, FeedItem, Filter, Manager, Outcome, Page, RestartPolicy,
    Since, State, Subscription, TaskHandle, What,
};

/// What fails is restarted after 5 ms, at most so often within a minute.
fn at_most(restarts: u32) -> RestartPolicy {
    let policy = RestartPolicy::transient().delay(Duration::from_millis(5));
    policy.intensity(restarts, Duration::from_mins(1))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    let scope = manager.scope("edge");
    let mut filter = Filter::all();
    for event in ["started", "restarting", "progress", "settled"] {
        filter = filter.event(event);
    }
    let feed = manager.subscribe_to(Since::Now, filter).await?;
    let gateway = scope.task("gateway").restart_policy(at_most(1));
    let gateway = gateway.spawn(supervise).await?;

    // Both children of the second set serve.
    let served = tell_until_served(&manager, feed, 2).await;
    assert_eq!(served, 2);

    let cancel = Cancel::because("the program ends").grace(Duration::from_secs(1));
    let report = gateway.cancel_tree(cancel).await?;
    println!("{} tasks have stopped", report.cancelled.len());
    assert_eq!(report.cancelled.len(), 3);
    assert!(report.abandoned.is_empty());

    // The gateway was started twice. Each set of children has its own records.
    let all = scope.list(Filter::all(), &Page::first(10).oldest_first())?;
    for record in &all.records {
        let path = manager.task(record.id).path();
        println!("{path}: {} in attempt {}", record.state, record.attempt);
    }
    let ends = all.records.iter().map(|record| record.state);
    let cancelled = State::Cancelled;
    assert!(ends.eq([cancelled, cancelled, State::Failed, cancelled, cancelled]));
    assert_eq!((all.records[0].restarts, all.records[2].restarts), (1, 2));
    let Some(Outcome::Failed(fault)) = all.records[2].outcome.as_deref() else {
        return Err("the first cache has failed".into());
    };
    println!("the first cache: {fault}");
    assert_eq!(fault.kind, FaultKind::RestartedTooOften);
    Ok(())
}

/// Starts its children and watches them. The end of one is the end of the set.
async fn supervise(ctx: Context) -> Result<(), Failure> {
    let set = ctx.attempt();
    let listener = ctx.task("listener").restart_policy(at_most(2));
    let listener = listener.spawn(move |ctx| listen(ctx, set)).await?;
    let cache = ctx.task("cache").restart_policy(at_most(2));
    let cache: TaskHandle<()> = cache.spawn(move |ctx| cache_pages(ctx, set)).await?;

    let children = [listener.task(), cache.task()];
    let waited = ctx.manager().wait(&children).any().await?;
    let ended = waited.done.iter().map(|record| record.id);
    let paths: Vec<_> = ended.map(|id| ctx.manager().task(id).path()).collect();
    // An error stops the other children, and the next run starts without any.
    Err(Failure::new(format!(
        "{} cannot be kept running",
        paths.join(", ")
    )))
}

/// Breaks twice in each set.
async fn listen(ctx: Context, set: u32) -> Result<(), Failure> {
    match ctx.attempt() {
        1 => Err(Failure::new("the port is taken")),
        2 => Err(Failure::new("a request was not understood")),
        _ => serve(ctx, set).await,
    }
}

/// Finds its store only when the whole gateway was started again.
async fn cache_pages(ctx: Context, set: u32) -> Result<(), Failure> {
    match set {
        1 => Err(Failure::new("the store does not answer")),
        _ => serve(ctx, set).await,
    }
}

/// Long-lived work: it ends when it is asked to.
async fn serve(ctx: Context, set: u32) -> Result<(), Failure> {
    ctx.progress(set).await?;
    ctx.cancelled().await;
    Ok(())
}

/// Says what happens until two tasks of this set serve.
async fn tell_until_served(manager: &Manager, mut feed: Subscription, set: u32) -> u32 {
    let mut served = 0;
    while let Some(FeedItem::Event(event)) = feed.next().await {
        let path = manager.task(event.task).path();
        let attempt = event.attempt;
        if let What::Restarting { fault, .. } = &event.what {
            let why = fault.as_ref().map(ToString::to_string);
            println!("{path}: is restarted: {}", why.unwrap_or_default());
        } else if let What::Progress(note) = &event.what {
            println!("{path}: serves");
            served += u32::from(note.as_json() == set.to_string());
        } else {
            println!("{path}: {} in attempt {attempt}", event.state);
        }
        if served == 2 {
            break;
        }
    }
    served
}
