//! Waiting until nothing of a group lives.

use std::time::Duration;

use understory::{Class, Filter, Manager, OnParentEnd, Scope, Since, State, SubscribeError};

use super::{end, on_word};
use crate::stage::{reaches, settle_down, soon};

#[tokio::test]
async fn group_has_settled_when_no_live_task_of_it_is_left() {
    let manager = Manager::in_memory();
    let spawn = |checkpoint: &'static str| {
        let task = manager.scope("s").unnamed().label("checkpoint", checkpoint);
        task.spawn(on_word)
    };
    let (first, second) = (spawn("7").await.unwrap(), spawn("7").await.unwrap());
    let other = spawn("8").await.unwrap();
    let group = Filter::all().label("checkpoint", "7");
    let waiter = manager.clone();
    let wait = tokio::spawn(async move { waiter.group_settled(group).await });
    settle_down().await;

    end(&first).await;
    // One more joins the group before the last one of it has settled.
    let third = spawn("7").await.unwrap();
    end(&second).await;
    settle_down().await;
    assert!(!wait.is_finished());

    end(&third).await;
    soon(wait).await.unwrap().unwrap();
    assert_eq!(other.state(), Some(State::Running));
}

#[tokio::test]
async fn empty_group_has_settled_at_once() {
    let manager = Manager::in_memory();
    let group = Filter::all().scope(Scope::new("nobody").unwrap());
    soon(manager.group_settled(group)).await.unwrap();
}

#[tokio::test]
async fn conditions_on_states_and_events_do_not_touch_a_group() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(on_word).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let all = Filter::all().live().waits_for("children").event("started");
    let group = all.state(State::Pending);
    let waiter = manager.clone();
    let wait = tokio::spawn(async move { waiter.group_settled(group).await });
    settle_down().await;
    assert!(!wait.is_finished());
    end(&task).await;
    soon(wait).await.unwrap().unwrap();
}

#[tokio::test]
async fn task_that_leaves_its_group_is_waited_for_no_longer() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let begin = |group: Filter| {
        let waiter = manager.clone();
        tokio::spawn(async move { waiter.group_settled(group).await })
    };
    let lead = scope.task("lead").spawn(on_word).await.unwrap();
    let child = scope.task("child").parent(lead.id());
    let child = child.on_parent_end(OnParentEnd::Detach).spawn(on_word);
    let child = child.await.unwrap();
    let (of_tree, of_scope) = (
        begin(Filter::all().root(lead.id())),
        begin(Filter::all().scope(Scope::new("s").unwrap())),
    );
    settle_down().await;

    end(&lead).await;
    soon(of_tree).await.unwrap().unwrap();
    settle_down().await;
    assert!(!of_scope.is_finished());
    child.transfer("elsewhere").await.unwrap();
    soon(of_scope).await.unwrap().unwrap();
    assert_eq!(child.state(), Some(State::Running));
}

#[tokio::test]
async fn group_that_lives_when_its_manager_stops_has_not_settled() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let build = scope.task("build").external().await.unwrap();
    let wait = || {
        let waiter = manager.clone();
        tokio::spawn(async move { waiter.group_settled(Filter::all()).await })
    };
    let early = wait();
    settle_down().await;

    soon(manager.leave()).await.unwrap();

    assert_eq!(build.state(), Some(State::Running));
    for wait in [early, wait()] {
        let told = soon(wait).await.unwrap();
        assert!(matches!(told, Err(SubscribeError::Stopped)), "{told:?}");
    }
}

#[tokio::test]
async fn group_that_a_shutdown_settles_has_settled() {
    let manager = Manager::in_memory();
    let _task = manager.scope("s").task("t").spawn(on_word).await.unwrap();
    let waiter = manager.clone();
    let wait = tokio::spawn(async move { waiter.group_settled(Filter::all()).await });
    settle_down().await;

    soon(manager.shutdown(Duration::ZERO)).await.unwrap();

    soon(wait).await.unwrap().unwrap();
}

#[tokio::test]
async fn empty_group_needs_no_subscription() {
    let manager = Manager::builder().subscribers_max(1).build().unwrap();
    let _taken = manager.subscribe(Since::Now).await.unwrap();

    soon(manager.group_settled(Filter::all())).await.unwrap();
    let _task = manager.scope("s").task("t").spawn(on_word).await.unwrap();
    let refused = soon(manager.group_settled(Filter::all())).await;

    assert!(
        matches!(refused, Err(SubscribeError::TooMany(1))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn body_that_waits_for_a_group_lends_its_slot() {
    let manager = Manager::builder().global_limit(Class::queue(1));
    let manager = manager.build().unwrap();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|_| async { Ok(7) }).await?;
        let group = Filter::all().parent(ctx.id());
        ctx.manager().group_settled(group).await?;
        Ok(child.await?)
    });

    assert_eq!(soon(lead.await.unwrap()).await.unwrap(), 7);
}
