//! The process that dies: it spawns trees, cancels, sends, suspends, resumes, and tells what was
//! acknowledged, each on a line of its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::abort;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use understory::store::sqlite::{Options, SqliteStore};
use understory::store::{Batch, Latency, Loaded, Store, StoreError};
use understory::{
    Cancel, Context, Event, Failure, FeedItem, Manager, Retry, ScopeRef, Seq, Since, State, TaskId,
};

/// How many work side by side.
const WORKERS: u64 = 64;

/// A store that ends the process around a commit of its choice.
#[derive(Debug)]
struct Dying {
    inner: SqliteStore,
    at: u64,
    commits: AtomicU64,
}

impl Store for Dying {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        if self.at == 2 * number {
            abort();
        }
        let done = self.inner.commit(batch);
        if self.at == 2 * number + 1 {
            abort();
        }
        done
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        self.inner.events(after, limit)
    }

    fn latency(&self) -> Latency {
        self.inner.latency()
    }
}

/// One line, in one piece: a pipe keeps what was written when its writer dies.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
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
}

async fn leaf(folder: PathBuf, ctx: Context) -> Result<Value, Failure> {
    leave_trace(&folder, ctx.id());
    if ctx.attempt().is_multiple_of(2) {
        return Err(Failure::new("every second attempt fails"));
    }
    let waits = tokio::time::timeout(Duration::from_millis(5), ctx.recv());
    Ok(json!(waits.await.is_ok()))
}

async fn lead(ctx: Context, _: Value) -> Result<Value, Failure> {
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

/// Runs until it is killed.
pub(crate) fn run(folder: &Path, abort_at: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.enable_all().worker_threads(2).build().unwrap();
    std::fs::create_dir_all(folder.join("traces")).unwrap();
    let traces = folder.to_owned();
    let builder = Manager::builder()
        .executor("leaf", move |ctx: Context, _: Value| {
            leaf(traces.clone(), ctx)
        })
        .executor("lead", lead)
        .executor("sleeper", sleeper);
    let path = folder.join("tasks.db");
    runtime.block_on(async {
        let manager = if abort_at == u64::MAX {
            builder.open(path).await.unwrap()
        } else {
            let inner = SqliteStore::open(path, Options::default()).unwrap();
            let commits = AtomicU64::new(0);
            let dying = Dying {
                inner,
                at: abort_at,
                commits,
            };
            builder.store(dying).build().unwrap()
        };
        tell("opened");
        tokio::spawn(watch(manager.clone()));
        let scope = manager.scope("load");
        let workers = (0..WORKERS).map(|worker| tokio::spawn(work(scope.clone(), worker)));
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
    });
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

async fn work(scope: ScopeRef, worker: u64) {
    for turn in worker.. {
        match turn % 4 {
            0 => {
                let task = scope.unnamed().spawn_kind("lead", 0).await.unwrap();
                tell(&format!("spawned {} {}", task.id(), task.id()));
                let ended = task.settled().await.unwrap();
                tell(&format!("ended {} {}", ended.id, ended.state));
            }
            1 => {
                let key = TaskId::from(uuid()).to_string();
                let task = scope
                    .unnamed()
                    .key(&key)
                    .spawn_kind("leaf", 0)
                    .await
                    .unwrap();
                tell(&format!("spawned {} {key}", task.id()));
                let again = scope
                    .unnamed()
                    .key(&key)
                    .spawn_kind("leaf", 0)
                    .await
                    .unwrap();
                tell(&format!("spawned {} {key}", again.id()));
                if task.send("go on").await.is_ok() {
                    tell("sent");
                }
            }
            2 => {
                let task = scope.unnamed().spawn_kind("sleeper", 0).await.unwrap();
                tell(&format!("spawned {} {}", task.id(), task.id()));
                while task.state() != Some(State::Suspended) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tell(&format!("suspended {}", task.id()));
                task.resume(7).await.unwrap();
                tell(&format!("resumed {}", task.id()));
            }
            _ => {
                let task = scope.unnamed().spawn_kind("lead", 0).await.unwrap();
                tell(&format!("spawned {} {}", task.id(), task.id()));
                let report = task.cancel_tree(Cancel::because("enough")).await.unwrap();
                for id in report.cancelled {
                    tell(&format!("cancelled {id}"));
                }
            }
        }
    }
}

/// A number that no other process has.
fn uuid() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}
