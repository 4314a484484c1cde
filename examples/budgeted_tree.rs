//! A tree with a budget: sub-agents charge what they use, and the tree ends when it is used up.
//!
//! ```sh
//! cargo run --example budgeted_tree
//! ```
//!
//! A lead may use 1,000 tokens, with everything below it. One of its three readers has a small
//! budget of its own besides: when that is used up, it is stopped and nobody else. The other two
//! read on until the lead's budget has no room for a charge. Then the whole tree is stopped, with
//! the budget as the reason, and the log tells who used how much.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::collections::BTreeMap;
use std::time::Duration;

use understory::{
    Cause, Context, Failure, FeedItem, Filter, Manager, Page, Seq, Since, State, TaskId, WaitError,
    What,
};

const TOKENS: u64 = 1_000;
const TOKENS_OF_WEB: u64 = 120;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    let scope = manager.scope("review");
    let lead = scope.task("lead").budget("tokens", TOKENS);
    let lead = lead.spawn(lead_readers).await?;

    let record = lead.settled().await?;
    let stop = record.stop.as_ref().ok_or("it was stopped")?;
    println!("the lead is {}: {}", record.state, stop.reason);
    assert_eq!(
        (record.state, stop.cause),
        (State::Cancelled, Cause::Budget)
    );

    // The report: how each one ended and why.
    let all = scope.list(Filter::all(), &Page::first(10).oldest_first())?;
    assert_eq!(all.total, 4);
    for record in &all.records {
        let path = manager.task(record.id).path();
        let cause = record.stop.as_ref().map(|stop| stop.cause);
        println!("{path}: {}, {cause:?}", record.state);
        assert_eq!(record.state, State::Cancelled);
        // The others were stopped because the lead was.
        let has_spent_its_own = path == "lead" || path == "lead/web";
        assert_eq!(cause == Some(Cause::Budget), has_spent_its_own);
    }
    assert_eq!(manager.live(), 0);

    // Who used how much: each charge of the lead's budget is an event of the lead.
    let used = used_by_each(&manager, lead.id()).await?;
    for (task, tokens) in &used {
        println!("{}: {tokens} tokens", manager.task(*task).path());
    }
    let budget = record.budgets["tokens"];
    println!("{} of {} tokens are used", budget.used, budget.limit);
    assert!(budget.exhausted && budget.left() < 120);
    assert_eq!(used.values().sum::<u64>(), budget.used);
    Ok(())
}

/// Spawns readers, and goes on without those that have spent their own budgets.
async fn lead_readers(ctx: Context) -> Result<(), Failure> {
    let web = ctx.task("web").budget("tokens", TOKENS_OF_WEB);
    let web = web.spawn(|ctx| read(ctx, 50)).await?;
    web.send("begin").await?;
    match web.await {
        Err(WaitError::Cancelled { stop, .. }) => {
            let why = stop.ok_or_else(|| Failure::new("there is a reason"))?;
            println!("web is stopped, the lead goes on: {}", why.reason);
        }
        other => return Err(Failure::new(format!("web never ends by itself: {other:?}"))),
    }
    // What web used is gone from the lead's budget, too. Charging nothing tells what is left.
    let left = ctx.charge("tokens", 0).await?.left;
    println!("{left:?} tokens are left for the others");
    assert_eq!(left, Some(TOKENS - 100));

    let docs = ctx.task("docs").spawn(|ctx| read(ctx, 90)).await?;
    let code = ctx.task("code").spawn(|ctx| read(ctx, 120)).await?;
    for reader in [&docs, &code] {
        reader.send("begin").await?;
    }
    docs.await?;
    code.await?;
    Ok(())
}

/// Pays for each page before it is read, from the word to begin on.
async fn read(ctx: Context, price: u64) -> Result<(), Failure> {
    ctx.recv().await;
    loop {
        match ctx.charge("tokens", price).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => {
                println!("{} cannot pay: {error}", ctx.path());
                return Err(error.into());
            }
        }
    }
}

/// Adds up the charges of a task's budget by the task that asked for them.
async fn used_by_each(
    manager: &Manager,
    owner: TaskId,
) -> Result<BTreeMap<TaskId, u64>, Box<dyn std::error::Error>> {
    let charges = Filter::all().task(owner).event("charged").event("settled");
    let mut feed = manager.subscribe_to(Since::Seq(Seq(0)), charges).await?;
    let mut used = BTreeMap::new();
    while let Some(FeedItem::Event(event)) = feed.next().await {
        let What::Charged(charge) = &event.what else {
            break;
        };
        *used.entry(charge.by).or_default() += charge.amount;
    }
    Ok(used)
}
