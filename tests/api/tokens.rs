//! Foreign tokens, the token of a body, handles that cancel when dropped.

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use understory::{
    Cancel, CancelOnDrop, Cause, Context, Failure, Manager, Requester, State, TaskHandle,
};

use crate::stage::{for_ever, reaches, settle_down, soon, story, until, until_cancelled};

/// A body with one child, which both stop when they are asked to.
async fn with_child(ctx: Context) -> Result<(), Failure> {
    ctx.task("child").spawn(until_cancelled).await?;
    until_cancelled(ctx).await
}

#[tokio::test]
async fn foreign_token_cancels_the_tree() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (other, token) = (CancellationToken::new(), CancellationToken::new());
    let task = scope
        .task("lead")
        .cancel_with(other.clone())
        .cancel_with(token.clone());
    let task = task.spawn(with_child).await.unwrap();
    until(|| scope.find("lead/child").is_some()).await;
    let child = manager.task(scope.find("lead/child").unwrap());

    token.cancel();

    let lead = soon(task.settled()).await.unwrap();
    let child = soon(child.settled()).await.unwrap();
    assert_eq!(
        (lead.state, child.state),
        (State::Cancelled, State::Cancelled)
    );
    let (asked, inherited) = (lead.stop.as_ref().unwrap(), child.stop.as_ref().unwrap());
    assert_eq!((&asked.by, asked.cause), (&Requester::Token, Cause::Asked));
    assert_eq!(
        (&inherited.by, inherited.cause),
        (&Requester::Token, Cause::Ancestor(lead.id))
    );
    assert!(!other.is_cancelled());
}

#[tokio::test]
async fn token_that_is_cancelled_before_the_spawn_cancels_at_once() {
    let manager = Manager::in_memory();
    let token = CancellationToken::new();
    token.cancel();

    let task = manager.scope("s").task("t").cancel_with(token);
    let record = soon(task.spawn(until_cancelled).await.unwrap().settled())
        .await
        .unwrap();

    assert_eq!(record.state, State::Cancelled);
    assert_eq!(record.stop.as_ref().unwrap().by, Requester::Token);
}

#[tokio::test]
async fn token_of_a_task_that_has_ended_does_nothing_and_is_not_watched() {
    let manager = Manager::in_memory();
    let token = CancellationToken::new();
    let before = manager.scope("s").task("first").spawn(|_| async { Ok(()) });
    soon(before.await.unwrap().settled()).await.unwrap();
    settle_down().await;
    let alive = Handle::current().metrics().num_alive_tasks();
    let task = manager.scope("s").task("t").cancel_with(token.clone());
    let task = task.spawn(|_| async { Ok(5) }).await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    until(|| Handle::current().metrics().num_alive_tasks() == alive).await;

    token.cancel();
    settle_down().await;

    assert_eq!(task.record().unwrap(), record);
    assert_eq!(
        story(&manager, record.id).await,
        ["accepted", "started", "settled"]
    );
    assert_eq!(task.await.unwrap(), 5);
}

#[tokio::test]
async fn cancel_of_a_task_leaves_its_foreign_token_alone() {
    let manager = Manager::in_memory();
    let token = CancellationToken::new();
    let task = manager.scope("s").task("t").cancel_with(token.clone());
    let task = task.spawn(until_cancelled).await.unwrap();

    task.cancel_tree(Cancel::because("enough")).await.unwrap();
    settle_down().await;

    assert!(!token.is_cancelled());
}

#[tokio::test]
async fn token_of_a_body_ends_what_awaits_it() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let (early, request) = (ctx.token(), std::future::pending::<()>());
        let answer = early.run_until_cancelled(request).await;
        Ok((
            answer.is_some(),
            ctx.token().is_cancelled(),
            ctx.is_cancelled(),
        ))
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;

    task.cancel(Cancel::because("enough")).await.unwrap();

    let record = task.record().unwrap();
    let Some(understory::Outcome::Cancelled { late_result }) = record.outcome.as_deref() else {
        panic!("it was cancelled: {record:?}");
    };
    assert_eq!(late_result.as_ref().unwrap().as_json(), "[false,true,true]");
}

#[tokio::test]
async fn body_that_cancels_its_own_token_stops_nothing_else() {
    let manager = Manager::in_memory();
    let foreign = CancellationToken::new();
    let task = manager.scope("s").task("t").cancel_with(foreign.clone());
    let task = task.spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|ctx| async move {
            ctx.recv().await;
            Ok(ctx.is_cancelled() || ctx.token().is_cancelled())
        });
        let child = child.await?;
        ctx.token().cancel();
        settle_down().await;
        child.send("end").await?;
        Ok((ctx.is_cancelled(), child.await?))
    });

    assert_eq!(soon(task.await.unwrap()).await.unwrap(), (false, false));
    assert!(!foreign.is_cancelled());
}

async fn guarded(manager: &Manager) -> CancelOnDrop<()> {
    let task = manager
        .scope("s")
        .task("lead")
        .spawn(with_child)
        .await
        .unwrap();
    until(|| manager.scope("s").find("lead/child").is_some()).await;
    task.cancel_on_drop()
}

#[tokio::test]
async fn dropped_guard_cancels_the_tree() {
    let manager = Manager::in_memory();
    let guard = guarded(&manager).await;
    let lead = manager.task(guard.id());
    let child = manager.task(manager.scope("s").find("lead/child").unwrap());

    drop(guard);

    for task in [lead, child] {
        assert_eq!(soon(task.settled()).await.unwrap().state, State::Cancelled);
    }
}

#[tokio::test]
async fn disarmed_guard_and_a_dropped_handle_cancel_nothing() {
    let manager = Manager::in_memory();
    let handle: TaskHandle<()> = guarded(&manager).await.disarm();
    let task = handle.task();

    drop(handle);
    settle_down().await;

    assert_eq!((task.state(), manager.live()), (Some(State::Running), 2));
}

#[tokio::test]
async fn guard_of_a_task_that_has_ended_does_nothing() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .spawn(|_| async { Ok(()) })
        .await
        .unwrap();
    let record = soon(task.settled()).await.unwrap();

    drop(task.cancel_on_drop());
    settle_down().await;

    assert_eq!(manager.get(record.id).unwrap(), record);
}

#[test]
fn guard_that_is_dropped_outside_of_a_runtime_does_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (manager, guard) = runtime.block_on(async {
        let manager = Manager::in_memory();
        let task = manager.scope("s").task("t").spawn(for_ever).await.unwrap();
        (manager, task.cancel_on_drop())
    });
    let id = guard.id();

    drop(guard);

    assert!(manager.get(id).unwrap().stop.is_none());
}
