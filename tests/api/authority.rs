//! Who may cancel, as the host decides.

use std::sync::{Arc, Mutex};

use understory::{AbandonError, Cancel, CancelAsk, CancelError, Manager, Requester, State, Target};

use crate::stage::{reaches, soon, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

fn refusing(refused: impl Fn(&CancelAsk) -> bool + Send + Sync + 'static) -> Manager {
    let builder = Manager::builder().allow_cancel(move |ask| {
        let allowed = !refused(&ask);
        async move { allowed }
    });
    builder.build().unwrap()
}

#[tokio::test]
async fn every_request_to_stop_asks_the_policy_and_a_refused_one_stops_nothing() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let manager = refusing({
        let asked = Arc::clone(&asked);
        move |ask| {
            asked.lock().unwrap().push(ask.clone());
            true
        }
    });
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(until_cancelled).await.unwrap();
    let id = task.id();
    reaches(&manager, id, State::Running).await;

    let refused = [
        task.cancel(enough()).await,
        task.cancel_tree(enough()).await,
        scope.cancel(id, enough()).await,
        scope.cancel_tree(id, enough()).await,
        scope.cancel_scope(enough()).await,
        scope.cancel_visible(enough()).await,
        manager.cancel_all(enough()).await,
        manager.cancel_run("r", enough()).await,
        manager.cancel_unreferenced([], enough()).await,
    ];
    for refused in refused {
        assert!(
            matches!(refused, Err(CancelError::Denied(_))),
            "{refused:?}"
        );
    }
    let given_up = task.abandon("enough").await;
    assert!(matches!(given_up, Err(AbandonError::Denied(it)) if it == id));
    assert_eq!(task.state(), Some(State::Running));

    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 10);
    assert_eq!((asked[0].task(), &*asked[0].reason), (Some(id), "enough"));
    assert_eq!(asked[2].scope().unwrap().as_str(), "s");
    assert_eq!(asked[6].target, Target::All);
    assert!(
        asked
            .iter()
            .all(|ask| ask.by == Requester::Host && !ask.is_own)
    );
}

#[tokio::test]
async fn policy_can_leave_a_task_to_itself_and_those_above_it() {
    let manager = refusing(|ask| !ask.is_own);
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(until_cancelled).await?;
        let id = child.id();
        let rival = ctx
            .task("rival")
            .spawn(move |ctx| async move { Ok(ctx.cancel_tree(id, enough()).await.is_err()) });
        assert!(
            rival.await?.await?,
            "a sibling is neither itself nor above it"
        );
        Ok(child.cancel(enough()).await?.cancelled.len())
    });
    assert_eq!(soon(lead.await.unwrap()).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn policy_that_panics_or_hangs_has_refused() {
    let panics = Manager::builder().allow_cancel(|_| async { panic!("a mistake of the host") });
    let hangs = Manager::builder().allow_cancel(|_| std::future::pending());
    for manager in [panics.build().unwrap(), hangs.build().unwrap()] {
        let task = manager
            .scope("s")
            .task("t")
            .spawn(until_cancelled)
            .await
            .unwrap();
        let refused = soon(task.cancel(enough())).await;
        assert!(matches!(refused, Err(CancelError::Denied(Some(_)))));
        soon(manager.shutdown(std::time::Duration::from_secs(1)))
            .await
            .unwrap();
        assert_eq!(
            task.state(),
            Some(State::Cancelled),
            "no policy keeps a manager up"
        );
    }
}

#[tokio::test]
async fn what_the_manager_stops_by_itself_asks_nobody() {
    let manager = refusing(|_| true);
    let token = tokio_util::sync::CancellationToken::new();
    let linked = manager.scope("s").task("t").cancel_with(token.clone());
    let linked = linked.spawn(until_cancelled).await.unwrap();
    token.cancel();
    assert_eq!(
        soon(linked.settled()).await.unwrap().state,
        State::Cancelled
    );
}

#[tokio::test]
async fn guard_that_a_body_drops_asks_as_that_body() {
    let manager = refusing(|ask| !ask.is_own);
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(until_cancelled).await?;
        let task = child.task();
        drop(child.cancel_on_drop());
        Ok(task.settled().await?.to_json())
    });
    let lead = lead.await.unwrap();
    let id = lead.id();

    let child = soon(lead).await.unwrap();

    assert_eq!(child["state"], "cancelled");
    assert_eq!(child["stop"]["by"], id.to_string());
}
