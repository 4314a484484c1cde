//! Tasks that end: executors, external tasks, hooks, trees.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use understory::{
    Cancel, Class, External, ExternalError, Manager, Retry, SpawnError, State, TaskHooks,
};

use super::{
    again, at_each_point, cancelled, echoes, id, is_unsure_of_cancel, lasting, spawned, telling,
    waits,
};
use crate::stage::{reaches, soon};

#[tokio::test]
async fn p11_task_of_an_executor_ends_and_its_hooks_and_readers_hear() {
    let stage = || (Manager::builder().executor("k", echoes), ());
    at_each_point(stage, async |manager, ()| {
        let (tell, mut told) = telling();
        let hooks = TaskHooks::new().on_settled(move |ended| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(ended.event.state);
                Ok(())
            }
        });
        let ask = async || {
            let task = lasting(manager, 1).hooks(hooks.clone());
            task.spawn_kind("k", 7).await
        };
        let task = spawned(ask).await;
        let record = soon(task.settled()).await.unwrap();

        assert_eq!(record.state, State::Completed);
        assert_eq!(soon(told.recv()).await, Some(State::Completed));
        let page = manager.read_output(task.id(), 0, 10).unwrap();
        assert!(page.written >= 1 && page.missed == 0);
        assert_eq!(page.pieces[0].as_json(), "7");
        assert_eq!(soon(task).await.unwrap(), 7);
    })
    .await;
}

/// An external task whose callback tells what it was called with.
async fn external(manager: &Manager, number: u128) -> (External, UnboundedReceiver<String>) {
    let (called, calls) = telling();
    let ask = async || {
        let called = called.clone();
        let task = manager.scope("s").unnamed().id(id(number));
        let call = move |stop: Arc<understory::Stop>| async move {
            let _ = called.send(stop.reason.to_string());
            Ok(())
        };
        task.external_with(call).await
    };
    (spawned(ask).await, calls)
}

#[tokio::test]
async fn p11_external_that_is_cancelled_is_called_back_once() {
    let stage = || (Manager::builder(), ());
    at_each_point(stage, async |manager, ()| {
        let (task, mut calls) = external(manager, 1).await;

        cancelled(&task.task()).await;

        assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
        drop(task);
        soon(manager.shutdown(Duration::ZERO)).await.unwrap();
        assert_eq!(soon(calls.recv()).await, None);
    })
    .await;
}

#[tokio::test]
async fn p11_external_that_waits_for_its_slot_is_called_back_once() {
    let stage = || (Manager::builder().global_limit(Class::queue(1)), ());
    at_each_point(stage, async |manager, ()| {
        let (holder, mut holders) = external(manager, 1).await;
        let (queued, mut calls) = external(manager, 2).await;
        let (last, mut lasts) = external(manager, 3).await;

        cancelled(&last.task()).await;
        while let Err(why) = soon(holder.complete(1)).await {
            if matches!(why, ExternalError::NotRunning(State::Completed)) {
                break;
            }
            reaches(manager, holder.id(), State::Running).await;
        }
        reaches(manager, queued.id(), State::Running).await;
        cancelled(&queued.task()).await;

        assert_eq!(soon(lasts.recv()).await.as_deref(), Some("enough"));
        assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
        drop((holder, queued, last));
        soon(manager.shutdown(Duration::ZERO)).await.unwrap();
        assert_eq!(soon(holders.recv()).await, None);
        assert_eq!(soon(calls.recv()).await, None);
    })
    .await;
}

#[tokio::test]
async fn p11_tree_is_cancelled_whole_and_its_hooks_hear() {
    let stage = || {
        let (tell, told) = telling();
        let hooks = TaskHooks::new().on_settled(move |ended| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(ended.event.task);
                Ok(())
            }
        });
        (
            Manager::builder()
                .executor("waits", waits)
                .task_hooks(hooks),
            told,
        )
    };
    at_each_point(stage, async |manager, mut told| {
        let root = spawned(async || lasting(manager, 1).spawn_kind("waits", ()).await).await;
        for number in 2..5 {
            let ask = async || {
                let task = lasting(manager, number).parent(root.id());
                task.spawn_kind("waits", ()).await
            };
            let _below = spawned(ask).await;
        }

        let ask = async || root.cancel_tree(Cancel::because("enough")).await;
        let report = again(ask, is_unsure_of_cancel).await;

        assert!(report.is_ok(), "{report:?}");
        let mut ended = HashSet::new();
        for number in 1..5 {
            let record = soon(manager.task(id(number)).settled()).await.unwrap();
            assert_eq!(record.state, State::Cancelled);
            ended.insert(soon(told.recv()).await.unwrap());
        }
        assert_eq!(ended, (1..5).map(id).collect());
    })
    .await;
}

#[tokio::test]
async fn p11_ends_of_tasks_that_are_kept_no_more_are_told() {
    let stage = || {
        let builder = Manager::builder().executor("k", echoes);
        (builder.settled_max(1), ())
    };
    at_each_point(stage, async |manager, ()| {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let task = manager.scope("s").unnamed();
            let task = task.retry(Retry::fixed(5, Duration::ZERO));
            match soon(task.spawn_kind("k", 1)).await {
                Ok(task) => tasks.push(task),
                Err(why) => assert!(matches!(why, SpawnError::Unknown(_)), "{why:?}"),
            }
        }
        for task in tasks {
            assert_eq!(soon(task).await.unwrap(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn p11_hook_before_the_end_is_asked_and_what_comes_after_is_started() {
    let stage = || {
        let (tell, told) = telling();
        let hooks = TaskHooks::new().before_settle(move |proposal| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(proposal.record.id);
                Ok(())
            }
        });
        (
            Manager::builder().executor("k", echoes).task_hooks(hooks),
            told,
        )
    };
    at_each_point(stage, async |manager, mut told| {
        let first = spawned(async || lasting(manager, 1).spawn_kind("k", 1).await).await;
        let second = async || {
            let task = lasting(manager, 2).after([first.id()]);
            task.spawn_kind("k", 2).await
        };
        let second = spawned(second).await;

        assert_eq!(soon(second).await.unwrap(), 2);
        assert_eq!(soon(first).await.unwrap(), 1);
        let mut asked = HashSet::new();
        while asked.len() < 2 {
            asked.insert(soon(told.recv()).await.unwrap());
        }
    })
    .await;
}
