//! Scopes that are closed and opened again.

use understory::{Cancel, CloseError, Manager, OnScopeClose, Refusal, Scope, SpawnError, State};

use crate::stage::{soon, until_cancelled};

fn over() -> Cancel {
    Cancel::because("the session is over")
}

#[tokio::test]
async fn closing_keeps_cancels_and_transfers_as_each_task_says() {
    let manager = Manager::in_memory();
    let session = manager.scope("session");
    let later = Scope::new("later").unwrap();
    let kept = session.task("kept").spawn(until_cancelled).await.unwrap();
    let ends = session.task("ends").on_scope_close(OnScopeClose::Cancel);
    let ends = ends.spawn(until_cancelled).await.unwrap();
    let moves = session
        .task("moves")
        .on_scope_close(OnScopeClose::Transfer(later.clone()));
    let moves = moves.spawn(until_cancelled).await.unwrap();

    let report = soon(session.close(over())).await.unwrap();

    assert_eq!(report.kept, [kept.id()]);
    assert_eq!(report.cancelled, [ends.id()]);
    assert_eq!(report.transferred, [(moves.id(), later)]);
    assert!(report.refused.is_empty() && report.abandoned.is_empty());
    assert_eq!(ends.state(), Some(State::Cancelled));
    assert_eq!(manager.scope("later").find("moves"), Some(moves.id()));
    assert!(!kept.state().is_some_and(State::is_terminal));
}

#[tokio::test]
async fn closed_scope_refuses_new_tasks_until_it_is_opened_again() {
    let manager = Manager::builder().closed_scope("early").build().unwrap();
    let (early, scope) = (manager.scope("early"), manager.scope("s"));
    assert!(early.is_closed() && !scope.is_closed());
    soon(scope.close(over())).await.unwrap();
    assert!(scope.is_closed());

    for closed in [&early, &scope] {
        let late = closed.unnamed().spawn(until_cancelled).await.unwrap_err();
        assert!(late.to_string().contains("reopen it"), "{late}");
        assert!(matches!(late, SpawnError::Refused(Refusal::ScopeClosed(_))));
        assert!(closed.reopen().await.unwrap());
        assert!(!closed.reopen().await.unwrap() && !closed.is_closed());
        assert!(closed.unnamed().spawn(until_cancelled).await.is_ok());
    }
}

#[tokio::test]
async fn guard_closes_no_scope_in_which_tasks_live() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(until_cancelled).await.unwrap();

    assert!(matches!(
        scope.close_if_idle().await,
        Err(CloseError::Active(1))
    ));
    assert!(!scope.is_closed());
    soon(task.cancel(over())).await.unwrap();
    scope.close_if_idle().await.unwrap();
    assert!(scope.is_closed());
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn close_that_is_durable_holds_when_who_closed_heard_nothing_of_it() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    crate::stage::until(|| manager.incarnation() == 1).await;
    manager.break_part(understory::Part::Carrier);
    soon(scope.close(over())).await.unwrap_err();
    crate::stage::until(|| manager.incarnation() == 2).await;

    soon(manager.scope("t").close(over())).await.unwrap();
    assert!(scope.is_closed());
    soon(scope.reopen()).await.unwrap();
    let task = soon(scope.unnamed().spawn(until_cancelled)).await;
    drop(task.unwrap());
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn scope_that_was_configured_closed_and_opened_again_stays_open_when_nobody_heard_of_it() {
    let store = std::sync::Arc::new(understory::store::MemoryStore::default());
    let open = || {
        let builder = Manager::builder().store(std::sync::Arc::clone(&store));
        builder.closed_scope("s").build().unwrap()
    };
    let first = open();
    crate::stage::until(|| first.scope("s").is_closed()).await;
    soon(first.leave()).await.unwrap();
    let manager = open();
    crate::stage::until(|| manager.incarnation() == 1).await;
    manager.break_part(understory::Part::Carrier);
    soon(manager.scope("s").reopen()).await.unwrap_err();
    crate::stage::until(|| manager.incarnation() == 2).await;

    let task = soon(manager.scope("s").unnamed().spawn(until_cancelled)).await;
    drop(task.unwrap());
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn closed_scope_stays_closed_when_an_actor_of_ours_fails() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    scope.close(over()).await.unwrap();

    manager.break_part(understory::Part::Manager);
    let other = manager.scope("t").unnamed().spawn(until_cancelled).await;
    crate::stage::until(|| manager.incarnation() == 2).await;

    drop(other);
    let late = soon(scope.unnamed().spawn(until_cancelled)).await;
    assert!(matches!(
        late,
        Err(SpawnError::Refused(Refusal::ScopeClosed(_)))
    ));
}
