//! An agent loop: a model drives tasks by tools, within its own subtree.
//!
//! ```sh
//! cargo run --example agent_loop
//! ```
//!
//! The model is a script, and everything else is as with a real one: it is offered the tools, calls
//! them by name with JSON, and sees their answers. It starts sub-agents, speaks to them, waits,
//! reads what they wrote, and cancels one. Twice it is refused: a limit is full, so it ends one
//! task before it starts the next; and a task of somebody else does not exist for it, so it looks
//! at its own.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use understory::models::enrich_message_with_running_tasks;
use understory::tools::{self, Rights};
use understory::{Class, Context, Failure, Manager, State};

/// More than the script needs; a model that goes round in circles ends here.
const TURNS_MAX: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::builder()
        .executor("search", search)
        .executor("watch", watch)
        .limit("searches", Class::refuse(1))
        .build()?;
    let scope = manager.scope("thread-42");
    let neighbor = scope.task("neighbor");
    let neighbor = neighbor.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) });
    let neighbor = neighbor.await?;

    let id = neighbor.id().to_string();
    let agent = scope.task("agent").spawn(|ctx| run_agent(ctx, id)).await?;
    let said = agent.await?;
    println!("the agent says: {said}");

    assert_eq!(
        said["found"],
        json!(["hits for code", "code: \"only src/\""])
    );
    assert_eq!(said["refusals"], json!(["limit_reached", "not_found"]));
    // It knew the id, and still could not touch what is not below it.
    assert!(!neighbor.state().is_some_and(State::is_terminal));
    assert_eq!(manager.live(), 1);
    Ok(())
}

/// Lets the model call one tool a turn, until it has nothing left to do.
async fn run_agent(ctx: Context, neighbor: String) -> Result<Value, Failure> {
    let rights = Rights::of_task(&ctx);
    let offered: Vec<_> = tools::definitions().iter().map(|tool| tool.name).collect();
    println!("the model is offered {}", offered.join(", "));
    let mut model = Model::new(&neighbor);
    let mut answer = Value::Null;
    for _ in 0..TURNS_MAX {
        let running = ctx.manager().children(ctx.id());
        let message = enrich_message_with_running_tasks("Go on.", &running);
        let Some((tool, args)) = model.turn(&message, &answer) else {
            return Ok(json!({ "found": model.found, "refusals": model.refusals }));
        };
        println!("> {tool} {args}");
        answer = tools::call(tool, args, &rights).await;
        println!("  {}", summary(&answer));
    }
    Err(Failure::new("the model came to no end"))
}

/// What a reader of this example wants to see of an answer.
fn summary(answer: &Value) -> Value {
    if let Some(tasks) = answer["tasks"].as_array() {
        return tasks.iter().map(|task| task["path"].clone()).collect();
    }
    let parts = [
        "/error/message",
        "/output",
        "/path",
        "/message_number",
        "/done/0/outcome",
    ];
    let part = parts.iter().find_map(|part| answer.pointer(part));
    part.unwrap_or(answer).clone()
}

/// Writes what it found, then something on what it is told.
async fn search(ctx: Context, topic: Value) -> Result<Value, Failure> {
    let topic = topic.as_str().unwrap_or_default();
    ctx.output(format!("hits for {topic}")).await?;
    let hint = ctx.recv().await.map(|message| message.body);
    let hint = hint.unwrap_or_default();
    ctx.output(format!("{topic}: {hint}")).await?;
    Ok(json!("searched"))
}

/// Never ends by itself.
async fn watch(ctx: Context, _: Value) -> Result<Value, Failure> {
    Ok(json!(ctx.cancelled().await.reason))
}

/// A tool and its arguments.
type Call = (&'static str, Value);

/// A script that changes its plan when it is refused.
struct Model {
    plan: VecDeque<Call>,
    last: Option<Call>,
    /// A path is good as long as its task lives; an id stays, so it keeps those.
    ids: BTreeMap<String, String>,
    found: Value,
    refusals: Vec<String>,
}

impl Model {
    fn new(neighbor: &str) -> Self {
        let search = |topic: &str| {
            let limits = ["searches"];
            json!({ "kind": "search", "input": topic, "name": topic, "limits": limits })
        };
        let watch = json!({ "kind": "watch", "input": "releases", "name": "news" });
        let meddle = json!({ "id": neighbor, "reason": "in my way" });
        let plan = [
            ("task_spawn", watch),
            ("task_spawn", search("docs")),
            ("task_spawn", search("code")), // the limit allows one search at a time
            ("task_cancel", meddle),
            ("task_send", json!({ "to": "code", "body": "only src/" })),
            ("task_wait", json!({ "targets": ["code"] })),
            ("task_read", json!({ "id": "code" })),
        ];
        Self {
            plan: plan.into(),
            last: None,
            ids: BTreeMap::new(),
            found: Value::Null,
            refusals: Vec::new(),
        }
    }

    fn turn(&mut self, message: &str, answer: &Value) -> Option<Call> {
        match (self.last.take(), answer["error"]["code"].as_str()) {
            (Some(refused), Some(code)) => self.change_plan(code, refused),
            (Some(call), None) => self.learn(&call, answer),
            (None, _) => {}
        }
        if self.plan.is_empty() && message.contains("watch news") {
            // Its message says that this still runs.
            let cancel = json!({ "id": "news", "reason": "all is found" });
            self.plan.push_back(("task_cancel", cancel));
        }
        self.last = self.plan.pop_front();
        let (tool, args) = self.last.clone()?;
        Some((tool, self.with_ids(args)))
    }

    /// The code of a refusal decides what is done instead.
    fn change_plan(&mut self, code: &str, refused: Call) {
        self.refusals.push(code.to_owned());
        let instead = match code {
            "limit_reached" => vec![
                ("task_send", json!({ "to": "docs", "body": "that will do" })),
                ("task_wait", json!({ "targets": ["docs"] })),
                refused,
            ],
            "not_found" => vec![("task_list", json!({ "status": "live" }))],
            _ => return self.plan.clear(),
        };
        for call in instead.into_iter().rev() {
            self.plan.push_front(call);
        }
    }

    fn learn(&mut self, (tool, args): &Call, answer: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match *tool {
            "task_spawn" => _ = self.ids.insert(text(&args["name"]), text(&answer["id"])),
            "task_read" => self.found = answer["output"].clone(),
            _ => {}
        }
    }

    /// The script speaks of names, and tools of ids.
    fn with_ids(&self, mut args: Value) -> Value {
        for place in ["/id", "/to", "/targets/0"] {
            if let Some(Value::String(name)) = args.pointer_mut(place)
                && let Some(id) = self.ids.get(name.as_str())
            {
                name.clone_from(id);
            }
        }
        args
    }
}
