//! What a task lets other scopes do with it.

use serde_json::json;
use understory::{
    Address, Cancel, CancelError, Context, Failure, Filter, Grant, GrantError, Manager, Page,
    ResumeError, SendError, Seq, State, TaskHandle, TaskId, WaitError,
};

use crate::stage::{reaches, rounds, soon, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

/// Suspends first, then returns the first message.
async fn serves(ctx: Context) -> Result<serde_json::Value, Failure> {
    if ctx.resumed().is_none() {
        return Err(ctx.suspend("ready"));
    }
    Ok(ctx.recv().await.map_or(json!(null), |message| message.body))
}

async fn served(manager: &Manager) -> TaskHandle<serde_json::Value> {
    let task = manager.scope("mine").task("t").resumable().spawn(serves);
    let task = task.await.unwrap();
    reaches(manager, task.id(), State::Suspended).await;
    task
}

fn is_denied(refused: &Result<understory::CancelReport, CancelError>) -> bool {
    matches!(refused, Err(CancelError::Denied(Some(_))))
}

/// A task of this scope that runs until it is cancelled.
async fn running_in(manager: &Manager, scope: &str) -> TaskHandle<()> {
    let task = manager.scope(scope).task("t").spawn(until_cancelled);
    task.await.unwrap()
}

#[tokio::test]
async fn each_grant_allows_what_it_says_and_what_those_before_it_do() {
    let manager = Manager::in_memory();
    let yours = manager.scope("yours");
    let task = served(&manager).await;
    let id = task.id();
    assert_eq!(yours.may(id), None);

    task.grant("yours", Grant::See).await.unwrap();
    assert_eq!(yours.get(id).unwrap().id, id);
    assert!(matches!(yours.resume(id, 1).await, Err(ResumeError::Denied(it)) if it == id));
    let sent = yours.send(id, "hello").await;
    assert!(matches!(sent, Err(SendError::Denied { message, .. }) if message == "hello"));
    assert!(is_denied(&yours.cancel(id, enough()).await));
    assert!(yours.owned(id).is_err(), "a grant is no ownership");

    task.grant("yours", Grant::Talk).await.unwrap();
    yours.resume(id, 1).await.unwrap();
    assert!(is_denied(&yours.cancel_tree(id, enough()).await));

    task.grant("yours", Grant::Cancel).await.unwrap();
    assert_eq!(
        task.grants().into_values().collect::<Vec<_>>(),
        [Grant::Cancel]
    );
    let report = yours.cancel_tree(id, enough()).await.unwrap();
    assert_eq!(report.len(), 1);
    assert_eq!(soon(yours.wait(id)).await.unwrap().state, State::Cancelled);
}

#[tokio::test]
async fn body_of_the_other_scope_may_talk_to_what_was_granted_to_it() {
    let manager = Manager::in_memory();
    let task = served(&manager).await;
    let id = task.id();
    task.grant("yours", Grant::Talk).await.unwrap();
    manager.scope("yours").resume(id, 1).await.unwrap();
    let sender = manager
        .scope("yours")
        .task("sender")
        .spawn(move |ctx| async move {
            ctx.send(Address::Id(id), "from another scope").await?;
            Ok(())
        });
    soon(sender.await.unwrap()).await.unwrap();
    assert_eq!(soon(task).await.unwrap(), "from another scope");
}

#[tokio::test]
async fn grant_reaches_everything_below_and_is_listed_as_itself() {
    let manager = Manager::in_memory();
    let (mine, yours) = (manager.scope("mine"), manager.scope("yours"));
    let root = mine.task("root-task").spawn(until_cancelled).await.unwrap();
    let child = mine.task("child").parent(root.id());
    let child = child.spawn(until_cancelled).await.unwrap();
    root.grant("yours", Grant::Cancel).await.unwrap();

    assert_eq!(yours.may(child.id()), Some(Grant::Cancel));
    assert_eq!(yours.children(root.id())[0].id, child.id());
    let listed: Vec<_> = yours.granted().iter().map(|record| record.id).collect();
    assert_eq!(listed, [root.id()]);
    let own = yours.list(Filter::all(), &Page::default()).unwrap();
    assert_eq!(own.total, 0, "lists are of what a scope owns");

    let ours = yours.task("own").spawn(until_cancelled).await.unwrap();
    let report = yours.cancel_visible(enough()).await.unwrap();
    let mut ended = report.cancelled;
    ended.sort_unstable();
    assert_eq!(ended, [root.id(), child.id(), ours.id()]);
}

#[tokio::test]
async fn end_of_a_granted_task_can_be_read_and_its_record_is_not_pruned_until_it_is_revoked() {
    let manager = Manager::in_memory();
    let yours = manager.scope("yours");
    let task = manager
        .scope("mine")
        .task("t")
        .spawn(|ctx| async move { Ok(ctx.recv().await.map(|message| message.body)) });
    let task = task.await.unwrap();
    task.grant("yours", Grant::Talk).await.unwrap();
    yours.send(task.id(), "end").await.unwrap();
    let record = soon(yours.wait(task.id())).await.unwrap();

    let late = task.grant("others", Grant::See).await;
    assert!(matches!(
        late,
        Err(GrantError::Ended {
            state: State::Completed
        })
    ));
    let all = Filter::all();
    let prune = || manager.prune(manager.now(), &all, Seq(u64::MAX));
    assert!(prune().await.unwrap().is_empty());
    assert_eq!(yours.granted()[0].id, record.id);

    assert!(task.revoke("yours").await.unwrap());
    assert!(!task.revoke("yours").await.unwrap());
    assert!(yours.granted().is_empty() && yours.get(record.id).is_none());
    assert_eq!(prune().await.unwrap()[&State::Completed], 1);
    assert!(matches!(
        task.revoke("yours").await,
        Err(GrantError::Unknown(_))
    ));
}

#[tokio::test]
async fn revoked_grant_allows_nothing_any_more() {
    let manager = Manager::in_memory();
    let yours = manager.scope("yours");
    let task = running_in(&manager, "mine").await;
    task.grant("theirs", Grant::Cancel).await.unwrap();
    task.pass_grant("theirs", "yours").await.unwrap();
    assert_eq!(manager.scope("theirs").may(task.id()), None);
    assert_eq!(yours.may(task.id()), Some(Grant::Cancel));
    task.revoke("yours").await.unwrap();
    let refused = yours.cancel(task.id(), enough()).await;
    assert!(matches!(refused, Err(CancelError::Unknown(_))));
    assert!(matches!(
        yours.wait(task.id()).await,
        Err(WaitError::Gone(_))
    ));
    let none = task.pass_grant("yours", "theirs").await;
    assert!(matches!(none, Err(GrantError::NotHeld(_))));
    assert_eq!(task.state(), Some(State::Running));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_beside_a_revoke_is_whole_or_refused() {
    for _ in 0..rounds(50) {
        let manager = Manager::in_memory();
        let yours = manager.scope("yours");
        let task = running_in(&manager, "mine").await;
        task.grant("yours", Grant::Cancel).await.unwrap();
        let id = task.id();
        let cancel = tokio::spawn(async move { yours.cancel(id, enough()).await });
        task.revoke("yours").await.unwrap();
        match soon(cancel).await.unwrap() {
            Ok(report) => assert_eq!(report.cancelled, [id]),
            Err(CancelError::Unknown(_)) => assert_eq!(task.state(), Some(State::Running)),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn closed_scope_loses_its_grants_and_what_nobody_refers_to_is_cancelled_by_request_only() {
    let manager = Manager::in_memory();
    let session = manager.scope("session");
    let kept = session.task("kept").spawn(until_cancelled).await.unwrap();
    let shared = session.task("shared").spawn(until_cancelled).await.unwrap();
    let left = session.task("left").spawn(until_cancelled).await.unwrap();
    let open = running_in(&manager, "open").await;
    shared.grant("other", Grant::See).await.unwrap();
    open.grant("session", Grant::See).await.unwrap();

    let closed = session.close(enough()).await.unwrap();
    assert_eq!(closed.orphaned, [left.id(), kept.id()]);
    assert_eq!(closed.revoked, [open.id()]);
    assert!(session.granted().is_empty());
    let live = |id: TaskId| manager.task(id).state() == Some(State::Running);
    assert!(
        [kept.id(), shared.id(), left.id(), open.id()]
            .into_iter()
            .all(live)
    );

    let report = manager
        .cancel_unreferenced([kept.id()], enough())
        .await
        .unwrap();
    assert_eq!(report.cancelled, [left.id()]);
    let closed = manager.scope("other").close(enough()).await.unwrap();
    assert_eq!(closed.orphaned, [shared.id()]);
    let report = manager.cancel_unreferenced([], enough()).await.unwrap();
    assert_eq!(report.cancelled, [shared.id(), kept.id()]);
    assert!(live(open.id()), "its scope is open");
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn grants_are_as_before_after_the_manager_was_started_anew() {
    use crate::stage::until;
    let manager = Manager::in_memory();
    let yours = manager.scope("yours");
    let ended = running_in(&manager, "mine").await;
    ended.grant("yours", Grant::See).await.unwrap();
    ended.cancel(enough()).await.unwrap();

    manager.break_part(understory::Part::Manager);
    let _asked = manager.scope("s").unnamed().spawn(until_cancelled).await;
    until(|| manager.incarnation() == 2).await;

    assert_eq!(yours.granted()[0].id, ended.id());
    assert!(ended.revoke("yours").await.unwrap());
    assert!(yours.granted().is_empty());
}
