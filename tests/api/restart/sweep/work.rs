//! What bodies begin: children, batches, operations that they adopt; what is said of external tasks;
//! and tasks that nobody waits for any longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use understory::store::{FaultyStore, MemoryStore};
use understory::{
    AbandonError, Cancel, CancelError, Context, ControlError, ExternalError, Failure, Filter,
    Manager, OnParentEnd, Page, Retry, ShutdownError, SpawnError, State, Stop, TaskRef,
};

use super::{again, at_each_point, echoes, id, is_unsure_of_cancel, lasting, spawned, waits};
use crate::stage::{reaches, soon, until};

#[tokio::test]
async fn p11_child_with_a_key_is_one_child_although_its_parent_is_run_again() {
    let leads = |ctx: Context, _: Value| async move {
        let child = ctx.task("child").key("one");
        // Otherwise it would end with the attempt that asked first.
        let child = child.on_parent_end(OnParentEnd::Detach);
        let child = child.retry(Retry::fixed(5, Duration::ZERO));
        let child = child.spawn_kind("k", 7).await?;
        Ok(child.await?)
    };
    let stage = || {
        let builder = Manager::builder().executor("k", echoes);
        (builder.executor("leads", leads), ())
    };
    at_each_point(stage, async |manager, ()| {
        let lead = spawned(async || lasting(manager, 1).spawn_kind("leads", ()).await).await;
        assert_eq!(soon(lead).await.unwrap(), 7);
        assert_eq!(manager.list(&Filter::all(), &Page::default()).total, 2);
    })
    .await;
}

#[tokio::test]
async fn p11_operation_that_was_adopted_is_cancelled_once() {
    let stage = || {
        let counts = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let for_body = Arc::clone(&counts);
        let adopts = move |ctx: Context, _: Value| {
            let counts = Arc::clone(&for_body);
            async move {
                let called = Arc::clone(&counts);
                let cancel = move |_: Option<Arc<Stop>>| async move {
                    called[1].fetch_add(1, Ordering::SeqCst);
                    Ok(())
                };
                counts[0].fetch_add(1, Ordering::SeqCst);
                ctx.adopt(std::future::pending::<Result<Value, Failure>>(), cancel)?;
                Ok(json!(null))
            }
        };
        (Manager::builder().executor("adopts", adopts), counts)
    };
    at_each_point(stage, async |manager, counts| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("adopts", ()).await).await;
        until(|| counts[0].load(Ordering::SeqCst) > 0).await;

        let ask = async || {
            task.cancel(Cancel::because("enough").grace(Duration::ZERO))
                .await
        };
        again(ask, is_unsure_of_cancel).await.unwrap();

        let record = soon(task.settled()).await.unwrap();
        assert_eq!(record.state, State::Cancelled);
        let counted = || [0, 1].map(|at: usize| counts[at].load(Ordering::SeqCst));
        until(|| counted()[0] == counted()[1]).await;
    })
    .await;
}

#[tokio::test]
async fn p11_what_was_said_of_an_external_task_is_known() {
    let stage = || (Manager::builder(), ());
    at_each_point(stage, async |manager, ()| {
        let ask = async || manager.scope("s").unnamed().id(id(1)).external().await;
        let task = spawned(ask).await;
        let unsure = |why: &_| matches!(why, ExternalError::Unavailable);
        reaches(manager, id(1), State::Running).await;

        again(async || task.refer("ci/1").await, unsure)
            .await
            .unwrap();
        again(async || task.waiting().await, unsure).await.unwrap();
        again(async || task.running().await, unsure).await.unwrap();
        again(async || task.heartbeat().await, unsure)
            .await
            .unwrap();
        again(async || task.progress("half").await, unsure)
            .await
            .unwrap();
        for piece in ["a", "b"] {
            again(async || task.output(piece).await, unsure)
                .await
                .unwrap();
        }
        match again(async || task.complete(9).await, unsure).await {
            // It was taken before all started anew.
            Ok(()) | Err(ExternalError::NotRunning(State::Completed)) => {}
            other => panic!("{other:?}"),
        }

        let record = soon(task.task().settled()).await.unwrap();
        let json = record.to_json();
        assert_eq!(json["external_ref"], "ci/1", "{json}");
        assert_eq!(json["outcome"]["value"], 9, "{json}");
        let page = manager.read_output(id(1), 0, 10).unwrap();
        assert_eq!(page.missed, 0);
        let mut pieces: Vec<_> = page
            .pieces
            .iter()
            .map(|it| it.as_json().to_owned())
            .collect();
        pieces.dedup();
        assert_eq!(pieces, ["\"a\"", "\"b\""]);
    })
    .await;
}

/// Gives up on a task that is being stopped.
async fn abandoned(task: &TaskRef) {
    let ask = async || task.abandon("no patience").await;
    let unsure = |why: &_| matches!(why, AbandonError::Unanswered(ControlError::Restarted));
    match again(ask, unsure).await {
        Ok(_) | Err(AbandonError::NotStopping { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn p11_task_that_is_given_up_is_waited_for_by_nobody() {
    let deaf = |_: Context, _: Value| std::future::pending::<Result<Value, Failure>>();
    let stage = || (Manager::builder().executor("deaf", deaf), ());
    at_each_point(stage, async |manager, ()| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("deaf", ()).await).await;
        reaches(manager, id(1), State::Running).await;
        let patient = || Cancel::because("enough").grace(Duration::from_hours(1));

        let asking = async {
            let ask = async || task.cancel(patient()).await;
            let report = again(ask, is_unsure_of_cancel).await;
            assert!(report.is_ok() || matches!(report, Err(CancelError::Unknown(_))));
        };
        let giving_up = async {
            reaches(manager, id(1), State::CancelRequested).await;
            abandoned(&task.task()).await;
        };
        tokio::join!(asking, giving_up);

        let record = soon(task.settled()).await.unwrap();
        assert_eq!(record.state, State::Cancelled);
    })
    .await;
}

#[tokio::test]
async fn p11_hidden_tasks_are_awaited() {
    let stage = || (Manager::builder().executor("k", echoes), ());
    at_each_point(stage, async |manager, ()| {
        for number in 1..4 {
            let ask = async || lasting(manager, number).hidden().spawn_kind("k", 1).await;
            let _task = spawned(ask).await;
        }

        soon(manager.scope("s").await_hidden()).await.unwrap();

        for number in 1..4 {
            assert_eq!(manager.get(id(number)).unwrap().state, State::Completed);
        }
    })
    .await;
}

#[tokio::test]
async fn p11_shutdown_ends_all_tasks_and_says_so() {
    let stage = || (Manager::builder().executor("waits", waits), ());
    at_each_point(stage, async |manager, ()| {
        for number in 1..4 {
            let ask = async || lasting(manager, number).spawn_kind("waits", ()).await;
            let _task = spawned(ask).await;
        }

        let unsure = |why: &_| !matches!(why, ShutdownError::Gone);
        let ask = async || manager.shutdown(Duration::from_mins(1)).await;
        again(ask, unsure).await.unwrap();

        assert_eq!(manager.live(), 0);
        for number in 1..4 {
            let record = manager.get(id(number)).unwrap();
            assert_eq!(record.state, State::Cancelled);
        }
        let late = soon(lasting(manager, 4).spawn_kind("waits", ())).await;
        assert!(matches!(late, Err(SpawnError::Unavailable(_))));
    })
    .await;
}

#[tokio::test]
async fn p11_manager_that_takes_a_store_over_has_all_of_it() {
    let second_time = |ctx: Context, input: Value| async move {
        if ctx.attempt() == 1 {
            std::future::pending::<()>().await;
        }
        Ok(input)
    };
    for point in 0.. {
        let place = Arc::new(MemoryStore::new());
        let over = || {
            let builder = Manager::builder().executor("k", second_time);
            let store = FaultyStore::new(Arc::clone(&place));
            builder.store(store).build().unwrap()
        };
        let first = over();
        let task = spawned(async || lasting(&first, 1).spawn_kind("k", 7).await).await;
        reaches(&first, task.id(), State::Running).await;

        let second = over();
        second.break_after([point]);

        let record = soon(second.task(id(1)).settled()).await.unwrap();
        assert_eq!(record.to_json()["outcome"]["value"], 7, "point {point}");
        let late = soon(first.scope("s").unnamed().spawn_kind("k", 8)).await;
        assert!(late.is_err(), "point {point}");
        if second.incarnation() == 1 {
            assert!(point > 5, "the story passes points");
            break;
        }
    }
}
