//! What a model is told of each tool: its name, what it is for, the schema of its arguments.
//!
//! *Not here*: what a tool does (`call`).

use serde_json::{Value, json};

/// A tool as a model is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The JSON schema of its arguments.
    pub input_schema: Value,
}

/// Every tool.
///
/// ```
/// let names: Vec<_> = understory::tools::definitions().iter().map(|tool| tool.name).collect();
/// assert!(names.contains(&"task_spawn"));
/// ```
pub fn definitions() -> Vec<Tool> {
    vec![
        spawn(),
        send(),
        wait(),
        list(),
        read(),
        respond(),
        interrupt(),
        cancel(),
        suspend(),
        resume(),
    ]
}

fn tool(
    name: &'static str,
    description: &'static str,
    properties: &Value,
    required: &[&str],
) -> Tool {
    let input_schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    Tool {
        name,
        description,
        input_schema,
    }
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn number(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn task() -> Value {
    text("The id of a task below you, or its path, also after its end.")
}

fn spawn() -> Tool {
    tool(
        "task_spawn",
        "Starts a task in the background and answers with its id and path. It goes on while you do \
         other things; task_wait tells when it has ended.",
        &json!({
            "kind": text("What sort of work it is; it decides what runs."),
            "input": { "description": "The input of that work." },
            "name": text("A name, unique among the live tasks; it becomes part of the path."),
            "parent": text("The task to hang it below; yours by default."),
            "on_parent_close": {
                "enum": ["wait", "cancel", "detach"],
                "description": "What becomes of it when the task above it ends.",
            },
            "limits": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Limit classes of which it takes a slot while it runs.",
            },
            "budget": {
                "type": "object",
                "additionalProperties": { "type": "integer", "minimum": 0 },
                "description": "How much it and everything below it may use, by counter, as \
                                {\"tokens\": 1000}; it is cancelled when that is used up.",
            },
            "timeout_ms": number("The longest time of one attempt; 0 means no limit."),
            "key": text("Asking again with the same key gives the same task."),
            "wait_ms": number("Wait so long for its end before answering; at most an hour."),
        }),
        &["kind", "input"],
    )
}

fn send() -> Tool {
    tool(
        "task_send",
        "Puts a message into the inbox of a task, which reads it when it next looks.",
        &json!({
            "to": text("The id or path of a task below you, or \"parent\" or \"root\"."),
            "body": { "description": "The message." },
            "mode": {
                "enum": ["queue", "trigger", "interrupt"],
                "description": "Whether it only waits in the inbox (queue, the default), also \
                                wakes a suspended task (trigger), or also interrupts what \
                                the task does now (interrupt; only of a task below you).",
            },
        }),
        &["to", "body"],
    )
}

fn wait() -> Tool {
    tool(
        "task_wait",
        "Waits until tasks have ended, are suspended, or have asked something (those are in \
         \"asking\", with their questions; task_respond answers). Give the seq of the answer as \
         after_seq next time: then no end is missed or told twice. Nothing is cancelled when \
         time runs out.",
        &json!({
            "targets": {
                "type": "array",
                "items": task(),
                "description": "The tasks; all that live below you by default.",
            },
            "mode": { "enum": ["any", "all"], "description": "Whether one is enough (any)." },
            "timeout_ms": number("How long to wait; 30 seconds by default, at most an hour."),
            "after_seq": number("Leave out what ended by this number of the log."),
        }),
        &[],
    )
}

fn list() -> Tool {
    tool(
        "task_list",
        "Lists the tasks below you, oldest first.",
        &json!({
            "prefix": text("Only the task of this path and those below it."),
            "status": text("Only those in this state, or \"live\"."),
            "kind": text("Only those of this kind."),
            "limit": number("At most so many, 50 by default and 500 at most."),
            "cursor": text("The cursor of the page before, to go on after it."),
        }),
        &[],
    )
}

fn read() -> Tool {
    tool(
        "task_read",
        "Reads what a task has written so far, page by page, and its result once it has ended.",
        &json!({
            "id": task(),
            "after": number("The number of the last piece that you have; \"after\" in an answer."),
            "limit": number("At most so many pieces, 50 by default."),
        }),
        &["id"],
    )
}

fn respond() -> Tool {
    tool(
        "task_respond",
        "Answers a question that a task has asked. The open questions of a task are shown with it, \
         by their keys; the first answer counts.",
        &json!({
            "id": task(),
            "key": text("The key of the question."),
            "value": { "description": "The answer." },
        }),
        &["id", "key", "value"],
    )
}

fn interrupt() -> Tool {
    tool(
        "task_interrupt",
        "Interrupts what a task does now; it goes on afterwards and stays usable. To end it, use \
         task_cancel.",
        &json!({
            "id": task(),
            "reason": text("Why, or what to do instead; the task sees it."),
        }),
        &["id", "reason"],
    )
}

fn suspend() -> Tool {
    tool(
        "task_suspend",
        "Suspends your own task when you end your turn, until somebody resumes it with data. Say \
         what you wait for, and end your turn then; what you end it with is not kept.",
        &json!({
            "payload": { "description": "What you wait for, for those who can resume you." },
        }),
        &["payload"],
    )
}

fn cancel() -> Tool {
    tool(
        "task_cancel",
        "Cancels a task for good, and waits until it has stopped.",
        &json!({
            "id": text("The id or path of a task below you, or \"self\" for your own task."),
            "scope": {
                "enum": ["task", "tree"],
                "description": "Whether all tasks below it are meant, too (tree, the default).",
            },
            "reason": text("Why; the task sees it."),
            "grace_ms": number("How long it may go on before it is forced; at most an hour."),
        }),
        &["id", "reason"],
    )
}

fn resume() -> Tool {
    tool(
        "task_resume",
        "Lets a suspended task go on with an answer.",
        &json!({
            "id": task(),
            "data": { "description": "What it was waiting for." },
        }),
        &["id"],
    )
}
