//! Cancelling: one, a tree, a scope, all; races with everything else.

mod force;
mod now;
mod races;

use std::time::Duration;

use understory::{
    Cancel, CancelError, Cause, Class, Context, Failure, LateSuccess, Manager, OnParentEnd,
    Outcome, Requester, Retry, Seq, Since, State, TaskId, TaskRef, Wait, What,
};

use crate::stage::{feed_of, for_ever, reaches, sees, settle_down, soon, story, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A body that says why it was stopped.
async fn says_why(ctx: Context) -> Result<String, Failure> {
    let stop = ctx.cancelled().await;
    assert_eq!(ctx.stop().as_ref(), Some(&stop));
    Ok(format!("{} {:?}", stop.reason, stop.by))
}

/// What a body that was cancelled still returned.
fn late(task: &TaskRef) -> Option<String> {
    let record = task.record().unwrap();
    match record.outcome.as_deref() {
        Some(Outcome::Cancelled { late_result }) => {
            late_result.as_ref().map(|late| late.as_json().to_owned())
        }
        other => panic!("it was cancelled, not {other:?}"),
    }
}

#[tokio::test]
async fn body_and_record_are_told_why_and_by_whom() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(says_why).await.unwrap();

    let report = soon(task.cancel(enough())).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(report.len(), 1);
    assert_eq!(late(&task).as_deref(), Some(r#""enough Host""#));
    let stop = task.record().unwrap().stop.clone().unwrap();
    assert_eq!(stop.reason.as_ref(), "enough");
    assert_eq!((&stop.by, stop.cause), (&Requester::Host, Cause::Asked));
}

#[tokio::test]
async fn body_that_cancels_another_is_named_as_requester() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(says_why).await.unwrap();
    let target = task.task();
    let other = scope.task("other").spawn(|_| async move {
        target.cancel(Cancel::because("rival")).await?;
        Ok(())
    });

    let other = other.await.unwrap();
    let by = other.id();
    soon(other).await.unwrap();

    let stop = task.record().unwrap().stop.clone().unwrap();
    assert_eq!(stop.by, Requester::Task(by));
    assert!(late(&task).unwrap().contains("rival Task"));
}

#[tokio::test]
async fn task_that_nobody_knows_cannot_be_cancelled() {
    let manager = Manager::in_memory();
    let nobody = TaskId::from_u128(5);

    let one = soon(manager.task(nobody).cancel(enough())).await;
    let tree = soon(manager.task(nobody).cancel_tree(enough())).await;
    let scope = soon(manager.scope("a b").cancel_scope(enough())).await;

    assert!(matches!(one, Err(CancelError::Unknown(id)) if id == nobody));
    assert!(matches!(tree, Err(CancelError::Unknown(id)) if id == nobody));
    assert!(matches!(scope, Err(CancelError::Invalid(_))));
}

#[tokio::test]
async fn task_that_has_ended_is_listed_as_such_and_keeps_its_end() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t");
    let task = task.spawn(|_| async { Ok(1) }).await.unwrap();
    soon(task.settled()).await.unwrap();

    let one = soon(task.cancel(enough())).await.unwrap();
    let tree = soon(task.cancel_tree(enough())).await.unwrap();

    for report in [one, tree] {
        assert_eq!(
            (report.already_ended, report.cancelled),
            (vec![task.id()], vec![])
        );
    }
    assert_eq!(task.state(), Some(State::Completed));
    assert_eq!(task.record().unwrap().stop, None);
}

#[tokio::test]
async fn each_cancel_reaches_what_it_names_and_nothing_else() {
    let manager = Manager::in_memory();
    let (here, there) = (manager.scope("here"), manager.scope("there"));
    let mut tasks = Vec::new();
    for scope in [&here, &there] {
        let root = scope.task("lead").spawn(until_cancelled).await.unwrap();
        let child = scope.task("child").parent(root.id());
        let child = child.spawn(until_cancelled).await.unwrap();
        let other = scope.task("other").spawn(until_cancelled).await.unwrap();
        tasks.extend([root.task(), child.task(), other.task()]);
    }
    let ids = |places: &[usize]| places.iter().map(|at| tasks[*at].id()).collect::<Vec<_>>();

    let tree = soon(tasks[0].cancel_tree(enough())).await.unwrap();
    assert_eq!(tree.cancelled, ids(&[1, 0]));
    assert_eq!(manager.live(), 4);

    let scope = soon(here.cancel_scope(enough())).await.unwrap();
    assert_eq!(scope.cancelled, ids(&[2]));
    assert_eq!(manager.live(), 3);

    let all = soon(manager.cancel_all(enough())).await.unwrap();
    assert_eq!((all.cancelled.len(), manager.live()), (3, 0));
    let stop = tasks[4].record().unwrap().stop.clone().unwrap();
    assert_eq!(stop.cause, Cause::Ancestor(tasks[3].id()));
    assert_eq!(stop.reason.as_ref(), "enough");

    let again = soon(manager.cancel_all(enough())).await.unwrap();
    assert!(again.is_empty());
    assert!(here.task("lead").spawn(until_cancelled).await.is_ok());
}

#[tokio::test]
async fn pending_task_is_cancelled_without_ever_running() {
    let manager = Manager::builder()
        .limit("l", Class::queue(1))
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let holder = scope
        .task("holder")
        .limit("l")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let after = scope.task("after").after([holder.id()]);
    let queued = scope.task("queued").limit("l");
    let below = scope
        .task("below")
        .parent(queued_parent(&scope, &holder).await);

    for pending in [after, queued, below] {
        let task = pending.spawn(|_| async { Ok("it ran") }).await.unwrap();
        assert_eq!(task.state(), Some(State::Pending));
        let report = soon(task.cancel(enough())).await.unwrap();

        assert_eq!(report.cancelled, [task.id()]);
        assert_eq!(late(&task), None);
        let names = story(&manager, task.id()).await;
        assert!(!names.contains(&"started"), "{names:?}");
    }
    assert_eq!(holder.state(), Some(State::Running));
}

/// A task that has not started, as it comes after one that does not end.
async fn queued_parent(scope: &understory::ScopeRef, on: &TaskRef) -> TaskId {
    let parent = scope.unnamed().after([on.id()]).spawn(for_ever).await;
    parent.unwrap().id()
}

#[tokio::test(start_paused = true)]
async fn task_is_cancelled_in_its_backoff() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .retry(Retry::fixed(3, seconds(1_000)));
    let task = task
        .spawn(|_| async { Err::<(), _>(Failure::new("no")) })
        .await
        .unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| event.what.name() == "attempt_failed").await;
    let begin = tokio::time::Instant::now();

    let report = soon(task.cancel(enough())).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(task.record().unwrap().attempt, 1);
    assert!(begin.elapsed() < seconds(1));
}

#[tokio::test]
async fn task_that_only_waits_for_its_children_is_cancelled_with_them() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(until_cancelled).await?;
        Ok(child.id().to_string())
    });
    let lead = lead.await.unwrap();
    let mut feed = feed_of(&manager, lead.id()).await;
    let over = What::Waiting(Wait::Children);
    sees(&mut feed, |event| event.what == over).await;
    let child = manager.children(lead.id())[0].id;

    let report = soon(lead.cancel(enough())).await.unwrap();

    assert_eq!(report.cancelled, [lead.id()]);
    assert_eq!(late(&lead), Some(format!("\"{child}\"")));
    let stop = manager.get(child).unwrap().stop.clone().unwrap();
    assert_eq!(stop.cause, Cause::ParentEnded(lead.id()));
    assert_eq!(manager.live(), 0);
}

#[tokio::test]
async fn late_value_completes_a_task_that_says_so() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .late_success(LateSuccess::Completed);
    let task = task.spawn(says_why).await.unwrap();

    let report = soon(task.cancel(enough())).await.unwrap();

    assert_eq!(report.already_ended, [task.id()]);
    assert_eq!(task.state(), Some(State::Completed));
    assert_eq!(soon(task).await.unwrap(), "enough Host");
}

#[tokio::test]
async fn cancel_of_one_leaves_children_alone_that_outlive_their_parent() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(until_cancelled).await.unwrap();
    let mut children = Vec::new();
    for policy in [OnParentEnd::Wait, OnParentEnd::Detach, OnParentEnd::Cancel] {
        let child = scope.unnamed().parent(lead.id()).on_parent_end(policy);
        let child = child.spawn(|ctx| async move {
            let asked = async { ctx.cancelled().await.reason.to_string() };
            tokio::select! { word = ctx.recv() => Ok(word.is_some()), _ = asked => Ok(false) }
        });
        children.push(child.await.unwrap());
    }
    let waits = tokio::spawn({
        let lead = lead.task();
        async move { lead.cancel(enough()).await.unwrap() }
    });
    reaches(&manager, children[2].id(), State::Cancelled).await;
    settle_down().await;

    assert_eq!(lead.state(), Some(State::CancelRequested));
    for (child, parent) in children.iter().zip([Some(lead.id()), None]) {
        let record = child.record().unwrap();
        assert_eq!((record.state, record.parent), (State::Running, parent));
        child.send("go on").await.unwrap();
    }

    let report = soon(waits).await.unwrap();
    assert_eq!(
        (report.cancelled, report.already_ended),
        (vec![lead.id()], vec![])
    );
    children.truncate(2);
    for child in children {
        assert!(soon(child).await.unwrap());
    }
}

#[tokio::test]
async fn root_is_asked_first_and_settles_last_and_the_youngest_sibling_goes_first() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(until_cancelled).await.unwrap();
    for (name, parent) in [
        ("a", "lead"),
        ("b", "lead"),
        ("a1", "lead/a"),
        ("a2", "lead/a"),
    ] {
        let parent = scope.find(parent).unwrap();
        let child = scope
            .task(name)
            .parent(parent)
            .spawn(until_cancelled)
            .await
            .unwrap();
        reaches(&manager, child.id(), State::Running).await;
    }
    let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();

    soon(lead.cancel_tree(enough())).await.unwrap();

    let (mut asked, mut settled) = (Vec::new(), Vec::new());
    while settled.len() < 5 {
        let event = sees(&mut feed, |_| true).await;
        let name = event.spec.name.as_ref().unwrap().to_string();
        match event.what.name() {
            "stop_asked" => asked.push(name),
            "settled" => settled.push(name),
            _ => {}
        }
    }
    assert_eq!(asked, ["lead", "b", "a", "a2", "a1"]);
    let place = |name: &str| settled.iter().position(|settled| settled == name).unwrap();
    assert_eq!(place("lead"), 4);
    assert!(place("a") > place("a1") && place("a") > place("a2"));
}
