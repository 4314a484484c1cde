//! Tools where something is full, or looks like something else.

use serde_json::{Value, json};
use understory::{Manager, Since};

use super::*;

#[tokio::test]
async fn accepted_task_is_told_though_nobody_can_wait_for_it() {
    let builder = Manager::builder().executor("echo", echo);
    let manager = builder.subscribers_max(1).build().unwrap();
    let rights = rights(&manager);
    let _taken = manager.subscribe(Since::Now).await.unwrap();

    let args = json!({ "kind": "echo", "input": 0, "name": "t", "wait_ms": 60_000 });
    let spawned = call(&rights, "task_spawn", args).await;

    let id = manager.scope("s").find("t").expect("it lives");
    assert_eq!(
        (&spawned["id"], &spawned["path"]),
        (&json!(id.to_string()), &json!("t"))
    );
    let error = is_refused(&rights, "task_wait", json!({}), "too_many_waits").await;
    says_what_a_model_can_do(&error);
}

#[tokio::test]
async fn wait_without_targets_is_for_all_however_many_there_are() {
    let manager = manager();
    let rights = rights(&manager);
    let mut newest = None;
    for _ in 0..300 {
        let task = manager.scope("s").unnamed().spawn_kind("echo", 0);
        newest = Some(task.await.unwrap());
    }
    let newest = newest.expect("there are some");
    let seq = manager.seq().0;
    newest.send("end").await.unwrap();

    let ends = |answer: Value| answer["done"][0]["id"].clone();
    let waited = call(&rights, "task_wait", json!({ "timeout_ms": 60_000 })).await;
    assert_eq!(waited["pending"].as_array().unwrap().len(), 299);
    assert_eq!(ends(waited), json!(newest.id().to_string()));
    let told = call(&rights, "task_wait", json!({ "after_seq": seq })).await;
    assert_eq!(ends(told), json!(newest.id().to_string()));
}

#[tokio::test]
async fn name_that_reads_as_an_id_is_found_by_its_path() {
    let manager = manager();
    let rights = rights(&manager);
    let name = "d41d8cd98f00b204e9800998ecf8427e";
    let task = spawn(&rights, "echo", name).await;
    let read = async || call(&rights, "task_read", json!({ "id": name })).await;
    assert_eq!(read().await["id"], task.to_string());

    manager.send(task, "end").await.unwrap();
    soon(manager.task(task).settled()).await.unwrap();

    assert_eq!(read().await["id"], task.to_string());
    let other = "d41d8cd98f00b204e9800998ecf8427f";
    is_refused(&rights, "task_read", json!({ "id": other }), "not_found").await;
}
