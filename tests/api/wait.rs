//! Waiting for several tasks: any, all, for a time, from a number on, and for a whole group.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use understory::{
    Context, Failure, FeedItem, Manager, Since, State, TaskId, TaskRef, WaitError, WaitTick,
};

use crate::stage::{settle_down, soon};

mod asking;
mod group;
mod lives;

async fn on_word(ctx: Context) -> Result<(), Failure> {
    ctx.recv().await;
    Ok(())
}

async fn three(manager: &Manager) -> Vec<TaskRef> {
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let task = manager.scope("s").unnamed().spawn(on_word).await.unwrap();
        tasks.push(task.task());
    }
    tasks
}

async fn end(task: &TaskRef) {
    task.send("end").await.unwrap();
    soon(task.settled()).await.unwrap();
}

fn ids(records: &[Arc<understory::Record>]) -> Vec<TaskId> {
    records.iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn tasks_that_have_ended_are_told_at_once_in_the_given_order() {
    let manager = Manager::in_memory();
    let tasks = three(&manager).await;
    end(&tasks[2]).await;
    end(&tasks[0]).await;

    let waited = soon(manager.wait(&tasks).any()).await.unwrap();

    assert_eq!(ids(&waited.done), [tasks[0].id(), tasks[2].id()]);
    assert_eq!(waited.pending, [tasks[1].id()]);
    assert!(!waited.timed_out);
}

#[tokio::test]
async fn any_ends_with_the_first_and_all_with_the_last() {
    let manager = Manager::in_memory();
    let tasks = three(&manager).await;
    let wait = |all: bool| {
        let wait = manager.wait(&tasks);
        tokio::spawn(async move {
            if all {
                wait.all().await
            } else {
                wait.any().await
            }
        })
    };
    let (any, all) = (wait(false), wait(true));
    settle_down().await;
    assert!(!any.is_finished());

    end(&tasks[1]).await;
    let first = soon(any).await.unwrap().unwrap();
    assert_eq!(ids(&first.done), [tasks[1].id()]);
    end(&tasks[0]).await;
    settle_down().await;
    assert!(!all.is_finished());

    end(&tasks[2]).await;
    let last = soon(all).await.unwrap().unwrap();
    assert_eq!(
        ids(&last.done),
        tasks.iter().map(TaskRef::id).collect::<Vec<_>>()
    );
    assert!(last.pending.is_empty());
}

#[tokio::test]
async fn waiting_for_nothing_returns_at_once() {
    let manager = Manager::in_memory();
    assert!(soon(manager.wait(&[]).any()).await.unwrap().done.is_empty());
    assert!(
        soon(manager.wait(&[]).all())
            .await
            .unwrap()
            .pending
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn time_limit_ends_the_wait_and_cancels_nothing() {
    let manager = Manager::in_memory();
    let tasks = three(&manager).await;
    end(&tasks[1]).await;

    let wait = manager.wait(&tasks).timeout(Duration::from_secs(3)).all();
    let waited = wait.await.unwrap();

    assert!(waited.timed_out);
    assert_eq!(ids(&waited.done), [tasks[1].id()]);
    assert_eq!(waited.pending, [tasks[0].id(), tasks[2].id()]);
    assert_eq!(tasks[0].state(), Some(State::Running));
}

#[tokio::test(start_paused = true)]
async fn ticks_tell_the_time_and_the_counts() {
    let manager = Manager::in_memory();
    let tasks = three(&manager).await;
    end(&tasks[1]).await;
    let ticks = Arc::new(Mutex::new(Vec::new()));

    let kept = Arc::clone(&ticks);
    let wait = manager
        .wait(&tasks)
        .timeout(Duration::from_secs(7))
        .on_tick(Duration::from_secs(3), move |tick| {
            kept.lock().unwrap().push(tick);
        });
    wait.all().await.unwrap();

    let ticks = ticks.lock().unwrap();
    let counts = |tick: &WaitTick| (tick.elapsed.as_secs(), tick.done, tick.pending);
    assert_eq!(
        ticks.iter().map(counts).collect::<Vec<_>>(),
        [(3, 1, 2), (6, 1, 2)]
    );
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_between_two_waits() {
    let manager = Manager::in_memory();
    let tasks = three(&manager).await;
    end(&tasks[1]).await;
    let first = soon(manager.wait(&tasks).any()).await.unwrap();
    assert_eq!(ids(&first.done), [tasks[1].id()]);

    // It ends between the two waits.
    end(&tasks[0]).await;
    let second = soon(manager.wait(&tasks).after(first.seq).any())
        .await
        .unwrap();
    assert_eq!(ids(&second.done), [tasks[0].id()]);

    let third = tokio::spawn(manager.wait(&tasks).after(second.seq).any());
    settle_down().await;
    assert!(!third.is_finished(), "what is known does not end it");
    end(&tasks[2]).await;
    let third = soon(third).await.unwrap().unwrap();
    assert_eq!(ids(&third.done), [tasks[2].id()]);
}

#[tokio::test]
async fn end_between_a_snapshot_and_the_wait_is_told() {
    let manager = Manager::in_memory();
    let tasks = three(&manager).await;
    let mut feed = manager.subscribe(Since::Snapshot).await.unwrap();
    let Some(FeedItem::Snapshot { seq, .. }) = soon(feed.next()).await else {
        panic!("the snapshot comes first");
    };
    end(&tasks[2]).await;

    let waited = soon(manager.wait(&tasks).after(seq).any()).await.unwrap();

    assert_eq!(ids(&waited.done), [tasks[2].id()]);
}

#[tokio::test]
async fn unknown_task_is_an_error_at_once() {
    let manager = Manager::in_memory();
    let mut tasks = three(&manager).await;
    tasks.push(manager.task(TaskId::from_u128(7)));

    let waited = soon(manager.wait(&tasks).all()).await;

    assert!(matches!(waited, Err(WaitError::Gone(id)) if id == TaskId::from_u128(7)));
}

#[tokio::test]
async fn task_that_is_pruned_before_the_wait_is_an_error_and_while_it_waits_is_told() {
    let manager = Manager::builder().settled_max(1).build().unwrap();
    let tasks = three(&manager).await;
    let wait = tokio::spawn(manager.wait(&tasks).all());
    settle_down().await;
    for task in &tasks {
        end(task).await;
    }

    let waited = soon(wait).await.unwrap().unwrap();
    assert_eq!(waited.done.len(), 3, "also those whose records are gone");

    let gone = tasks[0].id();
    let late = soon(manager.wait(&[manager.task(gone)]).all()).await;
    assert!(matches!(late, Err(WaitError::Gone(id)) if id == gone));
}

#[tokio::test]
async fn manager_that_is_gone_ends_the_wait() {
    let manager = Manager::builder().grace(Duration::ZERO).build().unwrap();
    let tasks = three(&manager).await;
    let wait = tokio::spawn(manager.wait(&tasks).all());
    settle_down().await;
    soon(manager.shutdown(Duration::ZERO)).await.unwrap();
    // They settled with the shutdown, so that is what the wait tells.
    let waited = soon(wait).await.unwrap().unwrap();
    assert!(
        waited
            .done
            .iter()
            .all(|record| record.state == State::Cancelled)
    );
}

#[tokio::test]
async fn body_that_waits_for_several_lends_its_slot() {
    let one_at_once = understory::Class::queue(1);
    let manager = Manager::builder()
        .global_limit(one_at_once)
        .build()
        .unwrap();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let mut children = Vec::new();
        for _ in 0..3 {
            let child = ctx.unnamed().spawn(|_| async { Ok(()) }).await?;
            children.push(child.task());
        }
        let waited = ctx.manager().wait(&children).all().await?;
        Ok(waited.done.len())
    });
    assert_eq!(soon(lead.await.unwrap()).await.unwrap(), 3);
}

#[tokio::test]
async fn suspended_task_ends_the_wait_only_if_asked_for() {
    let manager = Manager::in_memory();
    let running = three(&manager).await.remove(0);
    let asks = manager.scope("s").task("asks").resumable();
    let asks = asks.spawn(|ctx| async move {
        ctx.recv().await;
        Err::<(), _>(ctx.suspend("which?"))
    });
    let tasks = [running, asks.await.unwrap().task()];
    let plain = tokio::spawn(manager.wait(&tasks).any());
    let any = tokio::spawn(manager.wait(&tasks).or_suspended().any());
    let all = tokio::spawn(manager.wait(&tasks).or_suspended().all());
    settle_down().await;
    assert!(!any.is_finished());

    tasks[1].send("go").await.unwrap();
    let waited = soon(any).await.unwrap().unwrap();
    assert_eq!(ids(&waited.suspended), [tasks[1].id()]);
    assert_eq!(
        (waited.done.len(), waited.pending),
        (0, vec![tasks[0].id()])
    );
    settle_down().await;
    assert!(!plain.is_finished() && !all.is_finished());
    // It is suspended already, so a wait for it ends at once.
    let again = soon(manager.wait(&tasks).or_suspended().any())
        .await
        .unwrap();
    assert_eq!(ids(&again.suspended), [tasks[1].id()]);

    end(&tasks[0]).await;
    let both = soon(all).await.unwrap().unwrap();
    assert_eq!(
        (ids(&both.done), ids(&both.suspended)),
        (vec![tasks[0].id()], vec![tasks[1].id()])
    );
    assert_eq!(
        ids(&soon(plain).await.unwrap().unwrap().done),
        [tasks[0].id()]
    );
}
