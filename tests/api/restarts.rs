//! Long-lived tasks that are restarted by their policy; on paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;
use understory::{
    Again, Cancel, Context, Failure, Fault, FaultKind, Manager, Outcome, Record, RestartPolicy,
    Retry, State, TaskBuilder, TaskId, What,
};

use crate::stage::{feed_of, reaches, sees, soon, story, until_cancelled};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn fault(record: &Record) -> &Fault {
    match record.outcome.as_deref() {
        Some(Outcome::Failed(fault)) => fault,
        other => panic!("it failed: {other:?}"),
    }
}

async fn no_network(_: Context) -> Result<(), Failure> {
    Err(Failure::new("no network"))
}

async fn runs_again(manager: &Manager, task: TaskId, attempt: u32) {
    let mut feed = feed_of(manager, task).await;
    let starts = |event: &understory::Event| event.what.name() == "started";
    sees(&mut feed, |event| starts(event) && event.attempt == attempt).await;
}

/// How a task ends whose every run fails.
async fn end_without_network(task: TaskBuilder<Again>) -> Arc<Record> {
    task.spawn(no_network)
        .await
        .unwrap()
        .settled()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn permanent_task_runs_until_it_is_cancelled() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent()
        .intensity(9, MINUTE)
        .delay(SECOND);
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.spawn(move |ctx| {
        let run = counted.fetch_add(1, SeqCst);
        async move {
            assert_eq!((ctx.restarts(), ctx.attempt()), (run, run + 1));
            if run == 3 {
                ctx.cancelled().await;
            }
            Ok(run)
        }
    });
    let task = task.await.unwrap();
    runs_again(&manager, task.id(), 4).await;

    let report = soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    let record = task.record().unwrap();
    assert_eq!((record.state, record.restarts), (State::Cancelled, 3));
    assert_eq!(record.to_json()["restarts"], 3);
    let took = record.started_at.unwrap().since(record.created_at);
    assert!(took >= 3 * SECOND && took < 4 * SECOND);
    assert_eq!(runs.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn transient_task_is_restarted_after_failures_and_ends_with_a_value() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::transient();
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.spawn(|ctx| async move {
        match ctx.restarts() {
            0 => Err(Failure::new("no network")),
            1 => panic!("a bug"),
            restarts => Ok(restarts),
        }
    });
    let task = task.await.unwrap();
    let id = task.id();

    assert_eq!(soon(task).await.unwrap(), 2);

    let told = story(&manager, id).await;
    let round = ["started", "restarting", "pending"];
    let rounds = [
        ["accepted"].as_slice(),
        &round,
        &round,
        &["started", "settled"],
    ];
    assert_eq!(told, rounds.concat());
}

#[tokio::test(start_paused = true)]
async fn temporary_task_is_not_restarted() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").unnamed();
    let task = task.restart_policy(RestartPolicy::temporary());

    let record = end_without_network(task).await;

    assert_eq!((record.attempt, record.restarts), (1, 0));
    assert_eq!(fault(&record).kind, FaultKind::Error);
}

#[tokio::test(start_paused = true)]
async fn task_that_is_restarted_too_often_within_the_period_says_so() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::transient().intensity(2, MINUTE);
    let task = manager.scope("s").task("service").restart_policy(policy);

    let record = end_without_network(task).await;

    let why = "it was restarted 2 times within 60s and no more; then: no network";
    assert_eq!(&*fault(&record).message, why);
    assert_eq!(fault(&record).kind, FaultKind::RestartedTooOften);
    assert_eq!((record.attempt, record.restarts), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn restarts_that_are_far_enough_apart_go_on() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent().intensity(1, SECOND);
    let task = manager
        .scope("s")
        .task("service")
        .restart_policy(policy.delay(SECOND));
    let task = task
        .spawn(|ctx| async move { Ok(ctx.restarts()) })
        .await
        .unwrap();

    runs_again(&manager, task.id(), 20).await;

    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    assert!(task.record().unwrap().restarts >= 19);
}

#[tokio::test(start_paused = true)]
async fn message_for_a_permanent_task_waits_for_its_next_start() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent().delay(SECOND);
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.spawn(|ctx| async move {
        if ctx.restarts() > 0 {
            ctx.recv().await.expect("it was sent before");
            return Err(Failure::new("enough").permanent());
        }
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    let again = sees(&mut feed, |event| event.what.name() == "restarting").await;
    let once = What::Restarting {
        restarts: 1,
        fault: None,
    };
    assert_eq!(again.what, once);

    let receipt = task.send("hello").await.unwrap();

    let record = soon(task.settled()).await.unwrap();
    assert_eq!(fault(&record).kind, FaultKind::Permanent);
    assert_eq!(receipt.await, understory::Delivery::Read);
}

#[tokio::test(start_paused = true)]
async fn message_for_a_task_that_is_restarted_no_more_is_a_dead_letter() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent().intensity(0, SECOND);
    let task = manager.scope("s").task("service").restart_policy(policy);
    let go_on = Arc::new(Notify::new());
    let goes_on = Arc::clone(&go_on);
    let task = task.spawn(move |_| {
        let goes_on = Arc::clone(&goes_on);
        async move {
            goes_on.notified().await;
            Ok(())
        }
    });
    let task = task.await.unwrap();
    let receipt = task.send("hello").await.unwrap();
    go_on.notify_one();
    assert_eq!(soon(task.settled()).await.unwrap().state, State::Failed);
    let ended = understory::Undelivered::Ended;
    assert_eq!(receipt.await, understory::Delivery::Undelivered(ended));
}

#[tokio::test(start_paused = true)]
async fn cancel_during_the_delay_of_a_restart_ends_the_task() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent().delay(60 * MINUTE);
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.spawn(no_network).await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| event.what.name() == "restarting").await;

    soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    let record = task.record().unwrap();
    assert_eq!((record.state, record.attempt), (State::Cancelled, 1));
    let took = record.ended_at.unwrap().since(record.created_at);
    assert!(took < SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn children_of_a_run_have_stopped_before_the_next_one_starts() {
    let manager = Manager::in_memory();
    let running = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&running);
    let policy = RestartPolicy::transient();
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.spawn(move |ctx| {
        let running = Arc::clone(&counted);
        async move {
            assert_eq!(running.load(SeqCst), 0);
            if ctx.restarts() == 2 {
                return Ok(2);
            }
            let child = ctx.unnamed().spawn(move |ctx| async move {
                running.fetch_add(1, SeqCst);
                ctx.cancelled().await;
                running.fetch_sub(1, SeqCst);
                Ok(())
            });
            let child = child.await?;
            reaches(&ctx.manager(), child.id(), State::Running).await;
            Err(Failure::new("no network"))
        }
    });

    assert_eq!(soon(task.await.unwrap()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn classifier_ends_a_long_lived_task_for_good() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent().intensity(9, MINUTE);
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.retry_if(|fault| &*fault.message != "no network");

    let record = end_without_network(task).await;

    assert_eq!(record.restarts, 0);
    assert_eq!(fault(&record).kind, FaultKind::Permanent);
}

#[tokio::test(start_paused = true)]
async fn backoff_between_restarts_stays_below_its_longest() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent().intensity(6, 60 * MINUTE);
    let policy = policy.backoff(SECOND, 4 * SECOND);
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.spawn(|_| async { Ok(()) }).await.unwrap();

    let record = task.settled().await.unwrap();

    assert_eq!((record.state, record.restarts), (State::Failed, 6));
    let took = record.ended_at.unwrap().since(record.created_at);
    let longest = (1 + 2 + 4 + 4 + 4 + 4) * SECOND;
    assert!(
        took > Duration::ZERO && took <= longest + SECOND,
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn of_retries_and_restarts_the_later_one_counts() {
    let manager = Manager::in_memory();
    let (once, scope) = (Retry::fixed(1, SECOND), manager.scope("s"));
    let often = RestartPolicy::transient().intensity(4, MINUTE);
    let restarted = scope.unnamed().retry(once.clone());
    let restarted = restarted.restart_policy(often.clone());
    let retried = scope.unnamed().restart_policy(often).retry(once);

    for (task, attempts) in [(restarted, 5), (retried, 2)] {
        let record = end_without_network(task).await;
        assert_eq!(record.attempt, attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_long_lived_tasks() {
    let manager = Manager::in_memory();
    let policy = RestartPolicy::permanent();
    let task = manager.scope("s").task("service").restart_policy(policy);
    let task = task.spawn(until_cancelled).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;

    soon(manager.shutdown(SECOND)).await.unwrap();

    assert_eq!(task.record().unwrap().state, State::Cancelled);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn p11_failure_of_the_manager_counts_as_one_restart_of_an_executor() {
    use crate::stage::until;

    let waits = |ctx: Context, _| async move {
        ctx.cancelled().await;
        Ok(serde_json::Value::Null)
    };
    let manager = Manager::builder().executor("k", waits).build().unwrap();
    let task = manager.scope("s").task("service");
    let task = task.restart_policy(RestartPolicy::permanent().intensity(1, 60 * MINUTE));
    let task = task.spawn_kind("k", 1).await.unwrap();
    for run in [1, 2] {
        runs_again(&manager, task.id(), run).await;
        assert_eq!(task.record().unwrap().restarts, run - 1);
        let before = manager.incarnation();
        manager.break_part(understory::Part::Manager);
        let asked = manager.scope("s").unnamed().spawn(until_cancelled);
        assert!(soon(asked).await.is_err(), "it breaks on its next turn");
        until(|| manager.incarnation() == before + 1).await;
    }

    let record = soon(task.settled()).await.unwrap();

    assert_eq!(fault(&record).kind, FaultKind::RestartedTooOften);
    assert!(fault(&record).message.contains("its process died"));
}
