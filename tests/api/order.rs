//! What a task comes after, and keys that make asking twice the same as asking once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use understory::kernel::Refusal;
use understory::{
    Cancel, Cause, Context, Failure, Manager, Overflow, Record, ScopeRef, SpawnError, State,
    TaskId, Wait,
};

use crate::stage::{settle_down, soon, until_cancelled};

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

/// A body that ends when it gets a message.
async fn until_told(ctx: Context) -> Result<(), Failure> {
    ctx.recv().await;
    Ok(())
}

async fn end_of(manager: &Manager, task: TaskId) -> Arc<Record> {
    soon(manager.task(task).settled()).await.unwrap()
}

fn cause(record: &Record) -> Cause {
    record.stop.as_ref().expect("it was asked to stop").cause
}

#[tokio::test]
async fn task_comes_after_others_that_completed_now_or_before() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let before = scope.task("before").spawn(nothing).await.unwrap();
    soon(before.settled()).await.unwrap();
    let now = scope.task("now").spawn(until_told).await.unwrap();
    let task = scope
        .task("t")
        .after([before.id(), now.id()])
        .spawn(nothing)
        .await
        .unwrap();
    settle_down().await;
    let waiting = task.record().unwrap();
    assert_eq!(
        (waiting.state, &waiting.wait),
        (State::Pending, &Some(Wait::After(1)))
    );

    now.send("end").await.unwrap();

    let record = end_of(&manager, task.id()).await;
    let now = end_of(&manager, now.id()).await;
    assert_eq!(record.state, State::Completed);
    assert!(record.started_at >= now.ended_at && record.seq > now.seq);
}

#[tokio::test]
async fn task_after_one_that_did_not_complete_is_cancelled_and_names_it() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let failing = scope.task("failing").spawn(|ctx| async move {
        ctx.recv().await;
        Err::<(), _>(Failure::new("no"))
    });
    let failing = failing.await.unwrap();
    let stopping = scope.task("stopping").spawn(until_cancelled).await.unwrap();
    let mut tasks = Vec::new();
    for dependency in [failing.id(), stopping.id()] {
        let early = scope
            .unnamed()
            .after([dependency])
            .spawn(nothing)
            .await
            .unwrap();
        tasks.push((dependency, early.id()));
    }

    failing.send("end").await.unwrap();
    stopping.cancel(Cancel::because("enough")).await.unwrap();
    for dependency in [failing.id(), stopping.id()] {
        end_of(&manager, dependency).await;
        let late = scope
            .unnamed()
            .after([dependency])
            .spawn(nothing)
            .await
            .unwrap();
        tasks.push((dependency, late.id()));
    }

    for (dependency, task) in tasks {
        let record = end_of(&manager, task).await;
        assert_eq!((record.state, record.attempt), (State::Cancelled, 0));
        assert_eq!(cause(&record), Cause::Dependency(dependency));
        let reason = &record.stop.as_ref().unwrap().reason;
        assert!(reason.contains(&dependency.to_string()), "{reason}");
    }
}

#[tokio::test]
async fn dependency_that_would_never_end_or_is_unknown_is_refused() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope
        .task("lead")
        .spawn(until_cancelled)
        .await
        .unwrap()
        .id();
    let child = scope
        .task("child")
        .parent(lead)
        .spawn(until_cancelled)
        .await
        .unwrap()
        .id();
    let unknown = TaskId::from_u128(9);

    for above in [lead, child] {
        let refused = scope
            .unnamed()
            .parent(child)
            .after([above])
            .spawn(nothing)
            .await;
        assert!(
            matches!(refused, Err(SpawnError::Refused(Refusal::DependencyAbove(t))) if t == above),
            "{refused:?}"
        );
    }
    let refused = scope.unnamed().after([unknown]).spawn(nothing).await;
    assert!(
        matches!(refused, Err(SpawnError::Refused(Refusal::UnknownDependency(t))) if t == unknown)
    );
    assert_eq!(manager.counts().total(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p17_many_asks_with_one_key_are_one_task() {
    let manager = Manager::in_memory();
    let ran = Arc::new(AtomicU32::new(0));
    let asks: Vec<_> = (0..64)
        .map(|_| {
            let (scope, ran) = (manager.scope("s"), Arc::clone(&ran));
            tokio::spawn(async move {
                let task = scope
                    .task("t")
                    .key("once")
                    .spawn(move |_| async move { Ok(ran.fetch_add(1, SeqCst)) });
                task.await
            })
        })
        .collect();

    let mut ids = Vec::new();
    for ask in asks {
        let task = soon(ask)
            .await
            .unwrap()
            .expect("the same was asked each time");
        ids.push(task.id());
        assert_eq!(
            soon(task).await.unwrap(),
            0,
            "all get the value of the one that ran"
        );
    }

    ids.dedup();
    assert_eq!(
        (ids.len(), ran.load(SeqCst), manager.counts().total()),
        (1, 1, 1)
    );
    let again = manager
        .scope("s")
        .task("t")
        .key("once")
        .spawn(nothing)
        .await
        .unwrap();
    assert_eq!(
        again.id(),
        ids[0],
        "it has ended, and its key is still bound"
    );
    let elsewhere = manager
        .scope("other")
        .task("t")
        .key("once")
        .spawn(nothing)
        .await
        .unwrap();
    assert_ne!(elsewhere.id(), ids[0]);
}

#[tokio::test]
async fn key_with_other_wishes_is_a_conflict() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").task("t").key("k").label("run", "1");
    let first = task().spawn(until_cancelled).await.unwrap().id();

    for (other, wish) in [
        (task().label("run", "2"), "label run"),
        (task().name("u"), "name"),
        (task().timeout(Duration::MAX), "timeout"),
        (task().inbox_capacity(3), "inbox_capacity"),
        (task().inbox_overflow(Overflow::Wait), "inbox_overflow"),
        (task().coalesce_progress(Duration::MAX), "progress_interval"),
    ] {
        let refused = other.spawn(nothing).await.unwrap_err();
        assert!(
            matches!(&refused, SpawnError::Refused(Refusal::KeyConflict(t, w))
                if *t == first && w == wish),
            "{refused:?}"
        );
        let says = format!("the key is bound to task {first}, which differs in its {wish}");
        assert_eq!(refused.to_string(), says);
    }
    assert_eq!(manager.counts().total(), 1);
}

#[tokio::test(start_paused = true)]
async fn key_is_free_again_after_its_window() {
    let (almost, hour) = (Duration::from_mins(59), Duration::from_hours(1));
    let manager = Manager::builder().key_window(hour).build().unwrap();
    let ask = || manager.scope("s").unnamed().key("k").spawn(nothing);
    let first = ask().await.unwrap().id();
    end_of(&manager, first).await;

    tokio::time::sleep(almost).await;
    let within = ask().await.unwrap().id();
    tokio::time::sleep(Duration::from_mins(2)).await;
    let later = ask().await.unwrap().id();

    assert_eq!(within, first);
    assert_ne!(later, first);
}

#[tokio::test]
async fn plain_functions_spawn_below_the_body_that_calls_them() {
    async fn helper(scope: &ScopeRef) -> Result<(TaskId, TaskId), SpawnError> {
        let child = scope.unnamed().spawn(nothing).await?.id();
        let root = scope.unnamed().root().spawn(nothing).await?.id();
        Ok((child, root))
    }
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let body = scope.clone();
    let lead = scope
        .task("lead")
        .spawn(|_| async move { Ok(helper(&body).await?) });
    let lead = lead.await.unwrap();
    let id = lead.id();

    let (child, root) = soon(lead).await.unwrap();

    assert_eq!(manager.get(child).unwrap().parent, Some(id));
    assert_eq!(manager.get(root).unwrap().parent, None);
    let (outside, _) = helper(&scope).await.unwrap();
    assert_eq!(manager.get(outside).unwrap().parent, None);
}
