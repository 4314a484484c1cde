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
