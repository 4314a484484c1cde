//! A scope gives its own tasks only.

use understory::{Address, Cancel, CancelError, Manager, OwnerError, ResumeError, SendError};
use understory::{Page, State, TaskHandle, WaitError};

use crate::stage::{soon, until_cancelled};

async fn foreign() -> (Manager, TaskHandle<()>) {
    let manager = Manager::in_memory();
    let task = manager
        .scope("yours")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();
    (manager, task)
}

#[tokio::test]
async fn every_verb_of_a_scope_answers_for_a_foreign_task_as_for_an_unknown_one() {
    let (manager, task) = foreign().await;
    let (mine, id, why) = (manager.scope("mine"), task.id(), Cancel::because("mine"));

    assert!(mine.get(id).is_none() && mine.children(id).is_empty());
    assert_eq!(mine.owned(id).err(), Some(OwnerError::NotFound(id)));
    let cancelled = [
        mine.cancel(id, why.clone()).await,
        mine.cancel_tree(id, why).await,
    ];
    for refused in cancelled {
        assert!(matches!(refused, Err(CancelError::Unknown(it)) if it == id));
    }
    assert!(matches!(soon(mine.wait(id)).await, Err(WaitError::Gone(it)) if it == id));
    assert!(matches!(mine.resume(id, 1).await, Err(ResumeError::Unknown(it)) if it == id));
    let sent = mine.send(Address::Id(id), 1).await;
    assert!(matches!(sent, Err(SendError::NoSuchTask { .. })));
    assert_eq!(
        mine.list(understory::Filter::all(), &Page::default())
            .unwrap()
            .total,
        0
    );
    assert_eq!(mine.find("t"), None);
    assert_eq!(task.state(), Some(State::Running));
}

#[tokio::test]
async fn trusted_scope_tells_whose_a_foreign_task_is() {
    let (manager, task) = foreign().await;
    let mine = manager.scope("mine").trusted();
    let unknown = understory::TaskId::from_u128(1);

    let owner = understory::Scope::new("yours").unwrap();
    let not_mine = OwnerError::NotOwner {
        task: task.id(),
        owner,
    };
    assert_eq!(mine.owned(task.id()).err(), Some(not_mine));
    assert_eq!(
        mine.owned(unknown).err(),
        Some(OwnerError::NotFound(unknown))
    );
    assert_eq!(
        manager
            .scope("yours")
            .trusted()
            .owned(task.id())
            .unwrap()
            .id(),
        task.id()
    );
}

#[tokio::test]
async fn verbs_of_a_scope_work_on_its_own_tasks() {
    let (manager, task) = foreign().await;
    let (yours, id) = (manager.scope("yours"), task.id());
    let child = yours
        .task("child")
        .parent(id)
        .spawn(until_cancelled)
        .await
        .unwrap();

    assert_eq!(yours.get(id).unwrap().id, id);
    assert_eq!(yours.children(id)[0].id, child.id());
    let resumed = yours.resume(id, 1).await;
    assert!(
        matches!(resumed, Err(ResumeError::NotSuspended { .. })),
        "{resumed:?}"
    );
    let report = yours
        .cancel(child.id(), Cancel::because("enough"))
        .await
        .unwrap();
    assert_eq!(report.cancelled, [child.id()]);
    let report = yours
        .cancel_tree(id, Cancel::because("enough"))
        .await
        .unwrap();
    assert_eq!(report.cancelled, [id]);
    assert_eq!(soon(yours.wait(id)).await.unwrap().state, State::Cancelled);
}
