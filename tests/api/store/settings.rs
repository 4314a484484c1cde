//! What a task was given with its spawn, and what of it holds in the next process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use understory::{
    BoxFuture, Builder, Context, Delivery, Executor, Failure, Fault, Manager, Outcome, Overflow,
    Retry, SendError, Settling, State, TaskHooks, Undelivered,
};

use super::{Folder, builder};
use crate::stage::{for_ever, reaches, soon, story};

/// The first attempt is cut short; the later ones tell how far they are, wait to be told to go on,
/// and fail.
struct Steps;

impl Executor for Steps {
    fn run(&self, context: Context, _: Value) -> BoxFuture<Result<Value, Failure>> {
        Box::pin(async move {
            if context.attempt() == 1 {
                for_ever(context.clone()).await?;
            }
            for step in 1..=9 {
                context.progress(json!(step)).await?;
            }
            while context.recv().await.is_some_and(|it| it.body != "go") {}
            Err(Failure::new("busy"))
        })
    }

    fn retry_if(&self, fault: &Fault) -> bool {
        &*fault.message != "busy"
    }
}

fn steps() -> Builder {
    builder().executor("steps", Steps)
}

fn often() -> Retry {
    Retry::fixed(9, Duration::ZERO)
}

#[tokio::test]
async fn inbox_of_a_task_survives_its_process() {
    let folder = Folder::new();
    let manager = folder.open_as(steps()).await;
    let scope = manager.scope("s");
    let task = |name| scope.task(name).retry(often());
    let strict = task("strict").inbox_capacity(1);
    let newest = task("newest").inbox_capacity(1);
    let newest = newest.inbox_overflow(Overflow::DropOldest);
    let deaf = task("deaf").inbox_capacity(0);
    for task in [strict, newest, deaf, task("plain")] {
        let id = soon(task.spawn_kind("steps", ())).await.unwrap().id();
        reaches(&manager, id, State::Running).await;
    }
    // None of them is read there.
    let deaf_bodies = builder().executor("steps", |ctx: Context, _: Value| async {
        for_ever(ctx).await?;
        Ok(Value::Null)
    });

    let left = folder.left_behind();
    let next = left.open_as(deaf_bodies).await;

    let task = |name| next.task(next.scope("s").find(name).unwrap());
    task("strict").send(1).await.unwrap();
    let error = task("strict").send(2).await.unwrap_err();
    assert!(
        matches!(error, SendError::Full { capacity: 1, .. }),
        "{error:?}"
    );
    let oldest = task("newest").send(1).await.unwrap();
    task("newest").send(2).await.unwrap();
    let oldest = soon(oldest).await;
    assert_eq!(oldest, Delivery::Undelivered(Undelivered::Dropped));
    let error = task("deaf").send(1).await.unwrap_err();
    assert!(matches!(error, SendError::NoInbox { .. }), "{error:?}");
    for message in 1..=64 {
        task("plain").send(message).await.unwrap();
    }
    let error = task("plain").send(65).await.unwrap_err();
    assert!(
        matches!(error, SendError::Full { capacity: 64, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn pace_of_progress_survives_its_process() {
    let folder = Folder::new();
    let manager = folder.open_as(steps()).await;
    let scope = manager.scope("s");
    let task = |name| scope.task(name).retry(often());
    let hour = Duration::from_hours(1);
    for task in [task("slow").coalesce_progress(hour), task("plain")] {
        let id = soon(task.spawn_kind("steps", ())).await.unwrap().id();
        reaches(&manager, id, State::Running).await;
    }

    let left = folder.left_behind();
    let next = left.open_as(steps()).await;

    let told = async |name| {
        let task = next.task(next.scope("s").find(name).unwrap());
        task.send("go").await.unwrap();
        soon(task.settled()).await.unwrap();
        let told = story(&next, task.id()).await;
        told.into_iter().filter(|name| *name == "progress").count()
    };
    assert_eq!(told("slow").await, 2, "the first one and the newest");
    assert_eq!(told("plain").await, 9);
}

/// Writes down who is about to settle.
fn book() -> (Arc<Mutex<Vec<String>>>, impl Fn(&str) -> TaskHooks) {
    let book = Arc::new(Mutex::new(Vec::new()));
    let pages = Arc::clone(&book);
    let hooks = move |whose: &str| {
        let (pages, whose) = (Arc::clone(&pages), whose.to_owned());
        TaskHooks::new().before_settle(move |_: Settling| {
            let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
            pages.push(whose.clone());
            async { Ok(()) }
        })
    };
    (book, hooks)
}

#[tokio::test]
async fn what_belongs_to_a_kind_holds_for_its_recovered_tasks_and_closures_of_one_task_are_gone() {
    let (book, hooks) = book();
    let registered = || steps().task_hooks_of("steps", hooks("kind"));
    let folder = Folder::new();
    let manager = folder.open_as(registered()).await;
    let token = CancellationToken::new();
    let task = manager.scope("s").task("t").retry(often());
    let task = task.retry_if(|_| true).hooks(hooks("task"));
    let task = task.cancel_with(token.clone()).spawn_kind("steps", ());
    let id = soon(task).await.unwrap().id();
    reaches(&manager, id, State::Running).await;
    let image = folder.left_behind();
    drop(manager);

    let next: Manager = image.open_as(registered()).await;
    token.cancel();
    let task = next.task(id);
    task.send("go").await.unwrap();
    let record = soon(task.settled()).await.unwrap();

    let Some(Outcome::Failed(fault)) = record.outcome.as_deref() else {
        panic!("its executor allows no further attempt: {record:?}");
    };
    assert_eq!((&*fault.message, record.attempt), ("busy", 2));
    assert_eq!(*book.lock().unwrap(), ["kind"]);
}

#[tokio::test]
async fn name_of_no_file_is_refused() {
    for name in ["", ":memory:"] {
        let refused = Manager::open(name).await.map(drop).unwrap_err();
        assert!(
            refused.to_string().contains("Manager::in_memory"),
            "{refused}"
        );
        assert!(!std::path::Path::new(":memory:").exists());
    }
}

#[tokio::test]
async fn file_that_another_manager_of_the_process_has_is_refused_and_says_so() {
    let folder = Folder::new();
    let first = Manager::open(&folder.path).await.unwrap();

    let refused = Manager::open(&folder.path).await.map(drop).unwrap_err();

    let advice = "another manager of this process: call its `shutdown` or `leave`";
    assert!(refused.to_string().contains(advice), "{refused}");
    first.leave().await.unwrap();
    Manager::open(&folder.path).await.unwrap();
}
