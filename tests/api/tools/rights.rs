//! What a caller of the tools may see and touch.

use serde_json::{Value, json};
use tokio::sync::oneshot;
use understory::tools::{self, Rights};
use understory::{Context, Failure, Manager, Requester, State, TaskHandle, TaskId};

use crate::stage::{soon, until_cancelled};

async fn echo(ctx: Context, _: Value) -> Result<Value, Failure> {
    Ok(ctx.recv().await.map_or(Value::Null, |message| message.body))
}

/// A task that hands out its rights and then waits for its end.
async fn caller(manager: &Manager, name: &str) -> (TaskHandle<()>, Rights) {
    let (tell, told) = oneshot::channel();
    let task = manager.scope("s").task(name).spawn(|ctx| async move {
        drop(tell.send(Rights::of_task(&ctx)));
        until_cancelled(ctx).await
    });
    (task.await.unwrap(), soon(told).await.unwrap())
}

fn manager() -> Manager {
    Manager::builder().executor("echo", echo).build().unwrap()
}

async fn spawn(rights: &Rights, name: &str) -> Value {
    let args = json!({ "kind": "echo", "input": 0, "name": name });
    soon(tools::call("task_spawn", args, rights)).await
}

#[tokio::test]
async fn task_sees_what_is_below_it_and_nothing_else() {
    let manager = manager();
    let ((lead, rights), (other, others)) = (
        caller(&manager, "lead").await,
        caller(&manager, "other").await,
    );
    let mine = spawn(&rights, "mine").await;
    assert_eq!(mine["path"], "lead/mine");
    let theirs = spawn(&others, "theirs").await;
    let elsewhere = Rights::of_scope(&manager, "elsewhere").unwrap();
    let foreign = spawn(&elsewhere, "foreign").await;
    let strangers = [
        lead.id().to_string(),
        other.id().to_string(),
        theirs["id"].as_str().unwrap().to_owned(),
        "theirs".to_owned(),
        foreign["id"].as_str().unwrap().to_owned(),
        TaskId::from_u128(7).to_string(),
    ];

    let listed = soon(tools::call("task_list", json!({}), &rights)).await;
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(listed["tasks"][0]["id"], mine["id"]);
    for id in strangers {
        for (tool, args) in [
            ("task_send", json!({ "to": id, "body": 1 })),
            ("task_wait", json!({ "targets": [id] })),
            ("task_read", json!({ "id": id })),
            ("task_cancel", json!({ "id": id, "reason": "x" })),
            ("task_resume", json!({ "id": id })),
            ("task_interrupt", json!({ "id": id, "reason": "x" })),
            ("task_respond", json!({ "id": id, "key": "k", "value": 1 })),
        ] {
            let answer = soon(tools::call(tool, args, &rights)).await;
            assert_eq!(
                answer["error"]["code"], "not_found",
                "{tool} {id}: {answer}"
            );
        }
    }
    let below = json!({ "kind": "echo", "input": 0, "parent": other.id().to_string() });
    let refused = soon(tools::call("task_spawn", below, &rights)).await;
    assert_eq!(refused["error"]["code"], "not_found");
    assert_eq!(other.state(), Some(State::Running));
}

#[tokio::test]
async fn task_speaks_to_its_parent_and_root_and_cancels_itself() {
    let manager = manager();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|ctx| async move {
            let rights = Rights::of_task(&ctx);
            for to in ["parent", "root"] {
                let sent = tools::call("task_send", json!({ "to": to, "body": to }), &rights).await;
                assert_eq!(sent["task"], ctx.parent().unwrap().to_string());
            }
            let end = json!({ "id": "self", "reason": "nothing left to do" });
            let asked = tools::call("task_cancel", end, &rights).await;
            assert_eq!(asked["requested"], json!([ctx.id().to_string()]));
            until_cancelled(ctx).await
        });
        let child = child.await?;
        let record = child.settled().await?;
        let stop = record.stop.as_ref().unwrap();
        assert_eq!(&*stop.reason, "nothing left to do");
        assert_eq!(stop.by, Requester::Task(child.id()));
        let heard = ctx.drain().into_iter().map(|message| message.body);
        Ok((record.state == State::Cancelled, heard.collect::<Vec<_>>()))
    });
    let (is_cancelled, heard): (bool, Vec<Value>) = soon(lead.await.unwrap()).await.unwrap();
    assert!(is_cancelled);
    assert_eq!(heard, [json!("parent"), json!("root")]);
}

#[tokio::test]
async fn task_that_cancels_itself_alone_leaves_what_may_go_on() {
    let manager = manager();
    let (lead, rights) = caller(&manager, "lead").await;
    let args = json!({ "kind": "echo", "input": 0, "name": "errand",
        "on_parent_close": "detach" });
    let errand = soon(tools::call("task_spawn", args, &rights)).await;
    let errand: TaskId = errand["id"].as_str().unwrap().parse().unwrap();

    let end = json!({ "id": "self", "scope": "task", "reason": "enough" });
    let asked = soon(tools::call("task_cancel", end, &rights)).await;

    assert_eq!(asked["requested"], json!([lead.id().to_string()]));
    let record = soon(lead.settled()).await.unwrap();
    assert_eq!(record.state, State::Cancelled);
    assert_eq!(manager.task(errand).state(), Some(State::Running));
}

#[tokio::test]
async fn task_that_may_not_cancel_itself_is_told_so() {
    let builder = Manager::builder().allow_cancel(|_| async { false });
    let manager = builder.build().unwrap();
    let (lead, rights) = caller(&manager, "lead").await;

    let end = json!({ "id": "self", "reason": "enough" });
    let refused = soon(tools::call("task_cancel", end, &rights)).await;

    assert_eq!(refused["error"]["code"], "refused", "{refused}");
    assert_eq!(lead.state(), Some(State::Running));
}

#[tokio::test]
async fn detached_task_is_no_longer_seen_by_the_one_that_was_above_it() {
    let manager = manager();
    let (_lead, rights) = caller(&manager, "lead").await;
    let child = spawn(&rights, "child").await;
    let args = json!({ "kind": "echo", "input": 0, "name": "errand", "parent": "child",
        "on_parent_close": "detach" });
    let errand = soon(tools::call("task_spawn", args, &rights)).await;
    let id = errand["id"].clone();
    let read = || tools::call("task_read", json!({ "id": id }), &rights);
    assert_eq!(soon(read()).await["path"], "lead/child/errand");

    let child: TaskId = child["id"].as_str().unwrap().parse().unwrap();
    manager.send(child, "end").await.unwrap();
    soon(manager.task(child).settled()).await.unwrap();

    assert_eq!(soon(read()).await["error"]["code"], "not_found");
}

#[tokio::test]
async fn ids_from_a_model_are_checked_like_any_text() {
    let manager = manager();
    let rights = Rights::of_scope(&manager, "s").unwrap();
    for id in ["", "../lead", "a b", "00000000", "\u{0}", "lead//x"] {
        let answer = soon(tools::call("task_read", json!({ "id": id }), &rights)).await;
        assert_eq!(answer["error"]["code"], "not_found", "{id:?}");
    }
    let answer = soon(tools::call("task_read", json!({ "id": 7 }), &rights)).await;
    assert_eq!(answer["error"]["code"], "invalid_arguments");
    assert!(Rights::of_scope(&manager, "a b").is_err());
}

#[tokio::test]
async fn rights_go_with_their_task_to_another_scope() {
    let manager = manager();
    let (lead, rights) = caller(&manager, "lead").await;
    let ended = spawn(&rights, "ended").await;
    let id: TaskId = ended["id"].as_str().unwrap().parse().unwrap();
    manager.send(id, "end").await.unwrap();
    soon(manager.task(id).settled()).await.unwrap();
    let before = spawn(&rights, "before").await;

    soon(lead.transfer("new")).await.unwrap();

    let after = spawn(&rights, "after").await;
    assert_eq!(after["path"], "lead/after");
    let listed = soon(tools::call("task_list", json!({}), &rights)).await;
    let ids: Vec<_> = [0, 1, 2].map(|at| listed["tasks"][at]["id"].clone()).into();
    assert_eq!(
        ids,
        [&ended, &before, &after].map(|task| task["id"].clone())
    );
    for of in [ended["id"].clone(), json!("ended"), json!("lead/ended")] {
        let read = soon(tools::call("task_read", json!({ "id": of }), &rights)).await;
        assert_eq!(read["outcome"]["value"], "end", "{of}: {read}");
    }
    let id: TaskId = after["id"].as_str().unwrap().parse().unwrap();
    let record = manager.get(id).unwrap();
    assert_eq!(record.scope().as_str(), "new");
    assert_eq!(record.spawned_by, Some(lead.id()));
}

#[tokio::test]
async fn rights_of_an_attempt_that_is_over_spawn_nothing() {
    let manager = manager();
    let (lead, rights) = caller(&manager, "lead").await;
    soon(lead.cancel(understory::Cancel::because("enough")))
        .await
        .unwrap();

    let late = spawn(&rights, "late").await;

    assert_eq!(late["error"]["code"], "refused", "{late}");
}

#[tokio::test]
async fn what_a_task_asks_through_its_tools_is_recorded_as_its_own() {
    let manager = manager();
    let (lead, rights) = caller(&manager, "lead").await;
    let child = spawn(&rights, "child").await;
    let id: TaskId = child["id"].as_str().unwrap().parse().unwrap();

    // From outside of its body, as a door would call them.
    let cancel = json!({ "id": "child", "reason": "enough" });
    soon(tools::call("task_cancel", cancel, &rights)).await;

    let record = manager.get(id).unwrap();
    let by = &record.stop.as_ref().unwrap().by;
    assert_eq!(*by, understory::Requester::Task(lead.id()));
}
