//! How long settled records are kept.

use std::time::Duration;

use understory::{BuildError, Filter, Manager, Page, Seq, State, Timestamp};
#[cfg(feature = "testing")]
use understory::{Cancel, Notice, Settling, TaskHooks, TaskId};

#[cfg(feature = "testing")]
use crate::stage::{for_ever, reaches};
use crate::stage::{settle_down, soon, until, until_cancelled};

async fn completed(manager: &Manager, scope: &str) -> understory::TaskId {
    let task = manager.scope(scope).unnamed().spawn(|_| async { Ok(()) });
    soon(task.await.unwrap().settled()).await.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn record_is_gone_when_the_time_of_its_outcome_is_over() {
    let kept_for = Duration::from_mins(1);
    let manager = Manager::builder().retain(State::Completed, kept_for);
    let manager = manager.build().unwrap();
    let task = completed(&manager, "s").await;
    settle_down().await;
    assert!(manager.get(task).is_some());

    tokio::time::advance(kept_for).await;
    settle_down().await;
    assert!(manager.get(task).is_none());

    assert_eq!(manager.list(&Filter::all(), &Page::first(9)).total, 0);
    assert!(manager.cleanup().await.unwrap().is_empty());
}

#[tokio::test]
async fn zero_keeps_no_record_and_its_handle_has_the_value() {
    let manager = Manager::builder().retain(State::Completed, Duration::ZERO);
    let manager = manager.build().unwrap();
    let task = manager.scope("s").unnamed().spawn(|_| async { Ok(7) });
    let task = task.await.unwrap();
    until(|| manager.get(task.id()).is_none()).await;

    assert_eq!(soon(task).await.unwrap(), 7);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn task_that_settles_and_goes_in_one_commit_is_told() {
    use std::sync::Arc;

    use crate::stage::{end_in_two_commits, four_that_wait};
    use understory::store::{FaultyStore, MemoryStore};

    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let builder = Manager::builder().settled_max(1).store(Arc::clone(&store));
    let manager = builder.build().unwrap();
    let (tasks, release) = four_that_wait(&manager).await;

    end_in_two_commits(&store, &release).await;
    store.release();

    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).await.unwrap(), number);
    }
    assert_eq!(manager.list(&Filter::all(), &Page::first(9)).total, 1);
}

/// A task with these hooks is accepted, settles and goes while a commit is held: all of that is in
/// the next one.
#[cfg(feature = "testing")]
async fn comes_and_goes_in_one_commit(hooks: TaskHooks) {
    use std::sync::Arc;

    use understory::store::{FaultyStore, MemoryStore};

    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let builder = Manager::builder().settled_max(1).store(Arc::clone(&store));
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(for_ever).await.unwrap();
    reaches(&manager, lead.id(), State::Running).await;
    let (first, second) = (TaskId::from_u128(1), TaskId::from_u128(2));
    let pending = |id| scope.unnamed().id(id).after([lead.id()]);
    let (all, hooked) = (&manager, pending(first).hooks(hooks));
    let end = |id| async move {
        let cancel = Cancel::because("enough").now();
        all.task(id).cancel(cancel).await
    };

    store.hold();
    let others = async {
        soon(store.until_held(1)).await;
        let in_turn = async {
            settle_down().await;
            let (one, other) = (end(first), pending(second).spawn(for_ever));
            let last = async {
                settle_down().await;
                end(second).await
            };
            tokio::join!(one, other, last)
        };
        let release = async {
            settle_down().await;
            settle_down().await;
            settle_down().await;
            store.release();
        };
        tokio::join!(hooked.spawn(for_ever), in_turn, release)
    };
    let (_, (hooked, _, ())) = tokio::join!(scope.unnamed().spawn(for_ever), others);

    assert_eq!(soon(hooked.unwrap().settled()).await.unwrap().id, first);
    assert!(manager.get(first).is_none() && manager.get(second).is_some());
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn observer_hears_of_a_task_that_comes_and_goes_in_one_commit() {
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let hook = move |notice: Notice| {
        let sent = tell.try_send(notice.event.state);
        async move { Ok(sent?) }
    };
    comes_and_goes_in_one_commit(TaskHooks::new().on_settled(hook)).await;
    assert_eq!(soon(told.recv()).await, Some(State::Cancelled));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn hook_of_a_task_that_comes_and_goes_in_one_commit_is_called() {
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let hook = move |settling: Settling| {
        let sent = tell.try_send(settling.outcome.state());
        async move { Ok(sent?) }
    };
    comes_and_goes_in_one_commit(TaskHooks::new().before_settle(hook)).await;
    assert_eq!(soon(told.recv()).await, Some(State::Cancelled));
}

#[tokio::test]
async fn state_in_which_no_task_has_settled_fails_the_build() {
    let builder = Manager::builder().retain(State::Running, Duration::ZERO);
    assert!(matches!(
        builder.build(),
        Err(BuildError::NotSettled(State::Running))
    ));
}

#[tokio::test]
async fn prune_removes_what_is_old_and_seen_and_matches() {
    let manager = Manager::in_memory();
    let first = completed(&manager, "s").await;
    let seen = manager.get(first).unwrap().seq;
    let second = completed(&manager, "s").await;
    let other = completed(&manager, "t").await;
    let live = manager.scope("s").unnamed().spawn(until_cancelled);
    let live = live.await.unwrap().id();
    let all = Filter::all();
    let of_s = Filter::all().scope("s".try_into().unwrap());
    let (early, late, end) = (
        Timestamp::from_micros(0),
        Timestamp::from_micros(u64::MAX),
        Seq(u64::MAX),
    );

    assert!(manager.prune(early, &all, end).await.unwrap().is_empty());
    let removed = manager.prune(late, &all, seen).await.unwrap();
    assert_eq!(removed[&State::Completed], 1);
    assert!(manager.get(first).is_none() && manager.get(second).is_some());
    manager.prune(late, &of_s, end).await.unwrap();
    assert!(manager.get(second).is_none() && manager.get(other).is_some());
    assert!(manager.get(live).is_some());
}
