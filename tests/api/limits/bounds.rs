//! Bounds at n - 1, n and n + 1, and limits that cannot be.

use understory::kernel::Refusal;
use understory::{BuildError, Class, Manager, SpawnError, TaskHandle, WhenFull};

use super::{end, state_at_rest, with};
use crate::stage::{for_ever, soon, until_cancelled};

fn is_bound(refused: &Result<TaskHandle<()>, SpawnError>, expected: usize) -> bool {
    matches!(refused, Err(SpawnError::Refused(Refusal::Bound(_, max))) if *max == expected)
}

#[tokio::test]
async fn bounds_of_the_tree_hold_at_n_and_not_before() {
    let manager = with(|builder| builder.live_max(3));
    let task = || manager.scope("s").unnamed().spawn(until_cancelled);
    let first = task().await.unwrap();
    assert!(task().await.is_ok() && task().await.is_ok());
    assert!(is_bound(&task().await, 3));
    end(&first).await;
    assert!(task().await.is_ok() && is_bound(&task().await, 3));

    let manager = with(|builder| builder.depth_max(2).children_max(2));
    let below = |parent| {
        manager
            .scope("s")
            .unnamed()
            .parent(parent)
            .spawn(until_cancelled)
    };
    let root = manager
        .scope("s")
        .unnamed()
        .spawn(until_cancelled)
        .await
        .unwrap();
    let child = below(root.id()).await.unwrap();
    let grandchild = below(child.id()).await.unwrap();
    assert!(is_bound(&below(grandchild.id()).await, 2));
    let sibling = below(root.id()).await.unwrap();
    assert!(is_bound(&below(root.id()).await, 2));
    end(&sibling).await;
    assert!(below(root.id()).await.is_ok());
}

#[tokio::test]
async fn bounds_of_one_task_hold_at_n_and_not_before() {
    let manager = with(|builder| {
        (0..17).fold(builder, |builder, i| {
            builder.limit(&format!("c{i}"), Class::queue(99))
        })
    });
    let mut known = Vec::new();
    for _ in 0..1_025 {
        let task = manager.scope("s").unnamed().spawn(|_| async { Ok(()) });
        known.push(task.await.unwrap().id());
    }
    let task = || manager.scope("s").unnamed();
    for (number, is_taken) in [(31, true), (32, true), (33, false)] {
        let labels = (0..number).fold(task(), |task, i| task.label(&format!("l{i}"), "v"));
        let taken = labels.spawn(until_cancelled).await;
        assert!(taken.is_ok() == is_taken && (is_taken || is_bound(&taken, 32)));
    }
    for (number, is_taken) in [(1_023, true), (1_024, true), (1_025, false)] {
        let taken = task()
            .after(known[..number].iter().copied())
            .spawn(until_cancelled)
            .await;
        assert!(taken.is_ok() == is_taken && (is_taken || is_bound(&taken, 1_024)));
    }
    for (number, is_taken) in [(15, true), (16, true), (17, false)] {
        let limited = (0..number).fold(task(), |task, i| task.limit(&format!("c{i}")));
        let taken = limited.spawn(until_cancelled).await;
        assert!(taken.is_ok() == is_taken && (is_taken || is_bound(&taken, 16)));
    }
}

#[tokio::test]
async fn queue_with_a_bound_refuses_the_one_too_many() {
    let when_full = WhenFull::Queue { waiting_max: 2 };
    let manager = with(|builder| builder.limit("l", Class { size: 1, when_full }));
    let ask = || {
        manager
            .scope("s")
            .unnamed()
            .limit("l")
            .spawn(until_cancelled)
    };
    let runs = ask().await.unwrap();
    let (first, second) = (ask().await.unwrap(), ask().await.unwrap());

    assert!(matches!(ask().await, Err(SpawnError::LimitReached(full)) if full.waiting == 2));
    end(&second).await;
    assert!(ask().await.is_ok() && ask().await.is_err());
    end(&runs).await;
    assert_eq!(state_at_rest(&first).await, super::RUNS);
    assert!(ask().await.is_ok() && ask().await.is_err());
}

#[tokio::test]
async fn limit_that_nobody_configured_is_refused_by_name() {
    let manager = with(|builder| builder.limit("llm", Class::queue(1)));

    let refused = manager
        .scope("s")
        .unnamed()
        .limit("lmm")
        .spawn(for_ever)
        .await;

    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("lmm"), "{refused}");
    assert!(matches!(
        refused,
        SpawnError::Refused(Refusal::UnknownLimit(_))
    ));
}

#[tokio::test]
async fn numbers_without_a_bound_are_taken() {
    let all = usize::MAX;
    let builder = Manager::builder().asks_max(all).subscribers_max(all);
    let builder = builder.feed_events_max(all).live_max(all);
    let manager = builder.children_max(all).build().unwrap();

    let task = manager.scope("s").unnamed().spawn(|_| async { Ok(7) });

    assert_eq!(soon(task.await.unwrap()).await.unwrap(), 7);
}

#[tokio::test]
async fn number_that_would_stop_everything_fails_the_build() {
    let none = Class::queue(0);
    for builder in [
        Manager::builder().limit("l", none),
        Manager::builder().global_limit(none),
        Manager::builder().per_scope_limit(Class::refuse(0)),
        Manager::builder().scope_limit("s", none),
        Manager::builder().kind_limit("k", none),
        Manager::builder().live_max(0),
        Manager::builder().children_max(0),
        Manager::builder().asks_max(0),
    ] {
        assert!(matches!(builder.build(), Err(BuildError::Zero(_))));
    }
}
