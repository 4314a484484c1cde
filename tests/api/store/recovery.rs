//! What becomes of each task when its process was killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    Builder, Cancel, Class, Context, Failure, Manager, MissingExecutor, OnParentEnd, Outcome,
    Retry, State, TaskId, Wait,
};

use super::{Folder, builder, double};
use crate::stage::{for_ever, reaches, soon, story, until_cancelled};

/// An executor that ends with its second attempt only.
async fn second_time(ctx: Context, input: Value) -> Result<Value, Failure> {
    match ctx.attempt() {
        1 => std::future::pending().await,
        attempt => Ok(json!([attempt, input])),
    }
}

fn twice() -> Builder {
    builder().executor("twice", second_time)
}

async fn state_of(manager: &Manager, id: TaskId) -> State {
    soon(manager.task(id).settled()).await.unwrap().state
}

#[tokio::test]
async fn closure_is_interrupted_with_evidence_and_all_below_it_ends() {
    let folder = Folder::new();
    let manager = folder.open_as(twice()).await;
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").retry(Retry::fixed(9, Duration::ZERO));
        child.spawn_kind("twice", 1).await?;
        let detached = ctx.task("detached").on_parent_end(OnParentEnd::Detach);
        let detached = detached.retry(Retry::fixed(9, Duration::ZERO));
        detached.spawn_kind("twice", 2).await?;
        for_ever(ctx).await
    });
    let lead = lead.await.unwrap();
    let id_of = |name: &str| manager.scope("s").find(name);
    let child = soon(async {
        loop {
            if let Some(detached) = id_of("detached") {
                reaches(&manager, detached, State::Running).await;
                return id_of("child").unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    let child = child.await;
    reaches(&manager, child, State::Running).await;
    let detached = id_of("detached").unwrap();

    let left = folder.left_behind();
    let next = left.open_as(twice()).await;

    let record = soon(next.task(lead.id()).settled()).await.unwrap();
    let Some(Outcome::Interrupted(evidence)) = record.outcome.as_deref() else {
        panic!("a closure cannot go on, but the record says {record:?}");
    };
    assert_eq!(&**evidence, "its process died while it was running");
    assert_eq!(state_of(&next, child).await, State::Cancelled);
    assert_eq!(state_of(&next, detached).await, State::Completed);
    assert_eq!(next.get(detached).unwrap().parent, None);
}

#[tokio::test]
async fn task_of_an_executor_runs_again_while_attempts_are_left() {
    let folder = Folder::new();
    let manager = folder.open_as(twice()).await;
    let scope = manager.scope("s");
    let again = scope.task("again").retry(Retry::fixed(1, Duration::ZERO));
    let again = again.spawn_kind("twice", "input").await.unwrap();
    let last = scope.task("last").spawn_kind("twice", 1).await.unwrap();
    for id in [again.id(), last.id()] {
        reaches(&manager, id, State::Running).await;
    }

    let left = folder.left_behind();
    let next = left.open_as(twice()).await;

    assert_eq!(state_of(&next, again.id()).await, State::Completed);
    let record = next.get(again.id()).unwrap();
    let Some(Outcome::Completed(value)) = record.outcome.as_deref() else {
        panic!("it completed, but the record says {record:?}");
    };
    assert_eq!(value.as_json(), r#"[2,"input"]"#);
    assert_eq!(state_of(&next, last.id()).await, State::Interrupted);
    let told = story(&next, again.id()).await;
    let told: Vec<_> = told.into_iter().filter(|name| *name != "pending").collect();
    let wanted = [
        "accepted",
        "started",
        "attempt_failed",
        "started",
        "settled",
    ];
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn pending_tasks_start_when_there_is_room_and_none_is_stranded() {
    let one_at_a_time = || twice().kind_limit("twice", Class::queue(1));
    let mut folder = Folder::new();
    let mut manager = folder.open_as(one_at_a_time()).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let task = manager.scope("s").unnamed();
        let task = task.retry(Retry::fixed(99, Duration::ZERO));
        ids.push(task.spawn_kind("twice", number).await.unwrap().id());
    }
    // The one that has the place keeps it until its process is killed; then it goes to the end.
    for _ in 0..60 {
        // The second attempt of each ends by itself.
        let is_busy = |id: &TaskId| {
            let record = manager.get(*id).expect("it is kept");
            record.state == State::Running && record.attempt == 1
        };
        let is_over = |id: &TaskId| manager.task(*id).state() == Some(State::Completed);
        if ids.iter().all(is_over) {
            return;
        }
        soon(async {
            while !ids.iter().any(is_busy) && !ids.iter().all(is_over) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        folder = folder.left_behind();
        manager = folder.open_as(one_at_a_time()).await;
    }
    panic!("some tasks wait for ever");
}

#[tokio::test]
async fn suspended_task_stays_and_is_resumed_with_data() {
    async fn sleeper(ctx: Context, _: Value) -> Result<Value, Failure> {
        match ctx.resumed() {
            None => Err(ctx.suspend("until told")),
            Some(data) => Ok(json!(["resumed with", data])),
        }
    }
    let sleepers = || builder().executor("sleeper", sleeper);
    let folder = Folder::new();
    let manager = folder.open_as(sleepers()).await;
    let task = manager.scope("s").task("t").spawn_kind("sleeper", ());
    let id = task.await.unwrap().id();
    reaches(&manager, id, State::Suspended).await;

    let left = folder.left_behind();
    let next = left.open_as(sleepers()).await;
    assert_eq!(next.task(id).state(), Some(State::Suspended));
    next.task(id).resume("coffee").await.unwrap();
    let record = soon(next.task(id).settled()).await.unwrap();
    let Some(Outcome::Completed(value)) = record.outcome.as_deref() else {
        panic!("it completed, but the record says {record:?}");
    };
    assert_eq!(value.as_json(), r#"["resumed with","coffee"]"#);
}

#[tokio::test]
async fn task_that_was_being_cancelled_is_cancelled() {
    async fn deaf(_: Context, _: Value) -> Result<Value, Failure> {
        std::future::pending().await
    }
    let folder = Folder::new();
    let manager = folder.open_as(builder().executor("deaf", deaf)).await;
    let task = manager
        .scope("s")
        .task("t")
        .retry(Retry::fixed(5, Duration::ZERO));
    let task = task.spawn_kind("deaf", ()).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let image = folder.left_behind_while_it_stops(&manager, task.id()).await;

    let next = image.open_as(builder().executor("deaf", deaf)).await;
    assert_eq!(next.task(task.id()).state(), Some(State::Cancelled));
    let stop = next.get(task.id()).unwrap().stop.clone().unwrap();
    assert_eq!(&*stop.reason, "enough");
}

#[tokio::test]
async fn task_without_its_executor_waits_for_it_and_says_so() {
    let folder = Folder::new();
    let producer = Manager::builder().missing_executor(MissingExecutor::Waits);
    let manager = folder.open_as(producer).await;
    let task = manager
        .scope("s")
        .task("t")
        .spawn_kind("double", 4)
        .await
        .unwrap();
    let id = task.id();

    let left = folder.left_behind();
    let next = left.open_as(Manager::builder()).await;
    let record = next.get(id).unwrap();
    assert_eq!(
        (record.state, &record.wait),
        (State::Pending, &Some(Wait::Executor))
    );
    next.register_executor("double", double).unwrap();
    assert_eq!(state_of(&next, id).await, State::Completed);
}

#[tokio::test]
async fn external_task_goes_on_and_hears_of_its_cancel() {
    let folder = Folder::new();
    let manager = folder.open().await;
    let ends = manager.scope("s").task("ends").external().await.unwrap();
    ends.refer("ci/1").await.unwrap();
    let stops = manager.scope("s").task("stops").external().await.unwrap();
    for external in [&ends, &stops] {
        reaches(&manager, external.id(), State::Running).await;
    }

    let left = folder.left_behind();
    let next = left.open().await;
    let ends = next.external(ends.id()).unwrap();
    assert_eq!(ends.state(), Some(State::Running));
    assert_eq!(
        next.get(ends.id()).unwrap().external_ref.as_deref(),
        Some("ci/1")
    );
    ends.complete("done").await.unwrap();
    assert_eq!(state_of(&next, ends.id()).await, State::Completed);

    let stops = next.external(stops.id()).unwrap();
    let cancelling = stops.cancel(Cancel::because("enough").grace(Duration::from_mins(10)));
    let hears = async {
        let stop = stops.asked_to_stop().await.expect("it is told");
        assert_eq!(&*stop.reason, "enough");
        stops.cancelled().await.unwrap();
    };
    let (cancelled, ()) = soon(async { tokio::join!(cancelling, hears) }).await;
    cancelled.unwrap();
    assert_eq!(state_of(&next, stops.id()).await, State::Cancelled);
}

#[tokio::test]
async fn answer_that_came_before_the_crash_is_there_for_the_next_attempt() {
    async fn asks(ctx: Context, _: Value) -> Result<Value, Failure> {
        let answer: Value = ctx.ask("colour", "which colour?").await?;
        if ctx.attempt() == 1 {
            std::future::pending::<()>().await;
        }
        Ok(answer)
    }
    let asking = || builder().executor("asks", asks);
    let folder = Folder::new();
    let manager = folder.open_as(asking()).await;
    let task = manager
        .scope("s")
        .task("t")
        .retry(Retry::fixed(1, Duration::ZERO));
    let id = task.spawn_kind("asks", ()).await.unwrap().id();
    reaches(&manager, id, State::Waiting).await;

    let left = folder.left_behind();
    let manager = {
        let next = left.open_as(asking()).await;
        // The second attempt asks the same question, which is still open.
        reaches(&next, id, State::Waiting).await;
        next.task(id).respond("colour", "green").await.unwrap();
        next
    };
    let record = soon(manager.task(id).settled()).await.unwrap();
    let Some(Outcome::Completed(value)) = record.outcome.as_deref() else {
        panic!("it completed, but the record says {record:?}");
    };
    assert_eq!(value.as_json(), r#""green""#);
}

#[tokio::test]
async fn p14_task_with_one_attempt_never_runs_twice() {
    let runs = Arc::new(AtomicU32::new(0));
    let counting = |runs: &Arc<AtomicU32>| {
        let runs = Arc::clone(runs);
        builder().executor("count", move |_: Context, _: Value| {
            runs.fetch_add(1, Ordering::SeqCst);
            async { std::future::pending::<Result<Value, Failure>>().await }
        })
    };
    let folder = Folder::new();
    let manager = folder.open_as(counting(&runs)).await;
    let task = manager.scope("s").task("t").spawn_kind("count", ());
    let id = task.await.unwrap().id();
    reaches(&manager, id, State::Running).await;
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }

    let left = folder.left_behind();
    let next = left.open_as(counting(&runs)).await;
    assert_eq!(state_of(&next, id).await, State::Interrupted);
    let rest = folder.left_behind();
    let third = rest.open_as(counting(&runs)).await;
    assert_eq!(state_of(&third, id).await, State::Interrupted);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_recovery_did_is_not_done_again_by_the_next_one() {
    let folder = Folder::new();
    let manager = folder.open().await;
    let task = manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();
    reaches(&manager, task.id(), State::Running).await;

    let image = folder.left_behind();
    let next = image.open().await;
    let told = story(&next, task.id()).await;
    assert_eq!(told, ["accepted", "started", "settled"]);
    let rest = image.left_behind();
    let third = rest.open().await;
    assert_eq!(story(&third, task.id()).await, told);
}
