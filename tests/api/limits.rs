//! Limits: queues, refusals, slots that are lent.

mod bounds;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use understory::{
    BoxFuture, Builder, Cancel, Class, Context, Failure, Filter, Manager, Seq, Since, SpawnError,
    State, TaskHandle, Wait, What,
};

use crate::stage::{feed_of, reaches, sees, settle_down, soon, until_cancelled};

fn with(setup: impl FnOnce(Builder) -> Builder) -> Manager {
    setup(Manager::builder()).build().unwrap()
}

/// A task that is pending for want of a slot, or runs.
async fn state_at_rest(task: &TaskHandle<()>) -> (State, Option<Wait>) {
    settle_down().await;
    let record = task.record().unwrap();
    (record.state, record.wait.clone())
}

const RUNS: (State, Option<Wait>) = (State::Running, None);
const QUEUED: (State, Option<Wait>) = (State::Pending, Some(Wait::Slot));

async fn end(task: &TaskHandle<()>) {
    soon(task.cancel(Cancel::because("its turn is over")))
        .await
        .unwrap();
}

/// The names of the first tasks that started.
async fn started(manager: &Manager, count: usize) -> Vec<String> {
    let starts = Filter::all().event("started");
    let mut feed = manager
        .subscribe_to(Since::Seq(Seq(0)), starts)
        .await
        .unwrap();
    let mut names = Vec::new();
    while names.len() < count {
        let event = sees(&mut feed, |_| true).await;
        names.push(event.spec.name.as_ref().unwrap().to_string());
    }
    names
}

#[tokio::test]
async fn queue_of_one_slot_is_first_in_first_out() {
    let manager = with(|builder| builder.limit("l", Class::queue(1)));
    let names = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"];
    let mut tasks = Vec::new();
    for name in names {
        let task = manager.scope("s").task(name).limit("l");
        tasks.push(task.spawn(until_cancelled).await.unwrap());
    }

    assert_eq!(state_at_rest(&tasks[0]).await, RUNS);
    for (task, next) in tasks.iter().zip(&tasks[1..]) {
        assert_eq!(state_at_rest(next).await, QUEUED);
        end(task).await;
        assert_eq!(state_at_rest(next).await, RUNS);
    }
    assert_eq!(started(&manager, names.len()).await, names);
}

#[tokio::test]
async fn refusal_names_the_limit_and_its_use() {
    let manager = with(|builder| builder.limit("llm", Class::refuse(2)));
    let ask = || {
        manager
            .scope("s")
            .unnamed()
            .limit("llm")
            .spawn(until_cancelled)
    };
    let first = ask().await.unwrap();
    ask().await.unwrap();

    let refused = ask().await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("llm") && text.contains("2 of 2 in use"),
        "{text}"
    );
    let SpawnError::LimitReached(full) = refused else {
        panic!("the limit is reached, not {refused:?}");
    };
    assert_eq!((full.in_use, full.size, full.waiting), (2, 2, 0));

    end(&first).await;
    assert!(ask().await.is_ok());
}

#[tokio::test]
async fn each_sort_of_limit_holds_those_it_is_for_and_nobody_else() {
    let one = Class::queue(1);
    let ask = |manager: &Manager, scope: &str, kind: &str, class: Option<&str>| {
        let task = manager.scope(scope).unnamed().kind(kind);
        match class {
            Some(class) => task.limit(class).spawn(until_cancelled),
            None => task.spawn(until_cancelled),
        }
    };
    let global = with(|builder| builder.global_limit(one));
    let per_scope = with(|builder| builder.per_scope_limit(one).limit("c", Class::queue(9)));
    let of_scope = with(|builder| builder.scope_limit("a", one));
    let kind = with(|builder| builder.kind_limit("k", one));
    let named = with(|builder| builder.limit("c", one));

    for (manager, held, free) in [
        (global, vec![("b", "x", None)], None),
        (
            per_scope,
            vec![("a", "x", None), ("a", "x", Some("c"))],
            Some(("b", "k", None)),
        ),
        (of_scope, vec![("a", "x", None)], Some(("b", "k", None))),
        (kind, vec![("b", "k", None)], Some(("a", "x", None))),
        (named, vec![("b", "x", Some("c"))], Some(("a", "k", None))),
    ] {
        let is_named = held.iter().all(|(_, _, class)| class.is_some());
        let first = ask(&manager, "a", "k", is_named.then_some("c"))
            .await
            .unwrap();
        assert_eq!(state_at_rest(&first).await, RUNS);
        for (scope, kind, class) in held {
            let waits = ask(&manager, scope, kind, class).await.unwrap();
            assert_eq!(
                state_at_rest(&waits).await,
                QUEUED,
                "{scope} {kind} {class:?}"
            );
        }
        if let Some((scope, kind, class)) = free {
            let runs = ask(&manager, scope, kind, class).await.unwrap();
            assert_eq!(state_at_rest(&runs).await, RUNS, "{scope} {kind} {class:?}");
        }
    }
}

#[tokio::test]
async fn task_takes_a_slot_of_each_of_its_limits_or_of_none() {
    let one = Class::queue(1);
    let manager = with(|builder| builder.limit("a", one).limit("b", one).kind_limit("k", one));
    let task = || manager.scope("s").unnamed();
    let of_a = task().limit("a").spawn(until_cancelled).await.unwrap();
    let of_all = task()
        .limit("a")
        .limit("b")
        .kind("k")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let of_b = task().limit("b").spawn(until_cancelled).await.unwrap();

    assert_eq!(state_at_rest(&of_all).await, QUEUED);
    assert_eq!(state_at_rest(&of_b).await, RUNS);
    end(&of_a).await;
    assert_eq!(state_at_rest(&of_all).await, QUEUED);
    end(&of_b).await;
    assert_eq!(state_at_rest(&of_all).await, RUNS);

    let of_k = task().kind("k").spawn(until_cancelled).await.unwrap();
    assert_eq!(state_at_rest(&of_k).await, QUEUED);
}

#[tokio::test]
async fn scopes_take_turns_at_a_limit() {
    let manager = with(|builder| builder.global_limit(Class::queue(1)));
    let holder = manager
        .scope("h")
        .task("h")
        .spawn(until_cancelled)
        .await
        .unwrap();
    for (scope, names) in [
        ("x", vec!["x1", "x2", "x3", "x4"]),
        ("y", vec!["y1", "y2"]),
        ("z", vec!["z1"]),
    ] {
        for name in names {
            manager
                .scope(scope)
                .task(name)
                .spawn(|_| async { Ok(()) })
                .await
                .unwrap();
        }
    }

    end(&holder).await;

    let order = started(&manager, 8).await;
    assert_eq!(order, ["h", "x1", "y1", "z1", "x2", "y2", "x3", "x4"]);
}

/// A body that awaits a child of the same limit, which does so too.
fn nest(ctx: Context, depth: u32) -> BoxFuture<Result<u32, Failure>> {
    Box::pin(async move {
        if depth == 0 {
            return Ok(0);
        }
        let child = ctx
            .unnamed()
            .limit("l")
            .spawn(move |ctx| nest(ctx, depth - 1));
        Ok(child.await?.await? + 1)
    })
}

#[tokio::test]
async fn parents_that_await_their_children_at_a_limit_of_one_do_not_deadlock() {
    let manager = with(|builder| builder.limit("l", Class::queue(1)));
    let roots = [1, 5, 5].map(|depth| {
        let task = manager.scope("s").unnamed().limit("l");
        async move {
            (
                depth,
                task.spawn(move |ctx| nest(ctx, depth)).await.unwrap(),
            )
        }
    });
    let mut tasks = Vec::new();
    for root in roots {
        tasks.push(root.await);
    }

    for (depth, task) in tasks {
        assert_eq!(soon(task).await.unwrap(), depth);
    }
}

#[tokio::test]
async fn slot_is_lent_while_its_holder_awaits_and_comes_back_at_once() {
    let manager = with(|builder| builder.limit("l", Class::queue(1)));
    let scope = manager.scope("s");
    let (child_may_end, lead_may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let lead = scope.task("lead").limit("l").spawn({
        let (child_may_end, lead_may_end) = (Arc::clone(&child_may_end), Arc::clone(&lead_may_end));
        |ctx| async move {
            let child = ctx.task("child").spawn(|_| async move {
                child_may_end.notified().await;
                Ok(())
            });
            child.await?.await?;
            lead_may_end.notified().await;
            Ok(())
        }
    });
    let lead = lead.await.unwrap();
    let borrower = scope
        .task("borrower")
        .limit("l")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let third = scope
        .task("third")
        .limit("l")
        .spawn(until_cancelled)
        .await
        .unwrap();
    reaches(&manager, lead.id(), State::Waiting).await;
    assert_eq!(state_at_rest(&borrower).await, RUNS);
    assert_eq!(state_at_rest(&third).await, QUEUED);

    child_may_end.notify_one();
    let mut feed = feed_of(&manager, lead.id()).await;
    sees(&mut feed, |event| event.what == What::Unparked).await;
    assert_eq!(state_at_rest(&lead).await, RUNS);
    assert_eq!(state_at_rest(&borrower).await, RUNS);

    lead_may_end.notify_one();
    soon(lead).await.unwrap();
    assert_eq!(state_at_rest(&third).await, QUEUED);
    end(&borrower).await;
    assert_eq!(state_at_rest(&third).await, RUNS);
}

#[tokio::test(start_paused = true)]
async fn slot_is_held_until_the_body_has_stopped() {
    let manager = with(|builder| builder.limit("l", Class::refuse(1)));
    let gate = Arc::new(Semaphore::new(0));
    let ask = || {
        let gate = Arc::clone(&gate);
        let task = manager.scope("s").unnamed().limit("l").cooperative();
        task.grace(Duration::from_secs(1)).spawn(|_| async move {
            let _permit = gate.acquire().await?;
            Ok(())
        })
    };
    let stubborn = ask().await.unwrap();
    let report = soon(stubborn.cancel(Cancel::because("enough")))
        .await
        .unwrap();
    assert_eq!(report.abandoned, [stubborn.id()]);

    assert!(matches!(ask().await, Err(SpawnError::LimitReached(full)) if full.in_use == 1));
    gate.add_permits(1);
    let mut feed = feed_of(&manager, stubborn.id()).await;
    sees(&mut feed, |event| event.what == What::BodyStopped).await;
    assert!(ask().await.is_ok());
}
