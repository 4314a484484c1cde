//! Budgets of trees.

use std::sync::Arc;

use understory::{BudgetError, Cause, Event, Failure, Manager, State};

use crate::stage::{feed_of, sees, soon};

#[tokio::test]
async fn children_charge_the_budget_of_their_root_until_it_is_used_up() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").budget("tokens", 100);
    let lead = lead.spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|ctx| async move {
            let left = ctx.charge("tokens", 60).await.map_err(Failure::from)?.left;
            let refused = ctx.charge("tokens", 60).await.unwrap_err();
            let text = refused.to_string();
            let BudgetError::Exhausted { charge, .. } = refused else {
                return Err(Failure::new(text));
            };
            assert_eq!((left, charge.used, charge.limit), (Some(40), 60, 100));
            assert!(text.contains("40 of 100 tokens left"), "{text}");
            ctx.cancelled().await;
            Ok(())
        });
        child.await?.await.map_err(Failure::from)
    });
    let lead = lead.await.unwrap();

    let record = soon(lead.settled()).await.unwrap();

    assert_eq!(record.state, State::Cancelled);
    let stop = record.stop.clone().unwrap();
    assert_eq!(stop.cause, Cause::Budget);
    assert!(stop.reason.contains("tokens"));
    let json = record.to_json();
    let wanted = serde_json::json!({ "limit": 100, "used": 60, "exhausted": true });
    assert_eq!(json["budgets"]["tokens"], wanted);
    assert_eq!(json["stop"]["cause"], "budget");
    let mut feed = feed_of(&manager, lead.id()).await;
    let exhausted = |event: &Event| event.what.name() == "budget_exhausted";
    assert_eq!(
        sees(&mut feed, exhausted).await.to_json()["data"]["counter"],
        "tokens"
    );
}

#[tokio::test]
async fn sixty_four_charges_at_once_take_no_more_than_the_budget() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").budget("turns", 40);
    let lead = lead.spawn(|ctx| async move {
        let ctx = Arc::new(ctx);
        let mut charges = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let ctx = Arc::clone(&ctx);
            charges.spawn(async move { ctx.charge("turns", 1).await.is_ok() });
        }
        let taken = charges.join_all().await;
        Ok(taken.into_iter().filter(|taken| *taken).count())
    });
    let lead = lead.await.unwrap();

    let record = soon(lead.settled()).await.unwrap();

    assert_eq!(record.budgets["turns"].used, 40);
    assert_eq!(record.state, State::Cancelled);
}

#[tokio::test]
async fn attempt_that_is_over_charges_nothing() {
    let manager = Manager::in_memory();
    let (tell, told) = tokio::sync::oneshot::channel();
    let task = manager.scope("s").task("t").budget("tokens", 10);
    let task = task.spawn(|ctx| async move {
        tell.send(ctx).ok();
        Ok(())
    });
    soon(task.await.unwrap()).await.unwrap();

    let late = told.await.unwrap().charge("tokens", 1).await;

    assert!(matches!(late, Err(BudgetError::Over)));
}

#[tokio::test]
async fn counter_that_is_no_name_is_told_to_whoever_uses_it() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").budget("no name", 10);
    assert!(task.spawn(|_| async { Ok(()) }).await.is_err());

    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let refused = ctx.charge("no name", 1).await;
        Ok(matches!(refused, Err(BudgetError::Invalid(_))))
    });
    assert!(soon(task.await.unwrap()).await.unwrap());
}
