//! Answers of a run as people read them.
//!
//! # Invariants
//! 1. What a task wrote cannot steer the terminal of whoever looks at records and events. Only
//!    `spawn --wait` hands output through as it is.
//!
//! *Not here*: asking for them (`verbs`).

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::draw::{duration_text, harmless, json_line, write_all};

/// Prints a line at once, so that a reader of a pipe sees it when it happens.
pub(super) fn line(text: &str) -> io::Result<()> {
    Ok(write_all(&io::stdout(), format!("{text}\n").as_bytes())?)
}

pub(super) fn json(value: &Value) -> io::Result<()> {
    line(&json_line(value))
}

/// A piece of the output of a task, to where the task wrote it.
pub(super) fn output(piece: &Value) -> io::Result<()> {
    let text = piece["text"].as_str().unwrap_or_default();
    let end = if piece["cut"] == true { "" } else { "\n" };
    if piece["stream"] == "stderr" {
        return Ok(write_all(&io::stderr(), format!("{text}{end}").as_bytes())?);
    }
    Ok(write_all(&io::stdout(), format!("{text}{end}").as_bytes())?)
}

/// A task of a list.
pub(super) fn row(record: &Value) -> io::Result<()> {
    let kind = record["kind"].as_str().unwrap_or("-");
    line(&format!(
        "{}  {:<16}  {kind:<12}  {}",
        word(record, "id"),
        word(record, "state"),
        word(record, "path")
    ))
}

/// How a task stands that was waited for: its state, or what it asks.
pub(super) fn standing(record: &Value) -> String {
    let path = word(record, "path");
    let open: Vec<&str> = open_questions(record)
        .map(|(key, _)| key.as_str())
        .collect();
    if open.is_empty() || !record["ended_at_us"].is_null() {
        return format!("{path} {}", word(record, "state"));
    }
    harmless(&format!("{path} asks {}", open.join(" ")))
}

fn open_questions(record: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let all = record["questions"].as_object().into_iter().flatten();
    all.filter(|(_, question)| question["answer"].is_null())
}

/// The tasks, each below its parent. Parents come before what is below them.
pub(super) fn tree(records: &[Value]) -> Vec<String> {
    let ids = records.iter().enumerate();
    let places: HashMap<&str, usize> = ids.map(|(at, record)| (word(record, "id"), at)).collect();
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); records.len()];
    let mut roots = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let parent = record["parent"].as_str();
        match parent.and_then(|parent| places.get(parent)) {
            Some(parent) => below[*parent].push(at),
            None => roots.push(at),
        }
    }
    let mut lines = Vec::with_capacity(records.len());
    // The stack holds what is still to be drawn, the next one last.
    let mut stack: Vec<(usize, String, String)> = roots
        .into_iter()
        .rev()
        .map(|root| (root, String::new(), String::new()))
        .collect();
    while let Some((at, branch, indent)) = stack.pop() {
        lines.push(format!("{branch}{}", leaf(&records[at])));
        for (place, child) in below[at].iter().enumerate().rev() {
            let (corner, more) = if place + 1 == below[at].len() {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            stack.push((
                *child,
                format!("{indent}{corner}"),
                format!("{indent}{more}"),
            ));
        }
    }
    lines
}

fn leaf(record: &Value) -> String {
    let path = word(record, "path");
    let name = path.rsplit('/').next().unwrap_or(path);
    let note = record_note(record);
    let separator = if note.is_empty() { "" } else { ": " };
    format!("{name} {}{separator}{note}", word(record, "state"))
}

/// Why it is as it is, or what it said last.
fn record_note(record: &Value) -> String {
    let why = wait(&record["wait"]).or_else(|| outcome(&record["outcome"]));
    let why = why.or_else(|| Some(record["stop"]["reason"].as_str()?.to_owned()));
    let said = || Some(text(&record["progress"])).filter(|said| !said.is_empty());
    harmless(&why.or_else(said).unwrap_or_default())
}

/// A record, line by line.
pub(super) fn record(record: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let mut tell = |key: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{key:<12} {}", harmless(&value)));
        }
    };
    tell("path", text(&record["path"]));
    for key in ["id", "state", "kind", "parent"] {
        tell(key, text(&record[key]));
    }
    let command = record["command"].as_array().into_iter().flatten();
    tell("command", command.map(text).collect::<Vec<_>>().join(" "));
    for (key, value) in record["labels"].as_object().into_iter().flatten() {
        tell("label", format!("{key}={}", text(value)));
    }
    tell("waits", wait(&record["wait"]).unwrap_or_default());
    for (key, question) in open_questions(record) {
        tell("asks", format!("{key}: {}", text(&question["question"])));
    }
    tell("attempt", text(&record["attempt"]));
    tell("progress", text(&record["progress"]));
    tell("outcome", outcome(&record["outcome"]).unwrap_or_default());
    if let Some(reason) = record["stop"]["reason"].as_str() {
        let by = text(&record["stop"]["by"]);
        tell("stopped", format!("{reason} (by {by})"));
    }
    if record["abandoned"] == true {
        tell("abandoned", "its process did not end in time".to_owned());
    }
    if record["undelivered"]
        .as_u64()
        .is_some_and(|count| count > 0)
    {
        tell("undelivered", text(&record["undelivered"]));
    }
    let between = |from: &str, to: &str| {
        let micros = record[to].as_u64()?.saturating_sub(record[from].as_u64()?);
        Some(duration_text(Duration::from_micros(micros)))
    };
    tell(
        "waited",
        between("created_at_us", "started_at_us").unwrap_or_default(),
    );
    tell(
        "ran",
        between("started_at_us", "ended_at_us").unwrap_or_default(),
    );
    lines
}

/// An event in one line.
pub(super) fn event(event: &Value) -> String {
    if event["event"] == "lagged" {
        return format!("lagged: {} events are no longer kept", event["missed"]);
    }
    let name = word(event, "event");
    let data = &event["data"];
    let note = match name {
        "output" => format!("{}: {}", text(&data["stream"]), text(&data["text"])),
        "progress" | "suspended" => text(data),
        "emitted" => {
            let payload = &data["payload"];
            let label = text(&data["type"]).replace('_', " ");
            format!(
                "{label} from {}: {}",
                text(&payload["from"]),
                text(&payload["text"])
            )
        }
        "asked" => format!("{}: {}", text(&data["key"]), text(&data["question"])),
        "answered" => text(&data["key"]),
        "stop_asked" => text(&data["reason"]),
        "attempt_failed" => text(&data["message"]),
        "settled" => {
            let how = outcome(&data["outcome"]).unwrap_or_default();
            let separator = if how.is_empty() { "" } else { ": " };
            format!("{}{separator}{how}", word(event, "state"))
        }
        _ => wait(&data["wait"]).unwrap_or_default(),
    };
    let separator = if note.is_empty() { "" } else { " " };
    let path = word(event, "path");
    harmless(&format!("{} {path} {name}{separator}{note}", event["seq"]))
}

fn wait(wait: &Value) -> Option<String> {
    Some(match wait["on"].as_str()? {
        "after" => format!("for {} before it", wait["unmet"]),
        "parent_start" => "for its parent".to_owned(),
        "slot" => "for a slot".to_owned(),
        "backoff" => "for another attempt".to_owned(),
        "children" => "for its children".to_owned(),
        "task" => format!("for {}", text(&wait["task"])),
        "answer" => "for an answer".to_owned(),
        "resume" => format!("to be resumed: {}", text(&wait["payload"])),
        other => other.replace('_', " "),
    })
}

fn outcome(outcome: &Value) -> Option<String> {
    Some(match outcome["is"].as_str()? {
        "failed" => text(&outcome["error"]["message"]),
        "timed_out" => format!("its {} limit", text(&outcome["limit"])),
        "interrupted" => text(&outcome["evidence"]),
        _ => return None,
    })
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A value as text; nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
