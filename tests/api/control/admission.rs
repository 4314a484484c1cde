//! Priorities, limits that let tasks run inline, preflight, and the hook for refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use understory::{Cancel, Class, Context, Failure, Manager, SpawnError, State, TaskHandle};

use crate::stage::{settle_down, soon, until, until_cancelled};

async fn until_told(ctx: Context) -> Result<(), Failure> {
    ctx.recv().await;
    Ok(())
}

async fn take_one(manager: &Manager) -> TaskHandle<()> {
    let task = manager.scope("s").unnamed().limit("l");
    task.spawn(until_cancelled).await.unwrap()
}

#[tokio::test]
async fn task_of_higher_priority_starts_before_those_that_came_earlier() {
    let manager = Manager::builder().limit("l", Class::queue(1));
    let manager = manager.build().unwrap();
    let first = take_one(&manager).await;
    let patient = take_one(&manager).await;
    let urgent = manager.scope("s").unnamed().limit("l").priority(1);
    let urgent = urgent.spawn(until_cancelled).await.unwrap();

    soon(first.cancel(Cancel::because("its turn is over")))
        .await
        .unwrap();

    until(|| urgent.state() == Some(State::Running)).await;
    assert_eq!(patient.state(), Some(State::Pending));
}

#[tokio::test]
async fn spawn_above_a_full_inline_limit_returns_when_its_task_has_ended() {
    let manager = Manager::builder().limit("l", Class::inline(1));
    let manager = manager.build().unwrap();
    let holder = take_one(&manager).await;
    assert!(!holder.is_inline());
    let returned = Arc::new(AtomicBool::new(false));
    let inline = {
        let (manager, returned) = (manager.clone(), Arc::clone(&returned));
        tokio::spawn(async move {
            let task = manager.scope("s").task("inline").limit("l");
            let task = task.spawn(until_told).await.unwrap();
            returned.store(true, Ordering::SeqCst);
            task
        })
    };
    until(|| manager.scope("s").find("inline").is_some()).await;
    let task = manager.task(manager.scope("s").find("inline").unwrap());
    until(|| task.state() == Some(State::Running)).await;
    settle_down().await;
    assert!(!returned.load(Ordering::SeqCst));

    task.send("go on").await.unwrap();

    let inline = soon(inline).await.unwrap();
    assert!(inline.is_inline());
    assert_eq!(inline.state(), Some(State::Completed));
    assert_eq!(inline.record().unwrap().to_json()["inline"], true);
    assert_eq!(holder.state(), Some(State::Running));
}

#[tokio::test]
async fn body_that_spawns_inline_counts_as_waiting_and_lends_its_slot() {
    let manager = Manager::builder()
        .global_limit(Class::queue(1))
        .limit("l", Class::inline(1));
    let manager = manager.build().unwrap();
    let lead = manager.scope("s").task("lead").limit("l");
    let lead = lead.spawn(|ctx| async move {
        // The child is inline for `l`, and needs the one slot over all tasks.
        let child = ctx.unnamed().limit("l").spawn(|_| async { Ok(7) }).await?;
        Ok((child.is_inline(), child.await?))
    });

    assert_eq!(soon(lead.await.unwrap()).await.unwrap(), (true, 7));
}

#[tokio::test]
async fn holder_of_an_external_task_does_not_wait_for_the_end_that_it_tells() {
    let manager = Manager::builder().limit("l", Class::inline(1));
    let manager = manager.build().unwrap();
    take_one(&manager).await;

    let build = manager.scope("s").task("build").limit("l");
    let build = soon(build.external()).await.unwrap();

    assert!(build.is_inline());
    assert_eq!(build.state(), Some(State::Running));
    build.complete(7).await.unwrap();
    assert_eq!(build.state(), Some(State::Completed));
}

#[tokio::test]
async fn capacity_is_what_admission_will_say() {
    let manager = Manager::builder()
        .limit("l", Class::queue(1))
        .per_scope_limit(Class::refuse(2));
    let manager = manager.build().unwrap();
    assert_eq!(manager.capacity("l").await.unwrap().unwrap().free(), 1);
    take_one(&manager).await;
    take_one(&manager).await;

    let class = manager.capacity("l").await.unwrap().unwrap();
    assert_eq!((class.max, class.in_use, class.queued), (1, 1, 1));
    assert_eq!((class.free(), class.queue_room), (0, u32::MAX - 1));
    assert_eq!(manager.capacity("m").await.unwrap(), None);
    let classes = manager.scope("s").capacity().await.unwrap();
    let scope = classes
        .iter()
        .find(|class| class.class.to_string() == "scope s");
    assert_eq!(scope.unwrap().free(), 0);
    let refused = manager.scope("s").unnamed().spawn(until_told).await;
    assert!(matches!(refused, Err(SpawnError::LimitReached(_))));
}

#[tokio::test]
async fn hook_hears_of_each_refusal_and_can_break_nothing() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let manager = Manager::builder()
        .scope_limit("s", Class::refuse(1))
        .on_limit_reached(move |reached| {
            let tell = tell.clone();
            async move {
                tell.send(reached).unwrap();
                panic!("a hook of the host panics");
            }
        });
    let manager = manager.build().unwrap();
    let scope = manager.scope("s");
    scope.unnamed().spawn(until_cancelled).await.unwrap();

    for _ in 0..2 {
        assert!(scope.unnamed().spawn(until_cancelled).await.is_err());
        let reached = soon(told.recv()).await.unwrap();
        assert_eq!((reached.scope.as_str(), reached.full.in_use), ("s", 1));
    }
    let other = manager.scope("t").unnamed().spawn(|_| async { Ok(1) });
    assert_eq!(soon(other.await.unwrap()).await.unwrap(), 1);
}

#[tokio::test]
async fn refusal_says_which_limit_how_much_is_in_use_and_what_to_do() {
    let manager = Manager::builder().limit("l", Class::refuse(1));
    let manager = manager.live_max(1).build().unwrap();
    let held = take_one(&manager).await;

    let bound = manager.scope("s").unnamed().spawn(until_told).await;
    let text = bound.unwrap_err().to_string();
    assert!(
        text.contains("1 live tasks") && text.contains("ask for fewer"),
        "{text}"
    );
    soon(held.cancel(Cancel::because("enough"))).await.unwrap();

    let manager = Manager::builder().limit("l", Class::refuse(1));
    let manager = manager.build().unwrap();
    take_one(&manager).await;
    let full = manager.scope("s").unnamed().limit("l").spawn(until_told);
    let text = full.await.unwrap_err().to_string();
    assert!(
        text.contains("limit l") && text.contains("1 of 1 in use"),
        "{text}"
    );
    assert!(text.contains("wait for one to end"), "{text}");
}
