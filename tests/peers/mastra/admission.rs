//! Limits over all tasks and for each agent.

use understory::{
    Builder, Cancel, Class, Filter, Manager, Page, SpawnError, State, TaskHandle, Wait,
};

use crate::stage::{settle_down, soon, until, until_cancelled};

fn with(setup: impl FnOnce(Builder) -> Builder) -> Manager {
    setup(Manager::builder()).build().unwrap()
}

/// A task of an agent, which has a scope of its own.
async fn of(manager: &Manager, agent: &str) -> TaskHandle<()> {
    let task = manager.scope(agent).unnamed().agent(agent);
    task.spawn(until_cancelled).await.unwrap()
}

fn count(manager: &Manager, state: State) -> usize {
    let filter = Filter::all().state(state);
    manager.list(&filter, &Page::default()).total
}

async fn end(task: &TaskHandle<()>) {
    soon(task.cancel(Cancel::because("its turn is over")))
        .await
        .unwrap();
}

#[tokio::test]
async fn three_slots_for_all_and_two_for_each_agent_leave_the_fourth_task_in_the_queue() {
    let setup = |builder: Builder| {
        let builder = builder.global_limit(Class::queue(3));
        builder.per_scope_limit(Class::queue(2))
    };
    let manager = with(setup);
    let mut tasks = Vec::new();
    for agent in ["a", "a", "b", "b"] {
        tasks.push(of(&manager, agent).await);
    }
    until(|| count(&manager, State::Running) == 3).await;
    settle_down().await;
    let last = tasks[3].record().unwrap();
    assert_eq!(
        (last.state, last.wait.clone()),
        (State::Pending, Some(Wait::Slot))
    );

    end(&tasks[0]).await;

    until(|| tasks[3].state() == Some(State::Running)).await;
    assert_eq!(count(&manager, State::Running), 3);
}

#[tokio::test]
async fn agent_at_its_limit_waits_and_delays_no_other() {
    let manager = with(|builder| {
        let builder = builder.global_limit(Class::queue(4));
        builder.per_scope_limit(Class::queue(2))
    });
    let first = of(&manager, "a").await;
    of(&manager, "a").await;
    let third = of(&manager, "a").await;
    let other = of(&manager, "b").await;

    until(|| other.state() == Some(State::Running)).await;
    settle_down().await;
    assert_eq!(third.state(), Some(State::Pending), "a slot of all is free");
    end(&first).await;
    until(|| third.state() == Some(State::Running)).await;
}

#[tokio::test]
async fn refused_task_leaves_nothing_behind_and_keeps_no_name() {
    let manager = with(|builder| builder.global_limit(Class::refuse(1)));
    let holder = of(&manager, "a").await;
    let refused = manager.scope("a").task("t").spawn(until_cancelled).await;

    assert!(matches!(refused, Err(SpawnError::LimitReached(_))));
    assert_eq!(manager.counts().total(), 1);
    assert_eq!(manager.scope("a").find("t"), None);
    end(&holder).await;
    let accepted = manager.scope("a").task("t").spawn(until_cancelled).await;
    assert!(accepted.is_ok());
}
