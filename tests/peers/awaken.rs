//! What awaken's suites test of background tasks and sub-agents, on our face.
//!
//! *Not here*: what `tests/api` shows already; `coverage.tsv` names it.

use serde_json::{Value, json};
use understory::{Address, Cancel, Context, Event, Failure, Filter, Manager, Page, State, What};

use crate::stage::{feed_of, reaches, sees, soon, until_cancelled};

/// Labels and payloads of everything that a task emitted up to its end.
async fn emitted(manager: &Manager, task: &understory::TaskRef) -> Vec<(String, String)> {
    let mut feed = feed_of(manager, task.id()).await;
    let mut all = Vec::new();
    loop {
        let event = sees(&mut feed, |_| true).await;
        assert_eq!(event.task, task.id());
        if let What::Emitted { label, payload } = &event.what {
            all.push((label.to_string(), payload.as_json().to_owned()));
        } else if event.what.name() == "settled" {
            return all;
        }
    }
}

#[tokio::test]
async fn rapid_emits_all_arrive_in_order_and_change_no_result() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        for number in 0..300 {
            ctx.emit("step", number).await?;
        }
        Ok("done".to_owned())
    });
    let task = task.await.unwrap();
    let told = emitted(&manager, &task).await;

    let expected = (0..300).map(|number| ("step".to_owned(), number.to_string()));
    assert_eq!(told, expected.collect::<Vec<_>>());
    assert_eq!(soon(task).await.unwrap(), "done");
}

#[tokio::test]
async fn body_that_was_asked_to_stop_still_emits_and_its_end_comes_last() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.emit("before", 1).await?;
        ctx.cancelled().await;
        ctx.emit("after", 2).await?;
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event: &Event| event.what.name() == "emitted").await;
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    let told = emitted(&manager, &task).await;
    let labels: Vec<_> = told.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["before", "after"]);
    assert_eq!(task.state(), Some(State::Cancelled));
}

#[tokio::test]
async fn long_task_tells_its_progress_until_it_is_stopped() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("watch").spawn(|ctx| async move {
        for tick in 1.. {
            ctx.progress(tick).await?;
            if tick == 5 {
                break;
            }
        }
        until_cancelled(ctx).await
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    for tick in 1..=5 {
        let event = sees(&mut feed, |event| event.what.name() == "progress").await;
        let What::Progress(note) = &event.what else {
            panic!("it is progress")
        };
        assert_eq!(note.as_json(), tick.to_string());
    }
    let report = soon(task.cancel(Cancel::because("seen enough"))).await;

    assert_eq!(report.unwrap().cancelled, [task.id()]);
    let newest = task.record().unwrap().progress.clone().unwrap();
    assert_eq!(newest.as_json(), "5");
}

#[tokio::test]
async fn empty_message_is_delivered() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t");
    let task = task.spawn(|ctx| async move { Ok(ctx.recv().await.map(|message| message.body)) });
    let task = task.await.unwrap();
    task.send("").await.unwrap();
    assert_eq!(soon(task).await.unwrap(), Some(json!("")));
}

#[tokio::test]
async fn unnamed_task_is_reached_by_its_id_only() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope
        .unnamed()
        .spawn(|ctx| async move { Ok(ctx.recv().await.map(|message| message.body)) });
    let task = task.await.unwrap();
    assert_eq!(task.record().unwrap().spec.name, None);
    for guess in ["", "task", "unnamed"] {
        assert!(scope.send(guess, 1).await.is_err(), "{guess}");
    }
    scope.send(task.id(), 1).await.unwrap();
    assert_eq!(soon(task).await.unwrap(), Some(json!(1)));
}

#[tokio::test]
async fn result_is_there_after_every_handle_was_dropped() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(|_| async { Ok(json!({"found": 3})) });
    let id = task.await.unwrap().id();

    let record = soon(manager.task(id).settled()).await.unwrap();
    drop(record);
    assert_eq!(
        manager.get(id).unwrap().to_json()["outcome"]["value"],
        json!({"found": 3})
    );
    let all = scope.list(Filter::all(), &Page::default()).unwrap();
    assert_eq!(all.total, 1);
}

/// A helper that does one errand for the agent above it.
async fn errand(ctx: Context) -> Result<Value, Failure> {
    let order = ctx.recv().await.ok_or_else(|| Failure::new("no order"))?;
    ctx.send(Address::Parent, json!({ "did": order.body }))
        .await?;
    Ok(order.body)
}

#[tokio::test]
async fn agent_speaks_with_each_of_its_helpers_and_ends_after_them() {
    let manager = Manager::in_memory();
    let agent = manager.scope("s").task("agent").spawn(|ctx| async move {
        let names = ["docs", "code", "web"];
        let mut helpers = Vec::new();
        for name in names {
            helpers.push(ctx.task(name).spawn(errand).await?);
        }
        for name in names {
            ctx.send(Address::Child(name.into()), name).await?;
        }
        let mut reports = Vec::new();
        for _ in names {
            let report = ctx.recv().await.ok_or_else(|| Failure::new("no report"))?;
            reports.push(report.body["did"].to_string());
        }
        reports.sort();
        let mut results = Vec::new();
        for helper in helpers {
            results.push(helper.await?);
        }
        Ok((reports, results))
    });
    let (reports, results) = soon(agent.await.unwrap()).await.unwrap();

    assert_eq!(reports, [r#""code""#, r#""docs""#, r#""web""#]);
    assert_eq!(results, [json!("docs"), json!("code"), json!("web")]);
}

#[tokio::test]
async fn tasks_of_a_scope_are_counted_while_they_live() {
    let manager = Manager::in_memory();
    let (here, there) = (manager.scope("here"), manager.scope("there"));
    let live = |scope: &understory::ScopeRef| {
        let listing = scope.list(Filter::all().live(), &Page::default());
        listing.unwrap().total
    };
    let one = here.task("one").spawn(until_cancelled).await.unwrap();
    let two = here.task("two").spawn(until_cancelled).await.unwrap();
    reaches(&manager, two.id(), State::Running).await;
    assert_eq!((live(&here), live(&there)), (2, 0));
    soon(one.cancel(Cancel::because("enough"))).await.unwrap();
    assert_eq!(live(&here), 1);
    soon(here.cancel_scope(Cancel::because("enough")))
        .await
        .unwrap();
    assert_eq!(live(&here), 0);
}

#[tokio::test]
async fn event_of_a_grandchild_reaches_who_listens_to_the_root() {
    let manager = Manager::in_memory();
    let root = manager.scope("s").task("top").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|ctx| async move {
            let leaf = ctx.task("leaf").spawn(|ctx| async move {
                ctx.emit("found", "it").await?;
                Ok(ctx.path())
            });
            Ok(leaf.await?.await?)
        });
        Ok(child.await?.await?)
    });
    let root = root.await.unwrap();
    let of_tree = Filter::all().root(root.id()).event("emitted");
    let feed = manager.subscribe_to(understory::Since::Seq(understory::Seq(0)), of_tree);
    let mut feed = feed.await.unwrap();

    let event = sees(&mut feed, |_| true).await;
    assert_eq!(event.spec.name.as_ref().unwrap().as_str(), "leaf");
    assert_eq!(soon(root).await.unwrap(), "top/child/leaf");
}
