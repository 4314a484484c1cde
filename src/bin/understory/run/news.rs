//! Events as people read them.
//!
//! *Not here*: where they are shown (`draw`), events as JSON (the library).

use std::time::Duration;

use serde_json::Value;
use understory::{Event, Limit, Manager, Outcome, Payload, State, Stop, Wait, What};

use super::crew::Crew;
use crate::draw::{Sight, duration_text};
use crate::process::StreamName;

/// What is to be seen of an event, if anything.
pub(super) fn sight(event: &Event, crew: &Crew, manager: &Manager) -> Option<Sight> {
    let task = crew.place(event.task)?;
    let state = |note: String| {
        Some(Sight::State {
            task,
            state: event.state,
            note,
        })
    };
    let note = |text: String| Some(Sight::Note { task, text });
    match &event.what {
        What::Accepted(wait) => state(wait.as_ref().map(wait_text).unwrap_or_default()),
        What::Pending(wait) | What::Waiting(wait) => state(wait_text(wait)),
        What::Started if event.attempt > 1 => state(format!("attempt {}", event.attempt)),
        What::Started | What::Unparked | What::Resumed | What::Suspended(_) => state(String::new()),
        What::StopAsked(stop) => state(stop.reason.to_string()),
        What::Settled { outcome, .. } => {
            let record = manager.get(event.task);
            let stop = record.as_ref().and_then(|record| record.stop.as_deref());
            state(outcome_text(outcome, stop))
        }
        What::AttemptFailed(fault) => note(format!("attempt {} failed: {fault}", event.attempt)),
        What::Progress(progress) => Some(Sight::Progress {
            task,
            text: text_of(progress),
        }),
        What::Output(piece) => output(task, piece),
        What::Emitted { label, payload } => {
            let payload = value_of(payload);
            let field = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
            note(format!("{label} from {}: {}", field("from"), field("text")))
        }
        What::Detached => note("detached from its parent".to_owned()),
        What::Aborted | What::Undelivered(_) | What::BodyStopped => None,
    }
}

fn output(task: usize, piece: &Payload) -> Option<Sight> {
    let piece = value_of(piece);
    let stream = match piece["stream"].as_str()? {
        "stderr" => StreamName::Stderr,
        _ => StreamName::Stdout,
    };
    let text = piece["text"].as_str()?.to_owned();
    Some(Sight::Output {
        task,
        stream,
        text,
        is_cut: piece["cut"] == true,
    })
}

fn wait_text(wait: &Wait) -> String {
    match wait {
        Wait::After(1) => "for 1 task before it".to_owned(),
        Wait::After(count) => format!("for {count} tasks before it"),
        Wait::ParentStart => "for its parent".to_owned(),
        Wait::Slot => "for a slot".to_owned(),
        Wait::Backoff(_) => "for another attempt".to_owned(),
        Wait::Children => "for its children".to_owned(),
        Wait::Task(_) | Wait::Parked | Wait::Resume(_) => String::new(),
    }
}

fn outcome_text(outcome: &Outcome, stop: Option<&Stop>) -> String {
    let reason = || stop.map(|stop| stop.reason.to_string()).unwrap_or_default();
    match outcome {
        Outcome::Completed(_) => String::new(),
        Outcome::Failed(fault) => fault.to_string(),
        Outcome::TimedOut {
            limit: Limit::Attempt,
            ..
        } => "it took too long".to_owned(),
        Outcome::TimedOut {
            limit: Limit::Idle, ..
        } => "it was silent too long".to_owned(),
        Outcome::Cancelled { .. } => reason(),
        Outcome::Interrupted(evidence) => evidence.to_string(),
    }
}

/// The end of the run in one line.
pub(super) fn summary(states: &[Option<State>], took: Duration) -> String {
    let mut parts = Vec::new();
    for state in State::ALL {
        let count = states.iter().filter(|other| **other == Some(state)).count();
        if count > 0 {
            parts.push(format!("{count} {}", state.as_str().replace('_', " ")));
        }
    }
    format!("{} in {}", parts.join(", "), duration_text(took))
}

fn text_of(payload: &Payload) -> String {
    match value_of(payload) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What this program itself wrote, so it is JSON.
fn value_of(payload: &Payload) -> Value {
    serde_json::from_str(payload.as_json()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_by_state() {
        let states = [State::Completed, State::TimedOut, State::Completed].map(Some);
        let took = Duration::from_millis(2_100);
        assert_eq!(summary(&states, took), "2 completed, 1 timed out in 2.1 s");
    }
}
