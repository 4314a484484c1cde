//! Scopes that are closed and opened, tasks that move between them, what others may do with these,
//! and what trees may use up.

use serde_json::{Value, json};
use understory::{
    Address, BudgetError, Cancel, CloseError, Context, ControlError, Failure, Grant, GrantError,
    Manager, OnScopeClose, Refusal, Scope, SpawnError, State, TransferError, Wait,
};

use super::{again, at_each_point, cancelled, id, lasting, spawned, waits};
use crate::stage::{reaches, soon};

/// Whether a request has no answer because all were started anew.
const fn is_restart(why: &ControlError) -> bool {
    matches!(why, ControlError::Restarted)
}

const fn is_unsure_of_transfer(why: &TransferError) -> bool {
    matches!(why, TransferError::Unanswered(why) if is_restart(why))
}

#[tokio::test]
async fn p11_scope_is_closed_and_what_it_held_is_kept_stopped_or_moved() {
    let stage = || (Manager::builder().executor("waits", waits), ());
    at_each_point(stage, async |manager, ()| {
        let scope = manager.scope("s");
        let new = Scope::new("new").unwrap();
        let policies = [
            OnScopeClose::Keep,
            OnScopeClose::Cancel,
            OnScopeClose::Transfer(new.clone()),
        ];
        for (number, policy) in (1..).zip(policies) {
            let ask = async || {
                let task = lasting(manager, number).on_scope_close(policy.clone());
                task.spawn_kind("waits", ()).await
            };
            let _task = spawned(ask).await;
        }

        let close = async || scope.close(Cancel::because("bye")).await;
        let unsure = |why: &_| matches!(why, CloseError::Unanswered(why) if is_restart(why));
        again(close, unsure).await.unwrap();

        assert!(scope.is_closed());
        let record = soon(manager.task(id(2)).settled()).await.unwrap();
        assert_eq!(record.state, State::Cancelled);
        let moved = manager.get(id(3)).unwrap();
        assert_eq!((moved.scope(), moved.state.is_terminal()), (&new, false));
        let kept = manager.get(id(1)).unwrap();
        assert!(kept.scope().as_str() == "s" && !kept.state.is_terminal());
        let late = async || lasting(manager, 4).spawn_kind("waits", ()).await;
        let unsure = |why: &_| matches!(why, SpawnError::Unknown(_) | SpawnError::Unavailable(_));
        let refused = again(late, unsure).await;
        let refused = refused.map(|task| task.id());
        assert!(
            matches!(refused, Err(SpawnError::Refused(Refusal::ScopeClosed(_)))),
            "{refused:?}"
        );

        again(async || scope.reopen().await, is_restart)
            .await
            .unwrap();
        assert!(!scope.is_closed());
        let _late = spawned(late).await;
    })
    .await;
}

/// Tells where it is when somebody writes to it.
async fn tells_where(ctx: Context, _: Value) -> Result<Value, Failure> {
    ctx.recv().await;
    Ok(json!(ctx.scope().to_string()))
}

#[tokio::test]
async fn p11_tree_that_is_moved_goes_on_in_its_new_scope_under_its_name() {
    let stage = || {
        let builder = Manager::builder().executor("tells", tells_where);
        (builder.executor("waits", waits), ())
    };
    at_each_point(stage, async |manager, ()| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("tells", ()).await).await;
        let below = async || {
            let task = lasting(manager, 2).parent(id(1));
            task.spawn_kind("waits", ()).await
        };
        let _below = spawned(below).await;

        let moving = async || task.transfer("new").await;
        again(moving, is_unsure_of_transfer).await.unwrap();

        let (old, new) = (manager.scope("s"), manager.scope("new"));
        assert_eq!((old.find("t1"), new.find("t1")), (None, Some(id(1))));
        // It ends with the attempt above it if that is lost.
        let is_below_over = || manager.task(id(2)).state().unwrap().is_terminal();
        assert_eq!(old.find("t2"), None);
        assert!(new.find("t2") == Some(id(2)) || is_below_over());
        // A message is of the attempt that it came to: a next one waits for another.
        let has_read = || {
            let record = manager.get(id(1)).unwrap();
            record.wait == Some(Wait::Children) || record.state.is_terminal()
        };
        let writing = async {
            while !has_read() {
                let _sent = new.send(Address::from("t1"), "where?").await;
                tokio::task::yield_now().await;
            }
        };
        soon(writing).await;
        cancelled(&manager.task(id(2))).await;
        assert_eq!(soon(task).await.unwrap(), "new");
    })
    .await;
}

#[tokio::test]
async fn p11_grants_are_as_they_were_given_passed_on_and_taken() {
    let stage = || (Manager::builder().executor("waits", waits), ());
    at_each_point(stage, async |manager, ()| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("waits", ()).await).await;
        let unsure = |why: &_| matches!(why, GrantError::Unanswered(why) if is_restart(why));

        for to in ["a", "b"] {
            let give = async || task.grant(to, Grant::Talk).await;
            again(give, unsure).await.unwrap();
        }
        let pass = async || task.pass_grant("a", "c").await;
        match again(pass, unsure).await {
            // It was passed on before all started anew.
            Ok(()) | Err(GrantError::NotHeld(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        again(async || task.revoke("b").await, unsure)
            .await
            .unwrap();

        let may = |scope: &str| manager.scope(scope).may(id(1));
        assert_eq!(
            [may("a"), may("b"), may("c")],
            [None, None, Some(Grant::Talk)]
        );
        assert_eq!(task.grants().len(), 1);
        assert_eq!(manager.scope("c").granted().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn p11_no_charge_that_was_granted_is_forgotten() {
    let pays = |ctx: Context, _: Value| async move {
        let mut paid = 0;
        loop {
            match ctx.charge("turns", 1).await {
                Ok(_) => paid += 1,
                Err(BudgetError::Exhausted { .. }) => break,
                Err(other) => return Err(other.into()),
            }
        }
        ctx.cancelled().await;
        Ok(json!(paid))
    };
    let stage = || (Manager::builder().executor("pays", pays), ());
    at_each_point(stage, async |manager, ()| {
        let ask = async || {
            let task = lasting(manager, 1).budget("turns", 4);
            task.spawn_kind("pays", ()).await
        };
        let task = spawned(ask).await;

        let record = soon(task.settled()).await.unwrap();

        assert_eq!(record.state, State::Cancelled);
        let wanted = json!({ "limit": 4, "used": 4, "exhausted": true });
        assert_eq!(record.to_json()["budgets"]["turns"], wanted);
    })
    .await;
}

#[tokio::test]
async fn p11_tree_that_nobody_refers_to_is_cancelled_and_others_go_on() {
    let stage = || (Manager::builder().executor("waits", waits), ());
    at_each_point(stage, async |manager, ()| {
        for number in 1..3 {
            let ask = async || lasting(manager, number).spawn_kind("waits", ()).await;
            let _task = spawned(ask).await;
            reaches(manager, id(number), State::Running).await;
        }
        let unsure = |why: &_| matches!(why, GrantError::Unanswered(why) if is_restart(why));
        let shared = manager.task(id(1));
        let give = async || shared.grant("other", Grant::See).await;
        again(give, unsure).await.unwrap();
        let scope = manager.scope("s");
        let close = async || scope.close(Cancel::because("bye")).await;
        let unsure = |why: &_| matches!(why, CloseError::Unanswered(why) if is_restart(why));
        again(close, unsure).await.unwrap();

        let ask = async || {
            manager
                .cancel_unreferenced([], Cancel::because("old"))
                .await
        };
        again(ask, super::is_unsure_of_cancel).await.unwrap();

        let record = soon(manager.task(id(2)).settled()).await.unwrap();
        assert_eq!(record.state, State::Cancelled);
        assert!(!shared.state().unwrap().is_terminal());
    })
    .await;
}
