//! Tools by which a model looks at tasks and waits for them.

use serde_json::{Value, json};
use understory::State;

use super::{call, is_refused, manager, rights, spawn};
use crate::stage::soon;

#[tokio::test]
async fn wait_tells_ends_once_and_what_is_pending() {
    let manager = manager();
    let rights = rights(&manager);
    let (one, two) = (
        spawn(&rights, "echo", "a").await,
        spawn(&rights, "echo", "b").await,
    );
    manager.send(one, "end").await.unwrap();
    let wait = |args| call(&rights, "task_wait", args);

    let first = wait(json!({})).await;
    assert_eq!(first["done"][0]["id"], one.to_string());
    assert_eq!(
        (&first["pending"], &first["timed_out"]),
        (&json!([two.to_string()]), &json!(false))
    );
    let seq = first["seq"].clone();
    let nothing = wait(json!({ "after_seq": seq, "timeout_ms": 1 })).await;
    assert_eq!(
        (&nothing["done"], &nothing["timed_out"]),
        (&json!([]), &json!(true))
    );

    manager.send(two, "end").await.unwrap();
    let both = json!({ "targets": [one.to_string(), two.to_string()], "mode": "all" });
    assert_eq!(wait(both).await["done"].as_array().unwrap().len(), 2);
    // It ended before this wait, and after the number.
    let rest = wait(json!({ "after_seq": seq })).await;
    assert_eq!(rest["done"][0]["id"], two.to_string());
    assert_eq!(rest["done"].as_array().unwrap().len(), 1);

    is_refused(
        &rights,
        "task_wait",
        json!({ "targets": ["x"] }),
        "not_found",
    )
    .await;
    is_refused(
        &rights,
        "task_wait",
        json!({ "mode": "some" }),
        "invalid_arguments",
    )
    .await;
    let many = vec!["a"; 257];
    is_refused(
        &rights,
        "task_wait",
        json!({ "targets": many }),
        "invalid_arguments",
    )
    .await;
}

#[tokio::test]
async fn list_filters_and_goes_on_after_its_cursor() {
    let manager = manager();
    let rights = rights(&manager);
    let lead = spawn(&rights, "echo", "lead").await;
    for name in ["one", "two", "three"] {
        let args = json!({ "kind": "answer", "input": 0, "name": name, "parent": "lead",
            "wait_ms": 60_000 });
        call(&rights, "task_spawn", args).await;
    }
    let list = async |args| call(&rights, "task_list", args).await;
    let paths = |answer: &Value| -> Vec<String> {
        let rows = answer["tasks"].as_array().unwrap().iter();
        rows.map(|row| row["path"].as_str().unwrap().to_owned())
            .collect()
    };

    let all = ["lead", "lead/one", "lead/two", "lead/three"];
    assert_eq!(paths(&list(json!({})).await), all);
    assert_eq!(paths(&list(json!({ "kind": "echo" })).await), ["lead"]);
    assert_eq!(paths(&list(json!({ "status": "live" })).await), ["lead"]);
    assert_eq!(
        paths(&list(json!({ "status": "completed" })).await),
        all[1..]
    );
    assert_eq!(
        paths(&list(json!({ "prefix": "lead/two" })).await),
        ["lead/two"]
    );
    assert!(paths(&list(json!({ "prefix": "le" })).await).is_empty());
    let page = list(json!({ "limit": 3 })).await;
    assert_eq!(paths(&page), all[..3]);
    let rest = list(json!({ "limit": 3, "cursor": page["cursor"] })).await;
    assert_eq!(
        (paths(&rest), &rest["cursor"]),
        (vec![all[3].to_owned()], &Value::Null)
    );

    is_refused(
        &rights,
        "task_list",
        json!({ "status": "busy" }),
        "invalid_arguments",
    )
    .await;
    is_refused(
        &rights,
        "task_list",
        json!({ "cursor": "x" }),
        "invalid_arguments",
    )
    .await;
    assert_eq!(manager.task(lead).state(), Some(State::Running));
}

#[tokio::test]
async fn output_and_result_are_read_by_page() {
    let manager = manager();
    let rights = rights(&manager);
    let task = spawn(&rights, "echo", "t").await;
    crate::stage::sees(&mut crate::stage::feed_of(&manager, task).await, |event| {
        event.to_json()["data"] == "listening"
    })
    .await;

    let first = call(&rights, "task_read", json!({ "id": "t", "limit": 1 })).await;
    assert_eq!(
        (&first["output"], &first["written"]),
        (&json!(["hello"]), &json!(2))
    );
    let next = json!({ "id": "t", "after": first["after"] });
    assert_eq!(
        call(&rights, "task_read", next).await["output"],
        json!(["listening"])
    );
    manager.send(task, "bye").await.unwrap();
    soon(manager.task(task).settled()).await.unwrap();
    let end = call(&rights, "task_read", json!({ "id": task.to_string() })).await;
    assert_eq!(
        (&end["status"], &end["outcome"]["value"]),
        (&json!("completed"), &json!("bye"))
    );
    let by_path = call(&rights, "task_read", json!({ "id": "t" })).await;
    assert_eq!(by_path["id"], end["id"]);
    is_refused(&rights, "task_read", json!({ "id": "u" }), "not_found").await;
    is_refused(
        &rights,
        "task_read",
        json!({ "id": "t", "after": -1 }),
        "invalid_arguments",
    )
    .await;
}

#[tokio::test]
async fn path_means_who_has_it_and_after_its_end_the_newest_that_had_it() {
    let manager = manager();
    let rights = rights(&manager);
    let read = async |path: &str| {
        let answer = call(&rights, "task_read", json!({ "id": path })).await;
        answer["id"].as_str().map(str::to_owned)
    };
    let lead = spawn(&rights, "echo", "lead").await;
    let below = json!({ "kind": "answer", "input": 0, "parent": "lead", "wait_ms": 60_000 });
    let nameless = call(&rights, "task_spawn", below.clone()).await;
    let mut named = below;
    named["name"] = json!("sum");
    let old = call(&rights, "task_spawn", named.clone()).await;
    let new = call(&rights, "task_spawn", named).await;
    assert_ne!(old["id"], new["id"]);
    for path in ["sum", "lead/sum"] {
        assert_eq!(read(path).await.as_deref(), new["id"].as_str(), "{path}");
    }
    let short = nameless["path"].as_str().expect("it has a path");
    assert_eq!(read(short).await.as_deref(), nameless["id"].as_str());

    let holder = spawn(&rights, "echo", "sum").await;
    assert_eq!(read("sum").await, Some(holder.to_string()));
    assert_eq!(read("lead/sum").await.as_deref(), new["id"].as_str());
    manager.send(lead, "end").await.unwrap();
    soon(manager.task(lead).settled()).await.unwrap();
    assert_eq!(read("lead").await, Some(lead.to_string()));
    let stranger = manager.scope("other").task("theirs");
    let stranger = stranger.spawn(|_| async { Ok(()) }).await.unwrap();
    soon(stranger.settled()).await.unwrap();
    for path in ["theirs", "ead", "lead/su", "other/sum", ""] {
        is_refused(&rights, "task_read", json!({ "id": path }), "not_found").await;
    }
    let late = json!({ "to": "lead", "body": 1 });
    is_refused(&rights, "task_send", late, "ended").await;
}
