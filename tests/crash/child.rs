//! The process that dies: it spawns trees, cancels, sends, suspends, resumes, prunes, and tells what
//! was acknowledged, each on a line of its own. Where an answer may be lost with the process, it
//! tells before it asks.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::abort;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use understory::store::sqlite::fail;
use understory::{
    Cancel, Context, Failure, FeedItem, Filter, Manager, Retry, Scope, ScopeRef, Since, State,
    TaskId,
};

use crate::End;

/// How many work side by side.
const WORKERS: u64 = 256;

/// How many lines may still be told, and how many traces left, before the process aborts.
static LINES: AtomicU64 = AtomicU64::new(u64::MAX);
static TRACES: AtomicU64 = AtomicU64::new(u64::MAX);

fn pass(left: &AtomicU64) {
    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
        abort();
    }
}

/// One line, in one piece: a pipe keeps what was written when its writer dies.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
    pass(&LINES);
}

/// Leaves a trace of this attempt on the disk.
fn leave_trace(folder: &Path, id: TaskId) {
    let path = folder.join("traces").join(id.to_string());
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(b"x").unwrap();
    pass(&TRACES);
}

async fn leaf(folder: PathBuf, ctx: Context) -> Result<Value, Failure> {
    leave_trace(&folder, ctx.id());
    if ctx.attempt().is_multiple_of(2) {
        return Err(Failure::new("every second attempt fails"));
    }
    let waits = tokio::time::timeout(Duration::from_millis(5), ctx.recv());
    let Ok(Some(message)) = waits.await else {
        return Ok(json!(null));
    };
    if message.is_durable {
        tell(&format!("taking {} {}", ctx.id(), message.id));
        ctx.acknowledge(&message).await?;
        tell(&format!("taken {} {}", ctx.id(), message.id));
    }
    Ok(message.body)
}

async fn lead(folder: PathBuf, ctx: Context) -> Result<Value, Failure> {
    leave_trace(&folder, ctx.id());
    for _ in 0..3 {
        let child = ctx
            .unnamed()
            .retry(Retry::fixed(2, Duration::from_millis(1)));
        child.spawn_kind("leaf", 0).await?;
    }
    Ok(json!("all asked"))
}

async fn sleeper(ctx: Context, _: Value) -> Result<Value, Failure> {
    match ctx.resumed() {
        None => Err(ctx.suspend("zzz")),
        Some(data) => Ok(data),
    }
}

/// Runs until it is killed, or until it ends itself.
pub(crate) fn run(folder: &Path, end: End) {
    match end {
        End::Killed(_) | End::Drained => {}
        End::Fails(point, nth) => fail::arm(point, nth),
        End::Tells(nth) => LINES.store(nth, Ordering::SeqCst),
        End::Traces(nth) => TRACES.store(nth, Ordering::SeqCst),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.enable_all().worker_threads(2).build().unwrap();
    std::fs::create_dir_all(folder.join("traces")).unwrap();
    let (leaves, leads) = (folder.to_owned(), folder.to_owned());
    let builder = Manager::builder()
        .executor("leaf", move |ctx: Context, _: Value| {
            leaf(leaves.clone(), ctx)
        })
        .executor("lead", move |ctx: Context, _: Value| {
            lead(leads.clone(), ctx)
        })
        .executor("sleeper", sleeper);
    let path = folder.join("tasks.db");
    runtime.block_on(async {
        let manager = builder.open(path).await.unwrap();
        tell("opened");
        tokio::spawn(watch(manager.clone()));
        if matches!(end, End::Drained) {
            return std::future::pending().await;
        }
        tokio::spawn(prune(manager.clone()));
        let workers = (0..WORKERS).map(|worker| tokio::spawn(work(manager.clone(), worker)));
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
    });
}

/// Removes what has settled in one of the scopes, again and again.
async fn prune(manager: Manager) {
    let chaff = Filter::all().scope(Scope::new("chaff").unwrap());
    loop {
        let removed = manager.prune(manager.now(), &chaff, manager.seq()).await;
        if removed.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        } else {
            tell("pruned");
        }
    }
}

/// Tells every event that it sees.
async fn watch(manager: Manager) {
    let mut feed = manager.subscribe(Since::Seq(manager.seq())).await.unwrap();
    while let Some(item) = feed.next().await {
        if let FeedItem::Event(event) = item {
            tell(&format!(
                "event {} {} {}",
                event.seq,
                event.task,
                event.what.name()
            ));
        }
    }
}

async fn work(manager: Manager, worker: u64) {
    let scope = manager.scope("load");
    for turn in worker.. {
        match turn % 5 {
            0 => grow(&scope).await,
            1 => talk(&scope).await,
            2 => sleep(&scope).await,
            3 => fell(&scope).await,
            _ => {
                let task = manager.scope("chaff").unnamed().spawn_kind("leaf", 0);
                let task = task.await.unwrap();
                tell(&format!("chaff {}", task.id()));
                task.settled().await.ok();
            }
        }
    }
}

/// A tree that grows and ends.
async fn grow(scope: &ScopeRef) {
    let task = scope.unnamed().spawn_kind("lead", 0).await.unwrap();
    tell(&format!("spawned {} {}", task.id(), task.id()));
    let ended = task.settled().await.unwrap();
    tell(&format!("ended {} {}", ended.id, ended.state));
}

/// Two spawns with one key, and a durable message.
async fn talk(scope: &ScopeRef) {
    let key = TaskId::from(uuid()).to_string();
    for _ in 0..2 {
        let task = scope.unnamed().key(&key);
        let task = task.retry(Retry::fixed(2, Duration::from_millis(1)));
        let task = task.spawn_kind("leaf", 0).await.unwrap();
        tell(&format!("spawned {} {key}", task.id()));
        if let Ok(message) = task.send_durable("go on").await {
            tell(&format!("sent {} {message}", task.id()));
        }
    }
}

/// A task that waits for somebody; every second one of these for ever.
async fn sleep(scope: &ScopeRef) {
    let task = scope.unnamed().spawn_kind("sleeper", 0).await.unwrap();
    tell(&format!("spawned {} {}", task.id(), task.id()));
    while task.state() != Some(State::Suspended) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tell(&format!("suspended {}", task.id()));
    if task.id().as_u128().is_multiple_of(2) {
        tell(&format!("resuming {}", task.id()));
        task.resume(7).await.unwrap();
        tell(&format!("resumed {}", task.id()));
    }
}

/// A tree that is cancelled while it grows.
async fn fell(scope: &ScopeRef) {
    let task = scope.unnamed().spawn_kind("lead", 0).await.unwrap();
    tell(&format!("spawned {} {}", task.id(), task.id()));
    let report = task.cancel_tree(Cancel::because("enough")).await.unwrap();
    for id in report.cancelled {
        tell(&format!("cancelled {id}"));
    }
}

/// A number that no other process has.
fn uuid() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}
