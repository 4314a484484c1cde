//! Defects of awaken's task manager that ours must not have.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use understory::store::MemoryStore;
use understory::{
    Cancel, Context, Failure, Filter, Manager, Page, Refusal, Seq, Since, SpawnError, State,
    TaskHandle,
};

use crate::stage::{reaches, rounds, sees, soon, until, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

#[tokio::test]
async fn ids_are_not_counted_anew_by_another_manager_and_are_in_order() {
    let mut ids = Vec::new();
    for _ in 0..3 {
        let manager = Manager::in_memory();
        for _ in 0..50 {
            let task = manager.scope("s").unnamed().spawn(|_| async { Ok(()) });
            ids.push(task.await.unwrap().id());
        }
    }
    let unique: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len());
    for of_one in ids.chunks(50) {
        assert!(of_one.is_sorted(), "later tasks have greater ids");
    }
}

#[tokio::test]
async fn tasks_that_ended_leave_only_the_records_that_are_kept() {
    let manager = Manager::builder().settled_max(16).build().unwrap();
    let scope = manager.scope("s");
    for number in 0..300 {
        let task = scope.task(&format!("t{number}")).run("r");
        let task = task.spawn(|_| async { Ok(()) }).await.unwrap();
        soon(task).await.unwrap();
    }
    let kept = manager.list(&Filter::all(), &Page::default());
    assert!(kept.total <= 17, "{} records", kept.total);
    assert_eq!((manager.live(), scope.find("t0")), (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_tasks_that_want_a_name_at_once_one_gets_it() {
    let manager = Manager::in_memory();
    for round in 0..rounds(20) {
        let asks: Vec<_> = (0..64)
            .map(|_| {
                let task = manager.scope("s").task("name");
                tokio::spawn(async move { task.spawn(until_cancelled).await })
            })
            .collect();
        let mut holders: Vec<TaskHandle<()>> = Vec::new();
        for ask in asks {
            match soon(ask).await.unwrap() {
                Ok(task) => holders.push(task),
                Err(SpawnError::Refused(Refusal::NameTaken(..))) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(holders.len(), 1, "round {round}");
        let found = manager.scope("s").find("name");
        assert_eq!(found, Some(holders[0].id()));
        soon(manager.cancel_all(enough())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_can_be_cancelled_as_soon_as_it_is_accepted() {
    let manager = Manager::in_memory();
    for _ in 0..rounds(200) {
        let task = manager.scope("s").task("t").spawn(until_cancelled);
        let task = task.await.unwrap();
        let report = soon(task.cancel(enough())).await.unwrap();
        assert_eq!(report.cancelled, [task.id()]);
    }
}

#[tokio::test]
async fn owner_that_comes_back_hears_what_happened_meanwhile() {
    let manager = Manager::in_memory();
    let scope = manager.scope("owner");
    let mut feed = scope.subscribe(Since::Seq(Seq(0))).await.unwrap();
    let task = scope
        .task("t")
        .spawn(|ctx| async move { Ok(ctx.recv().await.map(|message| message.body)) });
    let task = task.await.unwrap();
    sees(&mut feed, |event| event.what.name() == "started").await;
    let seen = feed.seq();
    drop(feed);
    task.send("go").await.unwrap();
    soon(task.settled()).await.unwrap();

    let mut feed = scope.subscribe(Since::Seq(seen)).await.unwrap();
    let end = sees(&mut feed, |event| event.what.name() == "settled").await;
    assert_eq!((end.task, end.state), (task.id(), State::Completed));
}

/// An executor that starts another task, if it is told its name, and is suspended.
async fn sleeps(ctx: Context, child: Value) -> Result<Value, Failure> {
    if let Some(child) = child.as_str() {
        ctx.task(child).spawn_kind("sleeper", Value::Null).await?;
    }
    Err(ctx.suspend("asleep"))
}

#[tokio::test]
async fn next_process_finds_each_task_where_and_whose_it_was() {
    let place = Arc::new(MemoryStore::new());
    let over = || {
        let builder = Manager::builder().executor("sleeper", sleeps);
        builder.store(Arc::clone(&place)).build().unwrap()
    };
    let first = over();
    let lead = first.scope("owner").task("lead").agent("agent-7");
    let lead = lead.spawn_kind("sleeper", "child").await.unwrap();
    reaches(&first, lead.id(), State::Suspended).await;
    let child = first.scope("owner").find("child").unwrap();
    reaches(&first, child, State::Suspended).await;

    let next = over();
    until(|| next.get(child).is_some()).await;
    for id in [lead.id(), child] {
        let (before, after) = (first.get(id).unwrap(), next.get(id).unwrap());
        assert_eq!(after.spec, before.spec);
        assert_eq!(
            (after.parent, after.root, after.spawned_by, after.depth),
            (before.parent, before.root, before.spawned_by, before.depth)
        );
    }
    assert_eq!(next.get(child).unwrap().spawned_by, Some(lead.id()));
    assert_eq!(next.scope("owner").find("child"), Some(child));
}

#[tokio::test]
async fn body_that_answers_a_cancel_by_spawning_leaves_nothing_behind() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        ctx.cancelled().await;
        let below = ctx.task("late").spawn(until_cancelled).await;
        Ok(below.is_err())
    });
    let lead = lead.await.unwrap();
    soon(lead.cancel_tree(enough())).await.unwrap();

    let below = manager.list(&Filter::all().parent(lead.id()), &Page::default());
    assert_eq!(below.total, 0);
    let late = lead.record().unwrap().to_json();
    assert_eq!(late["outcome"]["late_result"], true, "it was refused");
}

#[tokio::test]
async fn trace_of_a_cancel_stays_whatever_the_body_returns() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.cancelled().await;
        Ok("finished all the same")
    });
    let task = task.await.unwrap();
    soon(task.cancel(enough())).await.unwrap();
    let shown = task.record().unwrap().to_json();
    assert_eq!(shown["state"], "cancelled");
    assert_eq!(shown["stop"]["reason"], "enough");
    assert_eq!(shown["outcome"]["late_result"], "finished all the same");
    let again = soon(task.cancel(enough())).await.unwrap();
    assert_eq!(again.already_ended, [task.id()]);
}
