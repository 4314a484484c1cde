//! A manager over a file: what is in it when the next one opens it.

mod disposition;
mod messages;
mod recovery;
mod ruin;
mod settings;
mod takeover;
#[cfg(feature = "testing")]
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use understory::store::sqlite::{OpenError, Reader};
use understory::{
    BuildError, Builder, Cancel, Context, Failure, FeedItem, Manager, Seq, Since, SpawnError,
    State, TaskId,
};

use crate::stage::{private_folder, reaches, soon, until_cancelled};

/// A folder of its own for each test, with the path of a file in it.
pub(super) struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Self {
        let folder = private_folder();
        let path = folder.path().join("tasks.db");
        Self {
            _folder: folder,
            path,
        }
    }

    /// What a process that is killed now would leave behind.
    pub(super) fn left_behind(&self) -> Self {
        let image = Self::new();
        for suffix in ["", "-wal"] {
            let of = |path: &Path| format!("{}{suffix}", path.display());
            if Path::new(&of(&self.path)).exists() {
                fs::copy(of(&self.path), of(&image.path)).expect("there is room");
            }
        }
        image
    }

    /// What is left behind when a task was asked to stop, with a long grace, and has not yet.
    pub(super) async fn left_behind_while_it_stops(&self, manager: &Manager, task: TaskId) -> Self {
        let cancel = Cancel::because("enough").grace(Duration::from_mins(10));
        let asked = tokio::spawn({
            let task = manager.task(task);
            async move { task.cancel(cancel).await }
        });
        reaches(manager, task, State::CancelRequested).await;
        let image = self.left_behind();
        asked.abort();
        image
    }

    pub(super) async fn open(&self) -> Manager {
        self.open_as(builder()).await
    }

    pub(super) async fn open_as(&self, builder: Builder) -> Manager {
        soon(builder.open(&self.path))
            .await
            .expect("the file is whole")
    }
}

/// A manager with an executor that doubles its input.
pub(super) fn builder() -> Builder {
    Manager::builder().executor("double", double)
}

pub(super) async fn double(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(json!(input.as_i64().unwrap_or(0) * 2))
}

async fn close(manager: &Manager) {
    let report = soon(manager.shutdown(Duration::from_secs(5))).await;
    report.expect("the store works");
}

#[tokio::test]
async fn records_and_values_are_there_when_the_file_is_opened_again() {
    let folder = Folder::new();
    let manager = folder.open().await;
    let scope = manager.scope("s");
    let task = scope.task("t").label("a", "b").description("a task");
    let task = task.spawn_kind("double", 21).await.unwrap();
    let id = task.id();
    assert_eq!(soon(task).await.unwrap(), json!(42));
    let before = manager.get(id).unwrap();
    close(&manager).await;

    let manager = folder.open().await;
    assert_eq!(manager.get(id).unwrap(), before);
    assert_eq!(
        soon(manager.task(id).settled()).await.unwrap().state,
        State::Completed
    );
    assert_eq!(
        manager
            .scope("s")
            .task("next")
            .spawn(|_| async { Ok(1) })
            .await
            .unwrap()
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn feed_goes_on_over_restarts_without_a_gap() {
    let folder = Folder::new();
    let mut count = 0;
    for round in 1..=3 {
        let manager = folder.open().await;
        let task = manager.scope("s").task("t").spawn_kind("double", round);
        soon(task.await.unwrap()).await.unwrap();
        let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
        close(&manager).await;
        let mut seqs = Vec::new();
        while let Some(item) = soon(feed.next()).await {
            if let FeedItem::Event(event) = item {
                seqs.push(event.seq);
            }
        }
        let wanted: Vec<_> = (1..).take(seqs.len()).map(Seq).collect();
        assert_eq!(seqs, wanted, "round {round}");
        assert!(seqs.len() > count, "round {round}");
        count = seqs.len();
    }
}

#[tokio::test]
async fn file_has_one_manager_and_is_free_after_its_shutdown() {
    let folder = Folder::new();
    let manager = folder.open().await;

    let error = builder().open(&folder.path).await.unwrap_err();
    let us = std::process::id();
    let BuildError::Open(OpenError::InUse { pid, .. }) = error else {
        panic!("it is in use, but the error is {error}");
    };
    assert_eq!(pid, Some(us));

    close(&manager).await;
    let next = folder.open().await;
    let late = manager.scope("s").task("late").spawn(|_| async { Ok(()) });
    assert!(matches!(late.await, Err(SpawnError::Unavailable(_))));
    next.scope("s")
        .task("new")
        .spawn(|_| async { Ok(()) })
        .await
        .unwrap();
}

#[tokio::test]
async fn mistake_of_the_builder_makes_no_file() {
    let folder = Folder::new();
    let builder = Manager::builder().executor("no kind", double);
    let error = builder.open(&folder.path).await.unwrap_err();
    assert!(matches!(error, BuildError::Invalid(_)), "{error}");
    assert!(!folder.path.exists());
}

#[tokio::test]
async fn key_and_name_hold_after_a_restart() {
    let folder = Folder::new();
    let manager = folder.open().await;
    let keyed = |manager: &Manager| manager.scope("s").task("keyed").key("order/1");
    let first = keyed(&manager).spawn_kind("double", 1).await.unwrap();
    let id = first.id();
    soon(first).await.unwrap();
    close(&manager).await;

    let manager = folder.open().await;
    let again = keyed(&manager).spawn_kind("double", 1).await.unwrap();
    assert_eq!(again.id(), id);
    assert_eq!(soon(again).await.unwrap(), json!(2));
    let other = keyed(&manager).spawn_kind("double", 2).await;
    assert!(matches!(other, Err(SpawnError::Refused(_))), "{other:?}");
}

#[tokio::test]
async fn closed_scope_is_closed_after_a_restart() {
    let folder = Folder::new();
    let manager = folder.open().await;
    manager
        .scope("shut")
        .close(Cancel::because("enough"))
        .await
        .unwrap();
    let image = folder.left_behind();

    let next = image.open().await;
    let refused = next
        .scope("shut")
        .task("t")
        .spawn(|_| async { Ok(()) })
        .await;
    assert!(
        matches!(refused, Err(SpawnError::Refused(_))),
        "{refused:?}"
    );
    next.scope("open")
        .task("t")
        .spawn(|_| async { Ok(()) })
        .await
        .unwrap();
}

#[tokio::test]
async fn other_processes_read_what_runs() {
    let folder = Folder::new();
    let manager = folder.open().await;
    let task = manager
        .scope("s")
        .task("runs")
        .spawn(until_cancelled)
        .await
        .unwrap();
    reaches(&manager, task.id(), State::Running).await;

    let reader = Reader::open(&folder.path).unwrap();
    let running = reader.page(None, Some(State::Running), None, 10).unwrap();
    assert_eq!(running, [manager.get(task.id()).unwrap()]);
    let events = reader.events_of(task.id(), Seq(0), 10).unwrap();
    let names: Vec<_> = events.iter().map(|event| event.what.name()).collect();
    assert_eq!(names, ["accepted", "started"]);
}

#[tokio::test]
async fn manager_that_leaves_cancels_nothing_and_frees_the_file() {
    async fn sleeper(ctx: Context, _: Value) -> Result<Value, Failure> {
        ctx.resumed().ok_or_else(|| ctx.suspend("zzz"))
    }
    let sleepers = || builder().executor("sleeper", sleeper);
    let folder = Folder::new();
    let manager = folder.open_as(sleepers()).await;
    let scope = manager.scope("s");
    let sleeper = scope.unnamed().spawn_kind("sleeper", 0).await.unwrap();
    let closure = scope.unnamed().spawn(until_cancelled).await.unwrap();
    reaches(&manager, sleeper.id(), State::Suspended).await;
    reaches(&manager, closure.id(), State::Running).await;
    let (sleeper, closure) = (sleeper.id(), closure.id());

    soon(async { tokio::join!(manager.leave(), manager.leave()) })
        .await
        .0
        .unwrap();
    assert!(
        soon(manager.shutdown(Duration::ZERO))
            .await
            .unwrap()
            .is_empty()
    );
    let late = scope.unnamed().spawn(|_| async { Ok(()) }).await;
    assert!(matches!(late, Err(SpawnError::Unavailable(_))), "{late:?}");
    assert!(soon(manager.task(closure).settled()).await.is_err());

    let next = folder.open_as(sleepers()).await;
    assert_eq!(next.task(sleeper).state(), Some(State::Suspended));
    assert_eq!(next.task(closure).state(), Some(State::Interrupted));
    next.task(sleeper).resume(1).await.unwrap();
    let ended = soon(next.task(sleeper).settled()).await.unwrap();
    assert_eq!(ended.state, State::Completed);
}
