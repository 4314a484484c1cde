//! Tasks that are moved to another scope while they run and finish.

use understory::{
    Context, Event, Failure, Filter, Manager, Page, Refusal, Scope, Since, SpawnError, State,
    TransferError, TransferRefusal,
};

use crate::stage::{sees, settle_down, soon, until, until_cancelled};

async fn until_told(ctx: Context) -> Result<String, Failure> {
    ctx.recv().await;
    ctx.progress("told").await.map_err(Failure::from)?;
    let child = ctx
        .task("child")
        .spawn(|ctx| async move { Ok(ctx.scope().to_string()) });
    child.await?.await.map_err(Failure::from)
}

fn in_scope(name: &str) -> Filter {
    Filter::all().scope(Scope::new(name).unwrap())
}

fn listed(manager: &Manager, scope: &str) -> usize {
    manager.list(&in_scope(scope), &Page::first(9)).total
}

#[tokio::test]
async fn moved_task_is_of_its_new_scope_for_lists_names_messages_and_its_end() {
    let manager = Manager::in_memory();
    let (old, new) = (manager.scope("old"), manager.scope("new"));
    let task = old.task("reader").spawn(until_told).await.unwrap();
    until(|| task.state() == Some(State::Running)).await;

    let report = manager.transfer([task.id()], "new").await.unwrap();

    assert_eq!(report.moved, [task.id()]);
    assert_eq!((listed(&manager, "old"), listed(&manager, "new")), (0, 1));
    assert_eq!(
        (old.find("reader"), new.find("reader")),
        (None, Some(task.id()))
    );
    assert_eq!(task.record().unwrap().to_json()["scope"], "new");
    let namesake = old.task("reader").spawn(until_cancelled).await;
    assert!(namesake.is_ok());
    let sender = new.task("sender").spawn(|ctx| async move {
        ctx.send("reader", "go on").await.map_err(Failure::from)?;
        Ok(())
    });
    soon(sender.await.unwrap()).await.unwrap();
    assert_eq!(
        soon(task.task().settled()).await.unwrap().state,
        State::Completed
    );
    assert_eq!(soon(task).await.unwrap(), "new");
    assert_eq!(listed(&manager, "new"), 3);
}

#[tokio::test]
async fn subscribers_of_both_scopes_see_the_move_and_only_the_new_ones_what_follows() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("old")
        .task("t")
        .spawn(until_told)
        .await
        .unwrap();
    let since = Since::Seq(understory::Seq(0));
    let mut old = manager.subscribe_to(since, in_scope("old")).await.unwrap();
    let mut new = manager.subscribe_to(since, in_scope("new")).await.unwrap();

    task.transfer("new").await.unwrap();
    task.send("go on").await.unwrap();
    soon(task.task().settled()).await.unwrap();
    settle_down().await;

    let moved = |event: &Event| event.what.name() == "transferred";
    let seen = sees(&mut old, moved).await.to_json();
    assert_eq!(
        seen["data"],
        serde_json::json!({ "from": "old", "to": "new" })
    );
    assert_eq!(sees(&mut new, |_| true).await.what.name(), "transferred");
    sees(&mut new, |event| event.what.name() == "settled").await;
    let last = manager
        .scope("old")
        .task("last")
        .spawn(until_cancelled)
        .await
        .unwrap();
    // What comes next in the old scope is of another task.
    assert_eq!(sees(&mut old, |_| true).await.task, last.id());
}

#[tokio::test]
async fn transfer_that_cannot_be_whole_moves_nothing_and_says_why() {
    let manager = Manager::in_memory();
    let (old, new) = (manager.scope("old"), manager.scope("new"));
    let ann = old.task("ann").spawn(until_cancelled).await.unwrap();
    let bob = old.task("bob").spawn(until_cancelled).await.unwrap();
    let other = new.task("bob").spawn(until_cancelled).await.unwrap();

    let refused = manager
        .transfer([ann.id(), bob.id()], "new")
        .await
        .unwrap_err();

    assert!(
        refused.to_string().contains(&other.id().to_string()),
        "{refused}"
    );
    let TransferError::Refused(TransferRefusal::NameTaken(_, holder)) = refused else {
        panic!("{refused}");
    };
    assert_eq!((holder, listed(&manager, "old")), (other.id(), 2));
    assert!(manager.transfer([ann.id()], "no scope").await.is_err());
}

#[tokio::test]
async fn parent_of_another_scope_is_refused_after_the_move() {
    let manager = Manager::in_memory();
    let lead = manager
        .scope("old")
        .task("lead")
        .spawn(until_cancelled)
        .await
        .unwrap();
    lead.transfer("new").await.unwrap();

    let child = manager.scope("old").task("child").parent(lead.id());
    let refused = child.spawn(until_cancelled).await;
    assert!(matches!(
        refused,
        Err(SpawnError::Refused(Refusal::ParentElsewhere(_, scope))) if scope.as_str() == "new"
    ));
}
