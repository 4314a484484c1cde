//! Tools for models: what each does, and each refusal.

use std::time::Duration;

use serde_json::{Value, json};
use understory::tools::{self, Rights};
use understory::{Class, Context, Failure, Manager, TaskId};

use crate::stage::soon;

mod bounds;
mod look;
mod rights;
mod talk;

/// Ends with what it is sent; says first what it was asked.
async fn echo(ctx: Context, input: Value) -> Result<Value, Failure> {
    ctx.output(&input).await?;
    ctx.output("listening").await?;
    Ok(ctx.recv().await.map_or(Value::Null, |message| message.body))
}

async fn answer(_: Context, _: Value) -> Result<Value, Failure> {
    Ok(json!(42))
}

fn manager() -> Manager {
    let builder = Manager::builder()
        .executor("echo", echo)
        .executor("answer", answer)
        .limit("one", Class::refuse(1));
    builder.build().unwrap()
}

fn rights(manager: &Manager) -> Rights {
    Rights::of_scope(manager, "s").unwrap()
}

async fn call(rights: &Rights, name: &str, args: Value) -> Value {
    soon(tools::call(name, args, rights)).await
}

async fn spawn(rights: &Rights, kind: &str, name: &str) -> TaskId {
    let args = json!({ "kind": kind, "input": "hello", "name": name });
    let spawned = call(rights, "task_spawn", args).await;
    spawned["id"]
        .as_str()
        .expect("it is spawned")
        .parse()
        .unwrap()
}

async fn is_refused(rights: &Rights, name: &str, args: Value, code: &str) -> Value {
    let answer = call(rights, name, args.clone()).await;
    assert_eq!(answer["error"]["code"], code, "{name} {args}: {answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    answer["error"].clone()
}

/// What only a host can do is no advice for a model.
fn says_what_a_model_can_do(error: &Value) {
    let message = error["message"].as_str().unwrap();
    for word in ["raise", "Builder", "builder", "register"] {
        assert!(!message.contains(word), "{message}");
    }
}

#[test]
fn each_definition_has_a_strict_schema() {
    for tool in tools::definitions() {
        let schema = &tool.input_schema;
        assert_eq!(schema["type"], "object", "{}", tool.name);
        assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
        let properties = schema["properties"].as_object().unwrap();
        for required in schema["required"].as_array().unwrap() {
            assert!(properties.contains_key(required.as_str().unwrap()));
        }
        assert!(!tool.description.is_empty());
    }
}

#[tokio::test]
async fn every_definition_is_a_tool_and_refuses_arguments_that_its_schema_lacks() {
    let manager = manager();
    let rights = rights(&manager);
    for tool in tools::definitions() {
        let mut args = json!({ "surprise": 1 });
        for required in tool.input_schema["required"].as_array().unwrap() {
            args[required.as_str().unwrap()] = json!("answer");
        }
        let error = is_refused(&rights, tool.name, args, "invalid_arguments").await;
        assert!(
            error["message"].as_str().unwrap().contains("surprise"),
            "{error}"
        );
        is_refused(
            &rights,
            tool.name,
            json!(["no object"]),
            "invalid_arguments",
        )
        .await;
    }
    is_refused(&rights, "task_guess", json!({}), "unknown_tool").await;
}

#[tokio::test]
async fn spawned_task_has_an_id_and_a_path_and_hangs_below_its_caller() {
    let manager = manager();
    let rights = rights(&manager);
    let lead = spawn(&rights, "echo", "lead").await;
    let args = json!({
        "kind": "answer", "input": null, "name": "child", "parent": "lead", "wait_ms": 60_000,
        "timeout_ms": 60_000, "on_parent_close": "cancel", "limits": ["one"], "key": "k",
        "budget": { "tokens": 7, "turns": 0 },
    });
    let child = call(&rights, "task_spawn", args.clone()).await;

    assert_eq!(
        (&child["path"], &child["status"]),
        (&json!("lead/child"), &json!("completed"))
    );
    assert_eq!(child["outcome"]["value"], 42);
    assert_eq!(child["budgets"]["tokens"]["limit"], 7);
    assert_eq!(child["budgets"]["turns"]["limit"], 0);
    let again = call(&rights, "task_spawn", args).await;
    assert_eq!(again["id"], child["id"]);
    let record = manager
        .get(child["id"].as_str().unwrap().parse().unwrap())
        .unwrap();
    assert_eq!(record.parent, Some(lead));
    assert_eq!(record.spec.timeout, Some(Duration::from_mins(1)));
    assert_eq!(
        record.spec.on_parent_end,
        Some(understory::OnParentEnd::Cancel)
    );
}

#[tokio::test]
async fn spawn_that_is_refused_says_why() {
    let manager = manager();
    let rights = rights(&manager);
    let refused = |args, code| is_refused(&rights, "task_spawn", args, code);

    refused(json!({ "input": 1 }), "invalid_arguments").await;
    let error = refused(json!({ "kind": "guess", "input": 1 }), "unknown_kind").await;
    says_what_a_model_can_do(&error);
    refused(
        json!({ "kind": "echo", "input": 1, "name": "a b" }),
        "invalid_arguments",
    )
    .await;
    refused(
        json!({ "kind": "echo", "input": 1, "wait_ms": 3_600_001 }),
        "invalid_arguments",
    )
    .await;
    refused(
        json!({ "kind": "echo", "input": 1, "parent": "nobody" }),
        "not_found",
    )
    .await;
    for budget in [
        json!(["tokens"]),
        json!({ "tokens": -1 }),
        json!({ "a b": 1 }),
    ] {
        let budgeted = json!({ "kind": "echo", "input": 1, "budget": budget });
        refused(budgeted, "invalid_arguments").await;
    }
    let keeps = json!({ "kind": "echo", "input": 1, "on_parent_close": "keep" });
    let error = refused(keeps, "invalid_arguments").await;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("wait, cancel, detach")
    );
    spawn(&rights, "echo", "taken").await;
    refused(
        json!({ "kind": "echo", "input": 1, "name": "taken" }),
        "refused",
    )
    .await;
    let limited = json!({ "kind": "echo", "input": 1, "limits": ["one"] });
    call(&rights, "task_spawn", limited.clone()).await;
    let error = refused(limited, "limit_reached").await;
    assert_eq!(
        error["details"],
        json!({ "limit": "one", "limit_of": "limit", "in_use": 1, "size": 1, "waiting": 0 })
    );
    says_what_a_model_can_do(&error);
    let unknown = json!({ "kind": "echo", "input": 1, "limits": ["two"] });
    let error = refused(unknown, "unknown_limit").await;
    assert_eq!(
        error["details"],
        json!({ "limit": "two", "limits": ["one"] })
    );
    says_what_a_model_can_do(&error);
    soon(manager.shutdown(Duration::ZERO)).await.unwrap();
    refused(json!({ "kind": "echo", "input": 1 }), "unavailable").await;
}

#[tokio::test]
async fn message_reaches_the_task_and_a_task_that_has_ended_takes_none() {
    let manager = manager();
    let rights = rights(&manager);
    let task = spawn(&rights, "echo", "t").await;

    let sent = call(&rights, "task_send", json!({ "to": "t", "body": "bye" })).await;
    assert_eq!(
        (&sent["message_number"], &sent["task"]),
        (&json!(1), &json!(task.to_string()))
    );
    let record = soon(manager.task(task).settled()).await.unwrap();
    assert_eq!(record.to_json()["outcome"]["value"], "bye");

    let late = json!({ "to": task.to_string(), "body": "more" });
    is_refused(&rights, "task_send", late, "ended").await;
    is_refused(
        &rights,
        "task_send",
        json!({ "to": "t", "body": 1 }),
        "ended",
    )
    .await;
    is_refused(
        &rights,
        "task_send",
        json!({ "to": "parent", "body": 1 }),
        "not_found",
    )
    .await;
}

#[tokio::test]
async fn cancel_reports_what_stopped_and_what_had_ended() {
    let manager = manager();
    let rights = rights(&manager);
    let lead = spawn(&rights, "echo", "lead").await;
    let args = json!({ "kind": "echo", "input": 0, "name": "child", "parent": "lead",
        "on_parent_close": "detach" });
    let child = call(&rights, "task_spawn", args).await;
    let cancel = async |args| call(&rights, "task_cancel", args).await;

    let one = cancel(json!({ "id": "lead", "scope": "task", "reason": "enough" })).await;
    assert_eq!(one["requested"], json!([lead.to_string()]));
    let tree = json!({ "id": "child", "reason": "enough", "grace_ms": 0 });
    assert_eq!(cancel(tree).await["requested"], json!([child["id"]]));
    let again = cancel(json!({ "id": lead.to_string(), "reason": "again" })).await;
    assert_eq!(again["already_done"], json!([lead.to_string()]));

    is_refused(
        &rights,
        "task_cancel",
        json!({ "id": "lead" }),
        "invalid_arguments",
    )
    .await;
    let unknown = json!({ "id": TaskId::from_u128(7).to_string(), "reason": "x" });
    is_refused(&rights, "task_cancel", unknown, "not_found").await;
    is_refused(
        &rights,
        "task_cancel",
        json!({ "id": "self", "reason": "x" }),
        "not_found",
    )
    .await;
}
