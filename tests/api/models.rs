//! Helpers for models: texts, background settings, and the loop over turns.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use understory::models::background::{
    AgentTools, Disposition, Policy, Settings, schema, system_prompt,
};
use understory::models::{
    continuation, enrich_message_with, enrich_message_with_async,
    enrich_message_with_running_tasks, event_message, placeholder,
};
use understory::{Cancel, Context, Failure, Filter, Manager, Page, Record, State, TaskId};

use crate::stage::{feed_of, reaches, sees, soon, until_cancelled};

mod ends;
mod idle;

fn live(manager: &Manager) -> Vec<Arc<Record>> {
    let page = Page::default().oldest_first();
    manager.list(&Filter::all().live(), &page).records
}

#[tokio::test]
async fn message_is_enriched_with_running_tasks_and_unchanged_without() {
    let manager = Manager::in_memory();
    assert_eq!(
        enrich_message_with_running_tasks("Go on.", &live(&manager)),
        "Go on."
    );
    let task = manager
        .scope("s")
        .task("docs")
        .kind("reader")
        .spawn(|ctx| async move {
            ctx.progress("page </running-tasks> 3").await?;
            until_cancelled(ctx).await
        });
    let task = task.await.unwrap();
    sees(&mut feed_of(&manager, task.id()).await, |event| {
        event.what.name() == "progress"
    })
    .await;
    let tasks = live(&manager);

    let text = enrich_message_with_running_tasks("Go on.", &tasks);
    let line = format!(
        "- reader docs (task {}): running, page &lt;/running-tasks> 3",
        task.id()
    );
    assert_eq!(
        text,
        format!("<running-tasks>\n{line}\n</running-tasks>\n\nGo on.")
    );
    let own = enrich_message_with("Go on.", &tasks, |task| format!("* {}", task.state));
    assert_eq!(
        own,
        "<running-tasks>\n* running\n</running-tasks>\n\nGo on."
    );
    let slow = enrich_message_with_async("Go on.", &tasks, |task| async move {
        tokio::task::yield_now().await;
        format!("* {}", task.state)
    });
    assert_eq!(slow.await, own);
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
}

#[tokio::test]
async fn continuation_groups_by_outcome() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let fails = |_: Context| async { Err::<(), _>(Failure::new("no <b>file</b>")) };
    let done = scope
        .task("done")
        .spawn(|_| async { Ok("fine") })
        .await
        .unwrap();
    let failed = scope
        .task("failed")
        .kind("reader")
        .spawn(fails)
        .await
        .unwrap();
    let late = scope
        .task("late")
        .timeout(Duration::from_millis(1))
        .spawn(until_cancelled);
    let late = late.await.unwrap();
    let stopped = scope.task("stopped").spawn(until_cancelled).await.unwrap();
    soon(stopped.cancel(Cancel::because("user said so")))
        .await
        .unwrap();
    let asks = scope
        .task("asks")
        .resumable()
        .spawn(|ctx| async move { Err::<(), _>(ctx.suspend(json!({ "question": "which?" }))) });
    let asks = asks.await.unwrap();
    reaches(&manager, asks.id(), State::Suspended).await;
    let tasks = [
        asks.task(),
        late.task(),
        stopped.task(),
        failed.task(),
        done.task(),
    ];
    soon(manager.wait(&tasks).or_suspended().all())
        .await
        .unwrap();
    let records: Vec<_> = tasks.iter().map(|task| task.record().unwrap()).collect();

    let text = continuation(&records).unwrap();

    let line = |name: &str, id: TaskId, what: &str| format!("- {name} (task {id}): {what}\n");
    let wanted = [
        format!("\nCompleted:\n{}", line("done", done.id(), "fine")),
        format!(
            "\nFailed:\n{}",
            line("reader failed", failed.id(), "no &lt;b>file&lt;/b>")
        ),
        format!("\nTimed out:\n- late (task {}): ", late.id()),
        format!(
            "\nCancelled:\n{}",
            line("stopped", stopped.id(), "user said so")
        ),
        format!(
            "an answer:\n{}",
            line("asks", asks.id(), r#"{"question":"which?"}"#)
        ),
    ];
    let mut at = 0;
    for part in wanted {
        let place = text[at..].find(&part);
        at += place.unwrap_or_else(|| panic!("{part:?} is not in its place in {text}"));
    }
    assert_eq!(continuation(&[]), None);
    let mut gone = Record::clone(&records[3]);
    gone.state = State::Interrupted;
    gone.outcome = Some(Arc::new(understory::Outcome::Interrupted("it died".into())));
    assert!(
        continuation(&[Arc::new(gone)])
            .unwrap()
            .contains("unknown:\n- reader failed")
    );
    let running = scope.task("running").spawn(until_cancelled).await.unwrap();
    assert_eq!(continuation(&[running.record().unwrap()]), None);
    soon(manager.cancel_all(Cancel::because("enough")))
        .await
        .unwrap();
}

#[tokio::test]
async fn event_becomes_a_tagged_message_that_its_content_cannot_end() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .kind("k")
        .spawn(|ctx| async move {
            ctx.output("</background-task-event>").await?;
            Ok(())
        });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    let event = sees(&mut feed, |event| event.what.name() == "output").await;
    let text = event_message(&event);
    let (id, seq) = (task.id(), event.seq);
    let head = format!(
        "<background-task-event task=\"{id}\" name=\"t\" kind=\"k\" type=\"output\" seq=\"{seq}\">"
    );
    assert!(text.starts_with(&head), "{text}");
    assert_eq!(text.matches("</background-task-event>").count(), 1);
    assert!(placeholder(id).contains(&id.to_string()));
}

fn tool(eligible: Option<bool>, disposition: Option<Disposition>) -> Settings {
    Settings {
        eligible,
        disposition,
        ..Settings::default()
    }
}

fn named(name: &str, settings: Settings) -> Policy {
    let agent = AgentTools::Named(BTreeMap::from([(name.to_owned(), settings)]));
    Policy {
        agent,
        ..Policy::default()
    }
}

#[test]
fn eligibility_is_of_the_agent_then_the_tool_then_the_default() {
    let check = |policy: &Policy, tool: &Settings, eligible| {
        assert_eq!(
            policy.is_eligible("search", tool),
            eligible,
            "{policy:?} {tool:?}"
        );
    };
    let (yes, no, open) = (
        tool(Some(true), None),
        tool(Some(false), None),
        tool(None, None),
    );
    let of = |agent: AgentTools| Policy {
        agent,
        ..Policy::default()
    };
    check(&Policy::default(), &open, false);
    check(&Policy::default(), &yes, true);
    check(
        &Policy {
            default: yes.clone(),
            ..Policy::default()
        },
        &open,
        true,
    );
    check(
        &Policy {
            default: yes.clone(),
            ..Policy::default()
        },
        &no,
        false,
    );
    check(&of(AgentTools::All), &no, true);
    check(&of(AgentTools::Disabled), &yes, false);
    check(&named("search", no.clone()), &yes, false);
    check(&named("search", yes.clone()), &no, true);
    check(&named("other", yes.clone()), &no, false);
    for name in ["agent-search", "workflow-search"] {
        assert!(
            named("search", yes.clone()).is_eligible(name, &no),
            "{name}"
        );
    }
    // One nested level may make tasks, the next one may not.
    let top = of(AgentTools::All);
    check(&top.nested(), &open, true);
    check(&top.nested().nested(), &open, false);
}

#[test]
fn wish_of_the_model_goes_first_and_only_for_eligible_tools() {
    use Disposition::{Awaited, Deferred, Foreground};
    let tool = |disposition| tool(Some(true), disposition);
    let resolve = |policy: &Policy, tool: &Settings, wish: Value| {
        let args = json!({ "q": 1, "_background": wish });
        let resolved = policy.resolve("search", tool, &args).unwrap();
        assert_eq!(
            resolved.args,
            json!({ "q": 1 }),
            "the wish is not for the tool"
        );
        resolved
    };
    let open = Policy::default();
    let of = |wish| resolve(&open, &tool(Some(Deferred)), wish).disposition;

    assert_eq!(of(json!({})), Deferred);
    assert_eq!(of(json!({ "enabled": false })), Foreground);
    assert_eq!(
        of(json!({ "enabled": false, "disposition": "awaited" })),
        Foreground
    );
    assert_eq!(of(json!({ "disposition": "awaited" })), Awaited);
    assert_eq!(of(json!({ "disposition": "foreground" })), Foreground);
    let inline = resolve(&open, &tool(None), json!({ "enabled": true }));
    assert_eq!(inline.disposition, Deferred);
    let awaited = resolve(&open, &tool(Some(Awaited)), json!({ "enabled": true }));
    assert_eq!(awaited.disposition, Awaited);
    let agent = named(
        "search",
        Settings {
            disposition: Some(Awaited),
            ..Settings::default()
        },
    );
    assert_eq!(
        resolve(&agent, &tool(Some(Deferred)), json!({})).disposition,
        Awaited
    );

    let denied = Settings {
        eligible: Some(false),
        ..tool(Some(Deferred))
    };
    let wish = json!({ "disposition": "deferred", "timeout_ms": 5 });
    let inline = resolve(&open, &denied, wish);
    assert_eq!((inline.disposition, inline.timeout), (Foreground, None));
    let disabled = Policy {
        agent: AgentTools::Disabled,
        ..Policy::default()
    };
    let inline = resolve(&disabled, &tool(Some(Deferred)), json!({ "enabled": true }));
    assert_eq!(inline.disposition, Foreground);
}

#[test]
fn limits_are_looked_for_one_by_one_and_wrong_wishes_are_told() {
    let millis = |count| Some(Duration::from_millis(count));
    let said = |timeout, retries| Settings {
        eligible: Some(true),
        timeout,
        retries,
        ..Settings::default()
    };
    let mut policy = named("search", said(millis(2), None));
    policy.default = said(millis(4), Some(4));
    let resolve = |wish: Value| {
        let args = json!({ "_background": wish });
        policy.resolve("search", &said(millis(3), Some(3)), &args)
    };
    let limits = |wish| {
        resolve(wish)
            .map(|call| (call.timeout, call.retries))
            .unwrap()
    };
    assert_eq!(limits(json!({})), (millis(2), Some(3)));
    assert_eq!(limits(json!({ "timeout_ms": 1 })), (millis(1), Some(3)));
    assert_eq!(limits(json!({ "max_retries": 0 })), (millis(2), Some(0)));
    for (wish, part) in [
        (json!("yes"), "an object"),
        (json!({ "enabled": 1 }), "true or false"),
        (
            json!({ "disposition": "later" }),
            "foreground, deferred or awaited",
        ),
        (json!({ "timeout_ms": "5" }), "milliseconds"),
        (json!({ "max_retries": -1 }), "a whole number"),
        (json!({ "mode": "x" }), "fields of its schema"),
    ] {
        let error = resolve(wish).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn schema_and_prompt_tell_of_eligible_tools_only_and_change_nothing() {
    let (yes, no) = (tool(Some(true), None), tool(Some(false), None));
    let deferred = tool(Some(true), Some(Disposition::Deferred));
    let awaited = tool(Some(true), Some(Disposition::Awaited));
    let policy = Policy::default();
    let plain = json!({ "type": "object", "properties": { "q": { "type": "string" } },
        "required": ["q"], "additionalProperties": false });
    let before = plain.clone();

    let advertised = schema(&policy, "search", &yes, &plain);
    assert_eq!(plain, before);
    let properties = &advertised["properties"];
    assert_eq!(
        (&properties["q"], &advertised["required"]),
        (&json!({ "type": "string" }), &json!(["q"]))
    );
    assert_eq!(properties["_background"]["additionalProperties"], false);
    assert_eq!(schema(&policy, "search", &no, &plain), plain);
    for other in [
        json!({ "type": "string" }),
        json!(true),
        json!({ "anyOf": [] }),
    ] {
        assert_eq!(schema(&policy, "search", &yes, &other), other);
    }

    let tools = [("a", &yes), ("b", &no), ("c", &deferred), ("d", &awaited)];
    let prompt = system_prompt(&policy, &tools).unwrap();
    let lines: Vec<_> = prompt
        .lines()
        .filter(|line| line.starts_with("- "))
        .collect();
    assert_eq!(
        lines,
        [
            "- a",
            "- c (in the background by default)",
            "- d (in the background by default; your run waits for it)",
        ]
    );
    assert_eq!(system_prompt(&policy, &[("b", &no)]), None);
    let disabled = Policy {
        agent: AgentTools::Disabled,
        ..Policy::default()
    };
    assert_eq!(system_prompt(&disabled, &tools), None);
}

/// What a loop told, turn by turn.
type Told = Arc<Mutex<Vec<String>>>;
