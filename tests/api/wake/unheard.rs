//! What a body has heard wakes it no more, and what it has not heard does, also in the next process.

use understory::Retry;
use understory::models::{Pause, UntilIdle};
use understory::store::MemoryStore;

use super::*;

const FIRST: TaskId = TaskId::from_u128(1);

/// Nothing wakes a lead that suspends after this.
async fn stays_asleep<F>(hears: impl Fn(Context) -> F + Send + Sync + 'static)
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (manager, mut wakes) = told();
    let hears = Arc::new(hears);
    let lead = manager.scope("s").task("lead").resumable();
    let lead = lead.spawn(move |ctx| {
        let hears = Arc::clone(&hears);
        async move {
            hears(ctx.clone()).await?;
            Err::<(), _>(ctx.suspend("until there is more"))
        }
    });
    let lead = lead.await.unwrap();
    reaches(&manager, lead.id(), State::Suspended).await;
    settle_down().await;
    assert!(wakes.try_recv().is_err(), "it has heard of everything");

    let mail = lead.send_as(SendMode::Trigger, "more").await.unwrap().id;
    assert_eq!(next(&mut wakes).await.1, WakeCause::Message(mail));
}

#[tokio::test]
async fn child_that_its_body_has_awaited_does_not_wake_it() {
    stays_asleep(|ctx| async move {
        let child = ctx.task("child").spawn(|_| async { Ok(1) }).await?;
        assert_eq!(child.await.unwrap(), 1);
        Ok(())
    })
    .await;
    stays_asleep(|ctx| async move {
        let child = ctx.task("child").spawn(|_| async { Ok(1) }).await?;
        let manager = ctx.manager();
        manager.wait_any(&[child.task()]).await.unwrap();
        Ok(())
    })
    .await;
    stays_asleep(|ctx| async move {
        let child = ctx.task("child").spawn(|_| async { Ok(1) }).await?;
        let manager = ctx.manager();
        manager.wait(&[child.task()]).all().await.unwrap();
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn child_that_its_body_has_cancelled_or_was_told_of_in_a_turn_does_not_wake_it() {
    stays_asleep(|ctx| async move {
        let child = ctx.task("child").spawn(until_cancelled).await?;
        let report = child.cancel(Cancel::because("enough")).await.unwrap();
        assert_eq!(report.len(), 1);
        Ok(())
    })
    .await;
    stays_asleep(|ctx| async move {
        ctx.task("child").spawn(|_| async { Ok(1) }).await?;
        let turns = UntilIdle::new(ctx.scope()).below(ctx.id());
        let turn = |_| async { Ok::<_, Failure>(()) };
        assert_eq!(turns.run(&ctx.manager(), turn).await??, Pause::Idle);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn answer_that_its_body_has_got_does_not_wake_it() {
    stays_asleep(|ctx| async move {
        let (task, key) = (ctx.manager().task(ctx.id()), "k");
        let answers = async { while task.respond(key, "yes").await.is_err() {} };
        let (answer, ()) = tokio::join!(ctx.ask(key, "may I?"), answers);
        assert_eq!(answer?, "yes");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn child_that_ended_while_its_body_awaited_another_wakes_it() {
    let (manager, mut wakes) = told();
    let lead = manager.scope("s").task("lead").resumable();
    let lead = lead.spawn(|ctx| async move {
        let first = ctx.task("first").id(FIRST);
        first.spawn(|_| async { Ok(()) }).await?;
        let second = ctx.task("second").after([FIRST]);
        let second = second.spawn(|_| async { Ok(()) }).await?;
        second.await.unwrap();
        Err::<(), _>(ctx.suspend("until there is more"))
    });
    let lead = lead.await.unwrap();

    let (woken, cause) = next(&mut wakes).await;

    assert_eq!(woken, lead.id());
    assert_eq!(cause, WakeCause::Ended(FIRST));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn answer_that_comes_as_its_body_suspends_wakes_it() {
    use tokio::sync::Notify;
    use understory::store::FaultyStore;

    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let (builder, mut wakes) = tells();
    let manager = builder.store(Arc::clone(&store)).build().unwrap();
    let give_up = Arc::new(Notify::new());
    let signal = Arc::clone(&give_up);
    let task = manager.scope("s").task("t").resumable();
    let task = task.spawn(move |ctx| {
        let signal = Arc::clone(&signal);
        async move {
            tokio::select! {
                answer = ctx.ask("k", "may I?") => drop(answer?),
                () = signal.notified() => {}
            }
            Err::<(), _>(ctx.suspend("until somebody answers"))
        }
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Waiting).await;
    store.hold();
    let asked = task.task();
    let answers = tokio::spawn(async move { asked.respond("k", "yes").await });
    soon(store.until_held(1)).await;

    give_up.notify_one();
    settle_down().await;
    store.release();

    soon(answers).await.unwrap().unwrap();
    let key = "k".try_into().unwrap();
    assert_eq!(
        next(&mut wakes).await,
        (task.id(), WakeCause::Answered(key))
    );
}

/// A lead that sleeps after it has begun a task of its own and asked something.
async fn lead(ctx: Context, _: serde_json::Value) -> Result<serde_json::Value, Failure> {
    let child = ctx
        .task("child")
        .retry(Retry::fixed(1, std::time::Duration::ZERO));
    child.spawn_kind("child", ()).await?;
    let is_asked = || {
        let record = ctx.manager().get(ctx.id());
        record.is_some_and(|record| record.questions.is_some())
    };
    tokio::select! {
        answer = ctx.ask("k", "may I?") => drop(answer?),
        () = until(is_asked) => {}
    }
    Err(ctx.suspend("asleep"))
}

#[tokio::test]
async fn what_came_for_a_suspended_task_before_the_process_ended_wakes_it_in_the_next_one() {
    type Came = fn(Manager, TaskId) -> understory::BoxFuture<WakeCause>;
    let message: Came = |manager, id| {
        Box::pin(async move {
            let kept = manager.task(id).send_durable("mail").await;
            WakeCause::Message(kept.unwrap())
        })
    };
    let answer: Came = |manager, id| {
        Box::pin(async move {
            manager.task(id).respond("k", "yes").await.unwrap();
            WakeCause::Answered("k".try_into().unwrap())
        })
    };
    let end: Came = |manager, _| {
        Box::pin(async move {
            let child = manager.scope("s").find("lead/child").unwrap();
            manager.send(child, "go").await.unwrap();
            let ended = soon(manager.task(child).settled()).await.unwrap();
            WakeCause::Ended(ended.id)
        })
    };
    let child =
        |ctx: Context, _: serde_json::Value| async move { Ok(json!(ctx.recv().await.is_some())) };
    for came in [message, answer, end] {
        let store = Arc::new(MemoryStore::default());
        let builder = Manager::builder().store(Arc::clone(&store));
        let builder = builder.executor("lead", lead).executor("child", child);
        let first = builder.build().unwrap();
        let task = first.scope("s").task("lead").spawn_kind("lead", ());
        let id = task.await.unwrap().id();
        reaches(&first, id, State::Suspended).await;
        let cause = came(first.clone(), id).await;
        soon(first.leave()).await.unwrap();

        let (builder, mut wakes) = tells();
        let builder = builder.executor("lead", lead).executor("child", child);
        let second = builder.store(store).build().unwrap();

        assert_eq!(next(&mut wakes).await, (id, cause));
        settle_down().await;
        assert!(wakes.try_recv().is_err(), "one wake stands for all");
        drop(second);
    }
}
