//! Classifiers: after which failures another attempt follows; on paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use understory::{
    BoxFuture, Cancel, Context, Executor, Failure, Fault, FaultKind, Limit, Manager, Outcome,
    Record, Retry, State, TaskBuilder,
};

use crate::stage::{for_ever, reaches, soon, until_cancelled};

const SECOND: Duration = Duration::from_secs(1);

/// Nine more attempts, if the classifier allows them.
fn patient(manager: &Manager) -> TaskBuilder<understory::Again> {
    let task = manager.scope("s").unnamed();
    task.retry(Retry::fixed(9, SECOND))
}

fn fault(record: &Record) -> &Fault {
    match record.outcome.as_deref() {
        Some(Outcome::Failed(fault)) => fault,
        other => panic!("it failed: {other:?}"),
    }
}

/// Fails each time, in other words.
async fn fails(ctx: Context) -> Result<(), Failure> {
    let words = ["busy", "busy", "gone"];
    Err(Failure::new(words[ctx.attempt() as usize - 1]))
}

#[tokio::test(start_paused = true)]
async fn failure_that_the_classifier_refuses_is_the_last_one() {
    let manager = Manager::in_memory();
    let task = patient(&manager).retry_if(|fault| &*fault.message == "busy");

    let record = task.spawn(fails).await.unwrap().settled().await.unwrap();

    assert_eq!((record.state, record.attempt), (State::Failed, 3));
    assert_eq!(fault(&record).kind, FaultKind::Permanent);
    assert_eq!(&*fault(&record).message, "gone");
}

#[tokio::test(start_paused = true)]
async fn classifier_of_a_task_of_an_executor_is_asked() {
    let executor = |_: Context, _| async { Err(Failure::new("gone")) };
    let manager = Manager::builder().executor("k", executor).build().unwrap();
    let often = patient(&manager).spawn_kind("k", 1).await.unwrap();
    let once = patient(&manager).retry_if(|_| false);
    let once = once.spawn_kind("k", 1).await.unwrap();

    assert_eq!(once.settled().await.unwrap().attempt, 1);
    assert_eq!(often.settled().await.unwrap().attempt, 10);
}

/// An executor that knows which of its failures pass.
struct Picky;

impl Executor for Picky {
    fn run(&self, ctx: Context, _: Value) -> BoxFuture<Result<Value, Failure>> {
        Box::pin(async move { fails(ctx).await.map(|()| Value::Null) })
    }

    fn retry_if(&self, fault: &Fault) -> bool {
        &*fault.message == "busy"
    }
}

#[tokio::test(start_paused = true)]
async fn executor_judges_its_failures_and_its_task_may_be_stricter() {
    let manager = Manager::builder().executor("k", Picky).build().unwrap();
    let task = patient(&manager).spawn_kind("k", 1).await.unwrap();
    assert_eq!(task.settled().await.unwrap().attempt, 3);

    let lenient = patient(&manager).retry_if(|_| true);
    let lenient = lenient.spawn_kind("k", 1).await.unwrap();
    assert_eq!(lenient.settled().await.unwrap().attempt, 3);

    let strict = patient(&manager).retry_if(|_| false);
    let strict = strict.spawn_kind("k", 1).await.unwrap();
    assert_eq!(strict.settled().await.unwrap().attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn classifier_that_panics_allows_no_further_attempt_and_is_told() {
    let manager = Manager::in_memory();
    let task = patient(&manager).retry_if(|_| panic!("cannot say"));

    let record = task.spawn(fails).await.unwrap().settled().await.unwrap();

    assert_eq!(record.attempt, 1);
    assert_eq!(fault(&record).kind, FaultKind::Permanent);
    let message = &fault(&record).message;
    assert!(message.contains("busy") && message.contains("cannot say"));
    let next = patient(&manager).spawn(|_| async { Ok(1) }).await.unwrap();
    assert_eq!(soon(next).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn classifier_judges_panics_and_time_limits() {
    let manager = Manager::in_memory();
    let panics = patient(&manager).retry_if(|fault| fault.kind != FaultKind::Panic);
    let panics = panics.spawn(|_| async { panic!("a bug") as Result<(), _> });
    let record = panics.await.unwrap().settled().await.unwrap();
    assert_eq!(record.attempt, 1);
    assert_eq!(&*fault(&record).message, "panicked: a bug");

    for grace in [Duration::ZERO, SECOND] {
        let slow = patient(&manager).timeout(SECOND).grace(grace);
        let slow = slow.retry_if(|fault| fault.kind != FaultKind::Timeout);
        // Without a grace it is dropped by force.
        let slow = slow.spawn(|ctx| async move {
            ctx.cancelled().await;
            Err::<(), _>(Failure::new("late"))
        });
        let record = slow.await.unwrap().settled().await.unwrap();
        let late = Outcome::TimedOut {
            limit: Limit::Attempt,
            late_result: None,
        };
        assert_eq!(
            (record.outcome.as_deref(), record.attempt),
            (Some(&late), 1)
        );
    }
    let deaf = patient(&manager).timeout(SECOND).grace(SECOND);
    let deaf = deaf.retry_if(|fault| fault.kind != FaultKind::Timeout);
    let deaf = deaf.spawn(for_ever).await.unwrap();
    let record = deaf.settled().await.unwrap();
    assert_eq!((record.state, record.attempt), (State::TimedOut, 1));
}

#[tokio::test(start_paused = true)]
async fn classifier_is_asked_only_where_another_attempt_could_follow() {
    let manager = Manager::in_memory();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let task = |retries| {
        let asked = Arc::clone(&asked);
        let task = manager.scope("s").unnamed();
        let task = task.retry(Retry::fixed(retries, SECOND));
        task.retry_if(move |fault| {
            asked.lock().unwrap().push(fault.to_string());
            true
        })
    };
    let last = |_| async { Err::<(), _>(Failure::new("no")) };
    let last = task(1).spawn(last).await.unwrap();
    assert_eq!(last.settled().await.unwrap().attempt, 2);
    let permanent = |_| async { Err::<(), _>(Failure::new("never").permanent()) };
    let permanent = task(1).spawn(permanent).await.unwrap();
    assert_eq!(permanent.settled().await.unwrap().attempt, 1);
    let cancelled = task(1).spawn(until_cancelled).await.unwrap();
    reaches(&manager, cancelled.id(), State::Running).await;
    cancelled.cancel(Cancel::because("enough")).await.unwrap();
    let done = task(1).spawn(|_| async { Ok(()) }).await.unwrap();
    done.settled().await.unwrap();

    assert_eq!(*asked.lock().unwrap(), ["no"]);
}

/// What is dropped with a classifier panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        let is_first = !std::thread::panicking();
        assert!(!is_first, "the classifier takes leave");
    }
}

struct Fragile(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);

impl Executor for Fragile {
    fn run(&self, context: Context, _input: Value) -> BoxFuture<Result<Value, Failure>> {
        Box::pin(async move { for_ever(context).await.map(|()| Value::Null) })
    }
}

#[tokio::test]
async fn classifier_whose_destructor_panics_loses_no_report() {
    let builder = Manager::builder().executor("fragile", Fragile(Bomb));
    let manager = builder.build().unwrap();
    let task = manager.scope("s").task("t");
    let task = task.retry(Retry::fixed(1, SECOND)).grace(Duration::ZERO);
    let task = task.spawn_kind("fragile", 1).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    manager.unregister_executor("fragile").unwrap();

    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    assert_eq!(record.state, State::Cancelled);
    assert!(!record.is_abandoned());
}
