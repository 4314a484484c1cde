//! Parents and children: who waits for whom, who ends with whom.

use std::sync::Arc;

use std::time::Duration;

use understory::kernel::Refusal;
use understory::{
    Cancel, Cause, Context, Failure, Manager, OnParentEnd, Record, SpawnError, State, TaskId, Wait,
    What,
};

use crate::stage::{
    feed_of, for_ever, reaches, sees, settle_down, soon, story, until, until_cancelled,
};

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

/// A body that ends when it gets a message.
async fn until_told(ctx: Context) -> Result<(), Failure> {
    // `recv` would hear a request to stop, too.
    until(|| ctx.try_recv().is_some()).await;
    Ok(())
}

async fn end_of(manager: &Manager, task: TaskId) -> Arc<Record> {
    soon(manager.task(task).settled()).await.unwrap()
}

fn cause(record: &Record) -> Cause {
    record.stop.as_ref().expect("it was asked to stop").cause
}

/// A parent whose body ends as `end` says once it has a child of each policy, in this order:
/// none of its own, wait, cancel, detach.
async fn family<F>(manager: &Manager, end: impl FnOnce(Context) -> F + Send + 'static) -> Family
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (tell, told) = tokio::sync::oneshot::channel();
    let task = manager.scope("s").task("lead").spawn(|ctx| async move {
        let mut children = Vec::new();
        for policy in [None, Some(OnParentEnd::Wait), Some(OnParentEnd::Cancel)] {
            let child = ctx.unnamed();
            let child = match policy {
                Some(policy) => child.on_parent_end(policy),
                None => child,
            };
            children.push(child.spawn(until_told).await?.id());
        }
        let detached = ctx.task("detached").on_parent_end(OnParentEnd::Detach);
        children.push(detached.spawn(until_told).await?.id());
        drop(tell.send(children));
        end(ctx).await
    });
    let parent = task.await.unwrap().id();
    let children = soon(told).await.unwrap();
    let [usual, waited, cancelled, detached] = children.try_into().unwrap();
    Family {
        parent,
        usual,
        waited,
        cancelled,
        detached,
    }
}

struct Family {
    parent: TaskId,
    usual: TaskId,
    waited: TaskId,
    cancelled: TaskId,
    detached: TaskId,
}

impl Family {
    /// The child to be cancelled is, the one to be detached is a root that goes on.
    async fn policies_hold(&self, manager: &Manager) {
        let cancelled = end_of(manager, self.cancelled).await;
        assert_eq!(cancelled.state, State::Cancelled);
        assert_eq!(cause(&cancelled), Cause::ParentEnded(self.parent));

        let detached = manager.get(self.detached).unwrap();
        assert_eq!(detached.state, State::Running);
        assert_eq!((detached.parent, detached.depth), (None, 0));
        assert_eq!(
            (detached.root, detached.spawned_by),
            (self.detached, Some(self.parent))
        );
        assert_eq!(manager.task(self.detached).path(), "detached");
        let mut feed = feed_of(manager, self.detached).await;
        sees(&mut feed, |event| event.what == What::Detached).await;
        manager.send(self.detached, "end").await.unwrap();
        assert_eq!(end_of(manager, self.detached).await.state, State::Completed);
    }
}

#[tokio::test]
async fn parent_waits_for_its_children_after_it_returned() {
    let manager = Manager::in_memory();
    let family = family(&manager, nothing).await;
    reaches(&manager, family.parent, State::Waiting).await;
    end_of(&manager, family.cancelled).await;
    settle_down().await;

    let parent = manager.get(family.parent).unwrap();
    assert_eq!(
        (parent.state, &parent.wait),
        (State::Waiting, &Some(Wait::Children))
    );
    for child in [family.usual, family.waited] {
        assert_eq!(manager.get(child).unwrap().state, State::Running);
        manager.send(child, "end").await.unwrap();
    }

    assert_eq!(
        end_of(&manager, family.parent).await.state,
        State::Completed
    );
    for child in [family.usual, family.waited] {
        let (child, parent) = (
            end_of(&manager, child).await,
            end_of(&manager, family.parent).await,
        );
        assert_eq!(child.state, State::Completed);
        assert!(
            child.seq < parent.seq,
            "the parent settled before its child"
        );
    }
    family.policies_hold(&manager).await;
}

async fn ends_badly(manager: &Manager, family: &Family, state: State) {
    let usual = end_of(manager, family.usual).await;
    assert_eq!(
        (usual.state, cause(&usual)),
        (State::Cancelled, Cause::ParentEnded(family.parent))
    );
    settle_down().await;
    assert_eq!(manager.get(family.waited).unwrap().state, State::Running);
    assert!(
        !manager.get(family.parent).unwrap().state.is_terminal(),
        "a child lives"
    );

    manager.send(family.waited, "end").await.unwrap();

    assert_eq!(end_of(manager, family.parent).await.state, state);
    family.policies_hold(manager).await;
}

#[tokio::test]
async fn parent_that_fails_cancels_its_children() {
    let manager = Manager::in_memory();
    let family = family(&manager, |_| async { Err(Failure::new("no")) }).await;
    ends_badly(&manager, &family, State::Failed).await;
}

#[tokio::test]
async fn parent_that_panics_cancels_its_children() {
    let manager = Manager::in_memory();
    let family = family(&manager, |_| async { panic!("no") }).await;
    ends_badly(&manager, &family, State::Failed).await;
}

#[tokio::test(start_paused = true)]
async fn parent_that_times_out_cancels_its_children() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("lead")
        .timeout(Duration::from_millis(20));
    let task = task.grace(Duration::ZERO).spawn(|ctx| async move {
        ctx.task("child").spawn(until_cancelled).await?;
        for_ever(ctx).await
    });
    let parent = task.await.unwrap().id();

    let parent = end_of(&manager, parent).await;

    assert_eq!(parent.state, State::TimedOut);
    let names = manager.scope("s");
    assert_eq!(names.find("child"), None);
    let listing = manager.list(&understory::Filter::all(), &understory::Page::first(9));
    let child = listing
        .records
        .iter()
        .find(|record| record.parent == Some(parent.id));
    assert_eq!(child.map(|child| child.state), Some(State::Cancelled));
}

#[tokio::test]
async fn closing_parent_takes_no_more_children() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (tell, told) = tokio::sync::oneshot::channel();
    let parent = scope.task("lead").spawn(|ctx| async move {
        ctx.task("child").cooperative().spawn(until_told).await?;
        ctx.cancelled().await;
        let late = ctx.unnamed().spawn(nothing).await.err();
        drop(tell.send((ctx.clone(), late)));
        Ok(())
    });
    let parent = parent.await.unwrap();
    let below = || {
        manager
            .scope("s")
            .unnamed()
            .parent(parent.id())
            .spawn(nothing)
    };
    reaches(&manager, parent.id(), State::Running).await;
    soon(async {
        while scope.find("child").is_none() {
            settle_down().await;
        }
    })
    .await;

    let cancel = tokio::spawn({
        let parent = parent.task();
        async move { parent.cancel_tree(Cancel::because("enough")).await }
    });
    let (old, by_its_body) = soon(told).await.unwrap();
    settle_down().await;
    let while_a_child_lives = below().await.err();
    let by_an_old_body = old.unnamed().spawn(nothing).await.err();
    scope.send("child", "end").await.unwrap();
    soon(cancel).await.unwrap().unwrap();
    let after_its_end = below().await.err();

    let id = parent.id();
    for refused in [by_its_body, while_a_child_lives, after_its_end] {
        assert!(
            matches!(refused, Some(SpawnError::Refused(Refusal::ParentClosing(p))) if p == id),
            "{refused:?}"
        );
    }
    assert!(matches!(
        by_an_old_body,
        Some(SpawnError::Refused(Refusal::Stale))
    ));
    assert_eq!(manager.counts().total(), 2);
}

#[tokio::test]
async fn child_starts_after_its_parent() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let gate = scope.task("gate").spawn(until_told).await.unwrap();
    let parent = scope
        .task("lead")
        .after([gate.id()])
        .spawn(until_told)
        .await
        .unwrap();
    let child = scope
        .task("child")
        .parent(parent.id())
        .spawn(nothing)
        .await
        .unwrap();
    settle_down().await;
    let waiting = child.record().unwrap();
    assert_eq!(
        (waiting.state, &waiting.wait),
        (State::Pending, &Some(Wait::ParentStart))
    );

    gate.send("open").await.unwrap();

    let ended = end_of(&manager, child.id()).await;
    let mut feed = feed_of(&manager, parent.id()).await;
    let started = sees(&mut feed, |event| event.what == What::Started).await;
    assert!(started.seq < ended.seq);
    assert_eq!(
        story(&manager, child.id()).await,
        ["accepted", "started", "settled"]
    );
}
