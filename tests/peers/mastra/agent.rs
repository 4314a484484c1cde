//! An agent whose model is a script: tools inline and in the background, news of them, an answer to
//! one that waits, a sub-agent that is a task itself.

use std::sync::Mutex;

use serde_json::{Value, json};
use understory::models::background::{AgentTools, Disposition, Policy, Settings};
use understory::models::{Pause, Turn, UntilIdle, placeholder};
use understory::{Context, Failure, Manager, ResumeError, Scope, State};

use crate::stage::soon;

async fn search(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(json!({ "found": input["query"] }))
}

async fn deploy(ctx: Context, input: Value) -> Result<Value, Failure> {
    match ctx.resumed() {
        None => Err(ctx.suspend(json!({ "question": "deploy now?" }))),
        Some(answer) => Ok(json!([input, answer])),
    }
}

async fn breaks(_: Context, _: Value) -> Result<Value, Failure> {
    Err(Failure::new("no network"))
}

/// A sub-agent: what its model asks for is below it, and one level further nothing is a task.
async fn researcher(ctx: Context, input: Value) -> Result<Value, Failure> {
    let agent = Policy {
        agent: AgentTools::All,
        ..Policy::default()
    };
    let tool = Settings::default();
    let (own, below) = (agent.nested(), agent.nested().nested());
    let may = [&own, &below].map(|policy| policy.is_eligible("search", &tool));
    let found = ctx.task("part").spawn_kind("search", input).await?.await?;
    Ok(json!({ "may": may, "found": found }))
}

struct Agent {
    manager: Manager,
    told: Mutex<String>,
}

impl Agent {
    fn new() -> Self {
        let manager = Manager::builder()
            .executor("search", search)
            .executor("deploy", deploy)
            .executor("breaks", breaks)
            .executor("researcher", researcher)
            .build()
            .unwrap();
        let told = Mutex::default();
        Self { manager, told }
    }

    /// What the model gets for its call of a tool: the result, or a placeholder.
    async fn call(&self, tool: &str, args: Value) -> String {
        let settings = Settings {
            eligible: Some(true),
            ..Settings::default()
        };
        let call = Policy::default().resolve(tool, &settings, &args).unwrap();
        let task = self.manager.scope("s").task(tool).tool_call("call-1");
        let task = task.spawn_kind(tool, call.args).await.unwrap();
        if call.disposition == Disposition::Foreground {
            return task.await.unwrap().to_string();
        }
        placeholder(task.id())
    }

    async fn turn(&self, turn: Turn) -> Result<(), ResumeError> {
        let Some(text) = turn.continuation else {
            let inline = self.call("search", json!({ "query": "rust" })).await;
            assert_eq!(inline, r#"{"found":"rust"}"#);
            for tool in ["deploy", "breaks", "researcher"] {
                let args = json!({ "query": tool, "_background": { "disposition": "deferred" } });
                let given = self.call(tool, args).await;
                assert!(given.starts_with("Background task started. Task ID: "));
            }
            return Ok(());
        };
        self.told.lock().unwrap().push_str(&text);
        for task in turn.news {
            if task.state == State::Suspended {
                self.manager.resume(task.id, "yes").await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn agent_gets_results_placeholders_news_and_the_end_of_what_it_answered() {
    let agent = Agent::new();
    let idle = UntilIdle::new(Scope::new("s").unwrap());

    let pause = soon(idle.run(&agent.manager, |turn| agent.turn(turn))).await;

    assert_eq!(pause.unwrap().unwrap(), Pause::Idle);
    let told = agent.told.lock().unwrap().clone();
    let place = |text: &str| told.find(text).unwrap_or_else(|| panic!("{text}: {told}"));
    assert!(place("deploy now?") < place(r#"[{"query":"deploy"},"yes"]"#));
    place("no network");
    place(r#""may":[true,false]"#);
    assert_eq!(told.matches("no network").count(), 1, "each end once");
    assert_eq!(agent.manager.live(), 0);
}
