//! Suspend and resume.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use understory::{
    Cancel, Class, Context, Failure, Limit, Manager, Outcome, ResumeError, Retry, State,
    TaskBuilder, TaskHandle, Wait,
};

use crate::stage::{for_ever, reaches, settle_down, soon, story, until_cancelled};

/// A body that suspends until it is resumed, and returns what it was resumed with.
async fn asks(ctx: Context) -> Result<Value, Failure> {
    match ctx.resumed() {
        None => Err(ctx.suspend("may I?")),
        Some(data) => Ok(json!([ctx.attempt(), data])),
    }
}

async fn suspended(manager: &Manager) -> TaskHandle<Value> {
    let task = manager.scope("s").task("t").resumable();
    let task = task.spawn(asks).await.unwrap();
    reaches(manager, task.id(), State::Suspended).await;
    task
}

fn in_state(refused: Result<(), ResumeError>) -> State {
    match refused {
        Err(ResumeError::NotSuspended { state }) => state,
        other => panic!("it is not suspended: {other:?}"),
    }
}

#[tokio::test]
async fn body_suspends_and_goes_on_with_what_it_is_resumed_with() {
    let manager = Manager::in_memory();
    let task = suspended(&manager).await;

    let record = task.record().unwrap();
    let payload = understory::Payload::from_json("\"may I?\"");
    assert_eq!(record.wait, Some(Wait::Resume(payload)));
    let suspended = understory::Filter::all().state(State::Suspended);
    let listed = manager.list(&suspended, &understory::Page::default());
    assert_eq!(listed.records[0].to_json()["wait"]["payload"], "may I?");
    assert_eq!(record.body, understory::Body::Absent);

    let awaited = tokio::spawn({
        let task = task.task();
        async move { task.settled().await.unwrap().state }
    });
    task.resume(json!({ "yes": true })).await.unwrap();

    let id = task.id();
    assert_eq!(soon(task).await.unwrap(), json!([1, { "yes": true }]));
    assert_eq!(soon(awaited).await.unwrap(), State::Completed);
    let told = [
        "accepted",
        "started",
        "suspended",
        "resumed",
        "started",
        "settled",
    ];
    assert_eq!(story(&manager, id).await, told);
}

#[tokio::test]
async fn value_returned_after_a_suspend_is_ignored_and_another_error_wins() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let ignored = scope.task("ignored").resumable().spawn(|ctx| async move {
        let _marked = ctx.suspend("first");
        let _newest = ctx.suspend("second");
        Ok("ignored")
    });
    let ignored = ignored.await.unwrap();
    let failed = scope.task("failed").resumable().spawn(|ctx| async move {
        let _marked = ctx.suspend("why");
        Err::<(), _>(Failure::new("something else"))
    });
    let failed = soon(failed.await.unwrap().settled()).await.unwrap();

    reaches(&manager, ignored.id(), State::Suspended).await;
    let wait = ignored.record().unwrap().to_json()["wait"]["payload"].take();
    assert_eq!(wait, "second");
    assert_eq!(failed.state, State::Failed);
    assert_eq!(failed.wait, None);
    let Some(Outcome::Failed(fault)) = failed.outcome.as_deref() else {
        panic!("it failed");
    };
    assert_eq!(fault.to_string(), "something else");
}

#[tokio::test]
async fn body_that_can_be_called_once_is_told_that_it_cannot_suspend() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(asks).await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    let Some(Outcome::Failed(fault)) = record.outcome.as_deref() else {
        panic!("it failed");
    };
    assert!(fault.to_string().contains("`resumable`"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p24_of_many_callers_one_resumes() {
    let manager = Manager::in_memory();
    let task = suspended(&manager).await;
    let callers = (0..32).map(|number| {
        let task = task.task();
        tokio::spawn(async move { task.resume(number).await.map(|()| number) })
    });
    let mut winners = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        match soon(caller).await.unwrap() {
            Ok(number) => winners.push(number),
            Err(ResumeError::NotSuspended { .. } | ResumeError::AlreadyResumed(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(soon(task).await.unwrap(), json!([1, winners[0]]));
}

#[tokio::test]
async fn resume_of_what_is_not_suspended_says_what_it_is() {
    let manager = Manager::in_memory();
    let running = manager.scope("s").task("r").spawn(for_ever).await.unwrap();
    reaches(&manager, running.id(), State::Running).await;
    assert_eq!(in_state(running.resume(1).await), State::Running);

    running
        .cancel(Cancel::because("enough").grace(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(
        in_state(manager.resume(running.id(), 1).await),
        State::Cancelled
    );

    let unknown = understory::TaskId::from_u128(7);
    let refused = manager.resume(unknown, 1).await;
    assert!(matches!(refused, Err(ResumeError::Unknown(id)) if id == unknown));
    let large = "x".repeat(1024 * 1024);
    let refused = running.resume(large).await;
    assert!(matches!(refused, Err(ResumeError::TooLarge { .. })));
    let odd_keys = std::collections::BTreeMap::from([((1, 2), 3)]);
    let refused = running.resume(odd_keys).await;
    assert!(matches!(refused, Err(ResumeError::Encode(_))));
}

/// A manager with one slot.
fn one_slot() -> Manager {
    Manager::builder()
        .limit("l", Class::queue(1))
        .build()
        .unwrap()
}

#[tokio::test]
async fn suspended_task_gives_its_slot_back_and_queues_for_it_when_it_is_resumed() {
    let manager = one_slot();
    let scope = manager.scope("s");
    let first = scope.task("first").limit("l").resumable();
    let first = first.spawn(asks).await.unwrap();
    reaches(&manager, first.id(), State::Suspended).await;
    let second = scope.task("second").limit("l").spawn(until_cancelled);
    let second = second.await.unwrap();
    reaches(&manager, second.id(), State::Running).await;

    let refused = first.try_resume("no").await;
    assert!(matches!(refused, Err(ResumeError::LimitReached(full)) if full.in_use == 1));
    assert_eq!(first.state(), Some(State::Suspended));
    first.resume("yes").await.unwrap();
    settle_down().await;
    let record = first.record().unwrap();
    assert_eq!(
        (record.state, record.wait.clone()),
        (State::Pending, Some(Wait::Slot))
    );
    let again = first.resume("again").await;
    assert!(matches!(again, Err(ResumeError::AlreadyResumed(id)) if id == first.id()));

    second
        .cancel(Cancel::because("its turn is over"))
        .await
        .unwrap();
    assert_eq!(soon(first).await.unwrap(), json!([1, "yes"]));
}

#[tokio::test]
async fn suspended_task_is_cancelled_at_once() {
    let manager = Manager::in_memory();
    let task = suspended(&manager).await;
    let report = task.cancel_tree(Cancel::because("no longer needed")).await;
    assert_eq!(report.unwrap().cancelled, [task.id()]);
    assert_eq!(in_state(task.resume("late").await), State::Cancelled);
}

#[tokio::test]
async fn request_to_stop_wins_over_the_wish_to_be_suspended() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .resumable()
        .spawn(|ctx| async move {
            ctx.cancelled().await;
            Err::<(), _>(ctx.suspend("wait"))
        });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    task.cancel(Cancel::because("enough")).await.unwrap();
    assert_eq!(task.state(), Some(State::Cancelled));
}

fn timed<Mode>(task: TaskBuilder<Mode>) -> TaskBuilder<Mode> {
    let minute = Duration::from_mins(1);
    task.timeout(minute).idle_timeout(minute)
}

#[tokio::test(start_paused = true)]
async fn limits_of_an_attempt_stand_still_while_it_is_suspended() {
    let manager = Manager::in_memory();
    let task = timed(manager.scope("s").task("t").resumable()).spawn(|ctx| async move {
        match ctx.resumed() {
            None => Err(ctx.suspend("may I?")),
            Some(_) => for_ever(ctx).await,
        }
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    tokio::time::advance(Duration::from_hours(1)).await;
    settle_down().await;
    assert_eq!(task.state(), Some(State::Suspended));

    task.resume(()).await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    let Some(Outcome::TimedOut { limit, .. }) = record.outcome.as_deref() else {
        panic!("its time is over: {record:?}");
    };
    assert!(matches!(limit, Limit::Attempt | Limit::Idle));
}

#[tokio::test]
async fn attempt_keeps_its_number_and_a_retry_after_it_counts() {
    let manager = Manager::in_memory();
    let runs = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&runs);
    let task = manager
        .scope("s")
        .task("t")
        .retry(Retry::fixed(1, Duration::ZERO));
    let task = task.spawn(move |ctx| {
        let runs = Arc::clone(&seen);
        async move {
            match runs.fetch_add(1, SeqCst) {
                0 => Err(ctx.suspend("first")),
                1 => Err(Failure::new(format!("attempt {} fails", ctx.attempt()))),
                _ => Ok(json!([ctx.attempt(), ctx.resumed()])),
            }
        }
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    task.resume("go on").await.unwrap();
    assert_eq!(soon(task).await.unwrap(), json!([2, null]));
    assert_eq!(runs.load(SeqCst), 3);
}

#[tokio::test]
async fn messages_wait_for_a_suspended_task() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .resumable()
        .spawn(|ctx| async move {
            match ctx.resumed() {
                None => Err(ctx.suspend("wait")),
                Some(_) => Ok(ctx
                    .drain()
                    .into_iter()
                    .map(|message| message.body)
                    .collect()),
            }
        });
    let task: TaskHandle<Vec<Value>> = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    task.send("one").await.unwrap();
    task.send("two").await.unwrap();
    task.resume(()).await.unwrap();
    assert_eq!(soon(task).await.unwrap(), ["one", "two"]);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn p24_suspended_executor_is_resumed_after_a_restart() {
    use crate::stage::until;
    let ask = |ctx: Context, _: Value| asks(ctx);
    let manager = Manager::builder().executor("asks", ask).build().unwrap();
    let executor = manager.scope("s").task("executor").spawn_kind("asks", ());
    let executor = executor.await.unwrap();
    let closure = suspended(&manager).await;
    reaches(&manager, executor.id(), State::Suspended).await;

    manager.break_part(understory::Part::Manager);
    let _asked = manager.scope("s").unnamed().spawn(for_ever).await;
    until(|| manager.incarnation() == 2).await;

    assert_eq!(
        soon(closure.settled()).await.unwrap().state,
        State::Interrupted
    );
    assert_eq!(in_state(closure.resume("late").await), State::Interrupted);
    soon(executor.resume("yes")).await.unwrap();
    assert_eq!(soon(executor).await.unwrap(), json!([1, "yes"]));
}

/// How far a body has come, as it says when it suspends.
#[derive(serde::Serialize, serde::Deserialize)]
struct SoFar {
    sum: i64,
}

async fn adds(ctx: Context) -> Result<i64, Failure> {
    let before = ctx.suspended_with::<SoFar>()?;
    let sum = before.map_or(0, |so_far| so_far.sum);
    match ctx.resumed_as::<i64>()? {
        Some(0) => Ok(sum),
        more => Err(ctx.suspend(SoFar {
            sum: sum + more.unwrap_or_default(),
        })),
    }
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn resumed_body_finds_what_it_suspended_with_also_after_a_restart() {
    use crate::stage::until;
    let add = |ctx: Context, _: Value| async { adds(ctx).await.map(Value::from) };
    let manager = Manager::builder().executor("add", add).build().unwrap();
    let task = manager.scope("s").task("t").spawn_kind("add", ());
    let task = task.await.unwrap();
    let is_suspended = |sum: i64| {
        let record = manager.get(task.id()).unwrap();
        let so_far = record.suspension.as_ref();
        let so_far = so_far.and_then(|payload| payload.decode::<SoFar>().ok());
        record.state == State::Suspended && so_far.is_some_and(|so_far| so_far.sum == sum)
    };
    until(|| is_suspended(0)).await;
    task.resume(30).await.unwrap();
    until(|| is_suspended(30)).await;

    manager.break_part(understory::Part::Manager);
    let _asked = manager.scope("s").unnamed().spawn(for_ever).await;
    until(|| manager.incarnation() == 2).await;

    assert!(is_suspended(30));
    task.resume(12).await.unwrap();
    until(|| is_suspended(42)).await;
    task.resume(0).await.unwrap();
    assert_eq!(soon(task).await.unwrap(), json!(42));
}

#[tokio::test]
async fn data_of_another_type_is_an_error_and_a_first_run_has_none() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").resumable().spawn(adds);
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    task.resume("a lot").await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    assert_eq!((record.state, &record.suspension), (State::Failed, &None));
}

#[tokio::test]
async fn helper_that_receives_hears_that_the_body_suspends() {
    let manager = Manager::in_memory();
    let (tell, mut helpers) = mpsc::unbounded_channel();
    let task = manager.scope("s").task("t").resumable();
    let task = task.spawn(move |ctx| {
        let tell = tell.clone();
        async move {
            let reader = ctx.clone();
            let helper = tokio::spawn(async move { reader.recv().await.is_none() });
            assert!(tell.send(helper).is_ok());
            // It waits for a message before the body goes on.
            settle_down().await;
            Err::<(), _>(ctx.suspend("may I?"))
        }
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;

    assert!(soon(soon(helpers.recv()).await.unwrap()).await.unwrap());
}
