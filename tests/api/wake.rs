//! The hook for tasks that cannot hear what arrives for them.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use understory::{
    Builder, Cancel, Context, Failure, Manager, OnParentEnd, SendMode, State, TaskBuilder,
    TaskHandle, TaskId, Wake, WakeCause,
};

use crate::stage::{reaches, settle_down, soon, until, until_cancelled};

mod unheard;

type Wakes = mpsc::UnboundedReceiver<Wake>;

/// A manager whose hook tells of each wake.
fn told() -> (Manager, Wakes) {
    let (builder, wakes) = tells();
    (builder.build().unwrap(), wakes)
}

fn tells() -> (Builder, Wakes) {
    let (tell, wakes) = mpsc::unbounded_channel();
    let hook = move |wake: Wake| {
        let tell = tell.clone();
        async move { drop(tell.send(wake)) }
    };
    (Manager::builder().on_wake(hook), wakes)
}

async fn sleeps(ctx: Context) -> Result<Vec<serde_json::Value>, Failure> {
    match ctx.resumed() {
        None => Err(ctx.suspend("asleep")),
        Some(_) => Ok(ctx
            .drain()
            .into_iter()
            .map(|message| message.body)
            .collect()),
    }
}

async fn sleeper(manager: &Manager) -> TaskHandle<Vec<serde_json::Value>> {
    let task = manager.scope("s").task("sleeper").resumable().spawn(sleeps);
    let task = task.await.unwrap();
    reaches(manager, task.id(), State::Suspended).await;
    task
}

async fn next(wakes: &mut Wakes) -> (TaskId, WakeCause) {
    let wake = soon(wakes.recv()).await.expect("the manager lives");
    (wake.task.id(), wake.cause)
}

#[tokio::test]
async fn triggering_message_wakes_a_suspended_task_once_until_it_runs() {
    let (manager, mut wakes) = told();
    let task = sleeper(&manager).await;
    task.send("quiet").await.unwrap();
    let loud = task.send_as(SendMode::Trigger, "loud").await.unwrap().id;
    task.send_as(SendMode::Interrupt, "louder").await.unwrap();

    assert_eq!(
        next(&mut wakes).await,
        (task.id(), WakeCause::Message(loud))
    );
    settle_down().await;
    assert!(wakes.try_recv().is_err());
    task.resume(()).await.unwrap();
    assert_eq!(soon(task).await.unwrap(), ["quiet", "loud", "louder"]);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn durable_message_wakes_its_receiver_although_its_sender_has_gone() {
    use understory::store::{FaultyStore, MemoryStore};

    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let (builder, mut wakes) = tells();
    let manager = builder.store(Arc::clone(&store)).build().unwrap();
    let task = sleeper(&manager).await;
    store.hold();
    let receiver = task.task();
    let sends = tokio::spawn(async move { receiver.send_durable("mail").await });
    soon(store.until_held(1)).await;
    sends.abort();
    assert!(soon(sends).await.unwrap_err().is_cancelled());

    store.release();

    assert_eq!(next(&mut wakes).await.0, task.id());
}

#[tokio::test]
async fn acknowledged_wake_may_be_followed_by_another() {
    let (manager, mut wakes) = told();
    let task = sleeper(&manager).await;
    task.send_as(SendMode::Trigger, 1).await.unwrap();
    soon(wakes.recv()).await.unwrap().acknowledge();
    let second = task.send_as(SendMode::Trigger, 2).await.unwrap().id;
    assert_eq!(
        next(&mut wakes).await,
        (task.id(), WakeCause::Message(second))
    );
}

#[tokio::test]
async fn settled_task_that_was_woken_before_its_end_is_woken_again() {
    let (manager, mut wakes) = told();
    let task = sleeper(&manager).await;
    task.send_as(SendMode::Trigger, "loud").await.unwrap();
    next(&mut wakes).await;
    settle_down().await;
    let child = manager.scope("s").task("child").parent(task.id());
    let child = child
        .on_parent_end(OnParentEnd::Detach)
        .spawn(until_cancelled);
    let child = child.await.unwrap();
    task.cancel(Cancel::because("enough")).await.unwrap();

    child.cancel(Cancel::because("enough")).await.unwrap();

    assert_eq!(
        next(&mut wakes).await,
        (task.id(), WakeCause::Ended(child.id()))
    );
}

#[tokio::test]
async fn running_task_is_not_woken() {
    let (manager, mut wakes) = told();
    let task = manager
        .scope("s")
        .task("t")
        .spawn(|ctx| async move { Ok(ctx.recv().await.map(|message| message.body)) });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    task.send_as(SendMode::Trigger, "hear").await.unwrap();
    assert_eq!(soon(task).await.unwrap(), Some(json!("hear")));
    settle_down().await;
    assert!(wakes.try_recv().is_err());
}

/// A lead that spawned this task and is suspended; another run of it ends.
async fn suspended_after(
    manager: &Manager,
    spawns: impl Fn(&Context) -> TaskBuilder + Send + Sync + 'static,
) -> TaskHandle<()> {
    let lead = manager.scope("s").task("lead").resumable();
    let spawns = Arc::new(spawns);
    let lead = lead.spawn(move |ctx| {
        let spawns = Arc::clone(&spawns);
        async move {
            if ctx.resumed().is_some() {
                return Ok(());
            }
            let hears = |ctx: Context| async move { Ok(ctx.recv().await.is_some()) };
            spawns(&ctx).spawn(hears).await?;
            Err(ctx.suspend("until the other one ends"))
        }
    });
    let lead = lead.await.unwrap();
    reaches(manager, lead.id(), State::Suspended).await;
    lead
}

/// The end of what a lead waits for wakes it.
async fn wakes_at_its_end(
    manager: &Manager,
    wakes: &mut Wakes,
    lead: TaskHandle<()>,
    other: TaskId,
) {
    manager.send(other, "go").await.unwrap();
    assert_eq!(next(wakes).await, (lead.id(), WakeCause::Ended(other)));
    lead.resume(()).await.unwrap();
    soon(lead).await.unwrap();
}

#[tokio::test]
async fn end_of_a_child_wakes_its_suspended_parent() {
    let (manager, mut wakes) = told();
    let lead = suspended_after(&manager, |ctx| ctx.task("child")).await;
    let child = manager.scope("s").find("lead/child").unwrap();
    assert_eq!(manager.get(child).unwrap().parent, Some(lead.id()));
    wakes_at_its_end(&manager, &mut wakes, lead, child).await;
}

#[tokio::test]
async fn end_of_a_root_wakes_the_suspended_task_that_spawned_it() {
    let (manager, mut wakes) = told();
    let lead = suspended_after(&manager, |ctx| ctx.task("other").root()).await;
    let other = manager.scope("s").find("other").unwrap();
    assert_eq!(manager.get(other).unwrap().parent, None);
    wakes_at_its_end(&manager, &mut wakes, lead, other).await;
}

#[tokio::test]
async fn what_came_before_the_suspension_wakes_at_once() {
    let (manager, mut wakes) = told();
    let lead = manager
        .scope("s")
        .task("lead")
        .resumable()
        .spawn(|ctx| async move {
            if ctx.resumed().is_none() {
                ctx.send_as(SendMode::Trigger, "self", "to be read").await?;
                return Err(ctx.suspend("without looking"));
            }
            Ok(ctx.drain().len())
        });
    let lead = lead.await.unwrap();
    let (woken, cause) = next(&mut wakes).await;
    assert_eq!(woken, lead.id());
    assert!(matches!(cause, WakeCause::Message(_)));
    lead.resume(()).await.unwrap();
    assert_eq!(soon(lead).await.unwrap(), 1);
}

#[tokio::test]
async fn hook_that_panics_is_called_again_for_the_next_arrival() {
    let (tell, mut calls) = mpsc::unbounded_channel();
    let hook = move |wake: Wake| {
        drop(tell.send(wake));
        async { panic!("out of cheese") }
    };
    let manager = Manager::builder().on_wake(hook).build().unwrap();
    let task = sleeper(&manager).await;
    task.send_as(SendMode::Trigger, 1).await.unwrap();
    soon(calls.recv()).await.unwrap();
    settle_down().await;
    task.send_as(SendMode::Trigger, 2).await.unwrap();
    soon(calls.recv()).await.unwrap();
}

#[tokio::test]
async fn answer_wakes_who_asked_and_is_suspended() {
    let (manager, mut wakes) = told();
    let task = manager
        .scope("s")
        .task("t")
        .resumable()
        .spawn(|ctx| async move {
            let asks = ctx.ask("k", "may I?");
            if ctx.resumed().is_some() {
                return Ok(asks.await?);
            }
            let is_asked = || {
                let record = ctx.manager().get(ctx.id());
                record.is_some_and(|record| record.questions.is_some())
            };
            tokio::select! {
                answer = asks => drop(answer?),
                () = until(is_asked) => {}
            }
            Err(ctx.suspend("until somebody answers"))
        });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;

    task.respond("k", "yes").await.unwrap();

    let key = "k".try_into().unwrap();
    assert_eq!(
        next(&mut wakes).await,
        (task.id(), WakeCause::Answered(key))
    );
    task.resume(()).await.unwrap();
    assert_eq!(soon(task).await.unwrap(), "yes");
}
