//! What n8n's suites test of the background tasks of its assistant, on our face.
//!
//! *Not here*: what `tests/api` shows already; `coverage.tsv` names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    Cancel, Cause, Class, Context, Failure, Filter, Limit, LimitName, Manager, Page, SendError,
    SpawnError, State,
};

use crate::stage::{for_ever, reaches, settle_down, soon, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

#[tokio::test]
async fn costly_parts_are_made_for_accepted_tasks_only_and_once() {
    let manager = Manager::builder()
        .per_scope_limit(Class::refuse(1))
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let made = Arc::new(AtomicUsize::new(0));
    let ask = || {
        let made = Arc::clone(&made);
        let body = move |ctx: Context| {
            made.fetch_add(1, Ordering::SeqCst);
            until_cancelled(ctx)
        };
        scope.unnamed().single_flight("plan").spawn(body)
    };
    let first = ask().await.unwrap();
    reaches(&manager, first.id(), State::Running).await;
    let same = ask().await.unwrap();
    let other = Arc::clone(&made);
    let refused = scope.unnamed().spawn(move |ctx| {
        other.fetch_add(1, Ordering::SeqCst);
        until_cancelled(ctx)
    });

    assert!(!same.is_new());
    assert!(matches!(refused.await, Err(SpawnError::LimitReached(_))));
    settle_down().await;
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn ceiling_counts_the_tasks_of_every_scope_and_is_free_with_each_end() {
    let manager = Manager::builder()
        .global_limit(Class::refuse(2))
        .build()
        .unwrap();
    let ask = |scope: &str| manager.scope(scope).unnamed().spawn(until_cancelled);
    let one = ask("one").await.unwrap();
    let _two = ask("two").await.unwrap();
    let Err(SpawnError::LimitReached(full)) = ask("three").await else {
        panic!("the third one is too many")
    };
    assert_eq!((full.class, full.size), (LimitName::Global, 2));
    assert_eq!(manager.live(), 2);
    soon(one.cancel(enough())).await.unwrap();
    assert!(ask("three").await.is_ok());
}

#[tokio::test]
async fn without_a_limit_as_many_run_as_are_asked_for() {
    let manager = Manager::in_memory();
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let task = manager.scope("s").unnamed().spawn(until_cancelled);
        tasks.push(task.await.unwrap());
    }
    for task in &tasks {
        reaches(&manager, task.id(), State::Running).await;
    }
}

#[tokio::test]
async fn one_target_may_have_several_plans_and_several_roles() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").unnamed();
    let asked = [
        task()
            .single_flight("plan-1")
            .single_flight_for("builder", "w"),
        task()
            .single_flight("plan-2")
            .single_flight_for("builder", "w"),
        task().single_flight_for("builder", "w"),
        task().single_flight_for("tester", "w"),
    ];
    for task in asked {
        assert!(task.spawn(until_cancelled).await.unwrap().is_new());
    }
    assert_eq!(manager.live(), 4);
}

#[tokio::test]
async fn limit_holds_for_a_task_that_is_the_only_one_of_its_flight() {
    let manager = Manager::builder()
        .per_scope_limit(Class::refuse(1))
        .build()
        .unwrap();
    let ask = |key: &str| {
        let task = manager.scope("s").unnamed().single_flight(key);
        task.spawn(until_cancelled)
    };
    ask("a").await.unwrap();
    assert!(ask("a").await.is_ok());
    assert!(matches!(ask("b").await, Err(SpawnError::LimitReached(_))));
}

#[tokio::test(start_paused = true)]
async fn flight_is_free_after_a_timeout_and_after_a_failure() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").unnamed().single_flight("f");
    let slow = task().idle_timeout(Duration::from_secs(5));
    let slow = slow.spawn(for_ever).await.unwrap();
    assert!(!task().spawn(for_ever).await.unwrap().is_new());
    assert_eq!(slow.settled().await.unwrap().state, State::TimedOut);

    let fails = task().spawn(|_| async { Err::<(), _>(Failure::new("broken")) });
    let fails = fails.await.unwrap();
    assert!(fails.is_new());
    assert_eq!(fails.settled().await.unwrap().state, State::Failed);
    assert!(task().spawn(for_ever).await.unwrap().is_new());
}

/// A body that answers each correction with its number, until one says that it is over.
async fn corrected(ctx: Context) -> Result<Vec<Value>, Failure> {
    let mut heard: Vec<Value> = ctx.drain().into_iter().map(|it| it.body).collect();
    while heard.last() != Some(&json!("end")) {
        let next = ctx.recv().await.ok_or_else(|| Failure::new("closed"))?;
        heard.push(next.body);
    }
    Ok(heard)
}

#[tokio::test]
async fn correction_is_queued_or_refused_as_unknown_or_too_late() {
    let manager = Manager::builder()
        .limit("one", Class::queue(1))
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let holder = scope.task("holder").limit("one").spawn(until_cancelled);
    let holder = holder.await.unwrap();
    let task = scope.task("t").limit("one").spawn(corrected).await.unwrap();
    for text in ["early", "too"] {
        scope.send("t", text).await.unwrap();
    }
    let elsewhere = manager.scope("other").send(task.id(), 1).await;
    let unknown = scope.send("nobody", 1).await;
    for refused in [elsewhere, unknown] {
        assert!(matches!(refused, Err(SendError::NoSuchTask { .. })));
    }
    soon(holder.cancel(enough())).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    settle_down().await;
    task.send("late").await.unwrap();
    task.send("end").await.unwrap();

    let to = task.task();
    let heard = soon(task).await.unwrap();
    assert_eq!(heard, ["early", "too", "late", "end"]);
    let after = to.send("more").await;
    assert!(matches!(after, Err(SendError::Ended { message, .. }) if message == "more"));
}

#[tokio::test]
async fn body_that_fails_after_it_was_cancelled_was_cancelled() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let stop = ctx.cancelled().await;
        Err::<(), _>(Failure::new(format!("gave up: {}", stop.reason)))
    });
    let task = task.await.unwrap();
    let report = soon(task.cancel(enough())).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(task.state(), Some(State::Cancelled));
}

#[tokio::test]
async fn tasks_of_a_checkpoint_are_found_while_they_live() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let ask = |checkpoint: &str| scope.unnamed().checkpoint(checkpoint);
    let one = ask("a").spawn(until_cancelled).await.unwrap();
    let two = ask("a").spawn(until_cancelled).await.unwrap();
    let _other = ask("b").spawn(until_cancelled).await.unwrap();
    let _none = scope.unnamed().spawn(until_cancelled).await.unwrap();
    let of_a = || {
        let filter = Filter::all().live().label("checkpoint", "a");
        let listing = scope.list(filter, &Page::default()).unwrap();
        listing.records.iter().map(|it| it.id).collect::<Vec<_>>()
    };
    let mut both = of_a();
    both.sort();
    assert_eq!(both, [one.id(), two.id()]);
    soon(one.cancel(enough())).await.unwrap();
    assert_eq!(of_a(), [two.id()]);
    soon(two.cancel(enough())).await.unwrap();
    assert!(of_a().is_empty());
}

#[tokio::test]
async fn text_and_structured_results_come_back_as_they_were() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let text = scope.unnamed().spawn(|_| async { Ok("built".to_owned()) });
    let both = scope
        .unnamed()
        .spawn(|_| async { Ok(json!({ "text": "built", "outcome": { "nodes": [1, 2] } })) });
    let both = both.await.unwrap();
    let kept = both.task();
    assert_eq!(soon(text.await.unwrap()).await.unwrap(), "built");
    assert_eq!(soon(both).await.unwrap()["outcome"]["nodes"], json!([1, 2]));
    let shown = kept.record().unwrap().to_json();
    assert_eq!(shown["outcome"]["value"]["text"], "built");
}

#[tokio::test(start_paused = true)]
async fn first_limit_that_is_over_ends_a_task_and_zero_is_none() {
    let seconds = Duration::from_secs;
    let manager = Manager::in_memory();
    for (idle, life, limit) in [
        (10, 30, Limit::Idle),
        (30, 10, Limit::Lifetime),
        (0, 10, Limit::Lifetime),
        (10, 0, Limit::Idle),
    ] {
        let task = manager.scope("s").unnamed().grace(Duration::ZERO);
        let task = task.idle_timeout(seconds(idle)).lifetime(seconds(life));
        let task = task.spawn(for_ever).await.unwrap();
        let record = task.settled().await.unwrap();
        let stop = record.stop.as_ref().unwrap();
        assert_eq!(stop.cause, Cause::Timeout(limit));
        assert!(stop.at.since(record.created_at) >= seconds(10));
    }
}

#[tokio::test(start_paused = true)]
async fn task_that_waits_for_a_human_is_not_idle_and_has_a_limit_of_its_own() {
    let day = Duration::from_hours(24);
    let manager = Manager::in_memory();
    let ask = |limit: Duration| {
        let task = manager.scope("s").unnamed().suspend_timeout(limit);
        let task = task.idle_timeout(Duration::from_mins(10)).resumable();
        task.spawn(|ctx: Context| async move {
            match ctx.resumed() {
                Some(answer) => Ok(answer),
                None => Err(ctx.suspend("may I?")),
            }
        })
    };
    let forgotten = ask(day).await.unwrap();
    let answered = ask(day).await.unwrap();
    reaches(&manager, answered.id(), State::Suspended).await;
    tokio::time::sleep(day / 2).await;
    assert_eq!(answered.state(), Some(State::Suspended));
    answered.resume("yes").await.unwrap();

    assert_eq!(answered.await.unwrap(), "yes");
    let record = forgotten.settled().await.unwrap();
    let stop = record.stop.as_ref().unwrap();
    assert_eq!(stop.cause, Cause::Timeout(Limit::Suspension));
}
