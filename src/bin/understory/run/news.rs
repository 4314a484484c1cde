//! Events as people read them.
//!
//! *Not here*: where they are shown (`draw`), events as JSON (the library).

use std::collections::BTreeMap;
use std::time::Duration;

use understory::{Cause, Event, Limit, Manager, Outcome, Payload, State, Stop, Wait, What};

use super::crew::Crew;
use crate::draw::{Sight, duration_text};
use crate::process::StreamName;

/// What is to be seen of an event, if anything.
pub(super) fn sight(event: &Event, crew: &Crew, manager: &Manager) -> Option<Sight> {
    let task = crew.by_id(event.task)?.place;
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
        What::Started | What::Unparked | What::Resumed => state(String::new()),
        What::Suspended(payload) => state(text_of(payload)),
        What::StopAsked(stop) => state(stop_text(stop, crew)),
        What::Settled { outcome, .. } => {
            let record = manager.get(event.task);
            let stop = record.as_ref().and_then(|record| record.stop.as_deref());
            let why = stop.map(|stop| stop_text(stop, crew)).unwrap_or_default();
            state(outcome_text(outcome, why))
        }
        What::AttemptFailed(fault) => note(format!("attempt {} failed: {fault}", event.attempt)),
        What::Restarting { fault, .. } => {
            let how = fault.as_ref().map(ToString::to_string);
            let how = how.unwrap_or_else(|| "it ended".to_owned());
            note(format!("is restarted: {how}"))
        }
        What::Progress(progress) => Some(Sight::Progress {
            task,
            text: text_of(progress),
        }),
        What::Output(piece) => output(task, piece),
        What::Asked { key, question } => note(format!("asks {key}: {}", text_of(question))),
        What::Answered { key, .. } => note(format!("was answered {key}")),
        What::Unanswered(keys) => note(format!("{} questions stay open", keys.len())),
        What::MessageKept { message, .. } => note(format!("message {message} is kept for it")),
        What::MessageAcknowledged(message) => note(format!("is done with message {message}")),
        What::InterruptAsked(interrupt) => note(format!("interrupted: {}", interrupt.reason)),
        What::Emitted { label, payload } => {
            let payload = payload.to_value();
            let field = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
            note(format!(
                "{} from {}: {}",
                label.replace('_', " "),
                field("from"),
                field("text")
            ))
        }
        What::Referred(to) => note(format!("is {to} elsewhere")),
        What::Unregistered => note("let go of by its holder".to_owned()),
        What::HookFailed(why) => note(format!("a hook failed: {why}")),
        What::CallbackFailed(why) => note(format!("could not be cancelled: {why}")),
        What::Detached => note("detached from its parent".to_owned()),
        What::Transferred { to, .. } => note(format!("moved to scope {to}")),
        What::BudgetExhausted(charge) => note(format!("used up its {}", charge.counter)),
        What::Aborted
        | What::AbandonAsked(_)
        | What::Granted { .. }
        | What::Revoked { .. }
        | What::Charged(_)
        | What::OutputKept { .. }
        | What::Undelivered(_)
        | What::BodyStopped => None,
    }
}

fn output(task: usize, piece: &Payload) -> Option<Sight> {
    let piece = piece.to_value();
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
        Wait::Executor => "for its executor".to_owned(),
        Wait::Slot => "for a slot".to_owned(),
        Wait::Backoff(_) => "for another attempt".to_owned(),
        Wait::Children => "for its children".to_owned(),
        Wait::Hook => "for its hooks".to_owned(),
        Wait::Task(_) | Wait::Parked | Wait::Answer | Wait::Resume(_) => String::new(),
    }
}

/// Why a task was asked to stop, with names instead of ids.
fn stop_text(stop: &Stop, crew: &Crew) -> String {
    let name = |id| {
        crew.by_id(id)
            .map_or_else(|| "a task".to_owned(), |member| member.name())
    };
    match stop.cause {
        Cause::ParentEnded(parent) => format!("its parent {} ended", name(parent)),
        Cause::Dependency(task) => {
            format!("{}, which it comes after, did not complete", name(task))
        }
        Cause::Timeout(limit) => limit_text(limit).to_owned(),
        Cause::Asked | Cause::Ancestor(_) | Cause::Run | Cause::Budget | Cause::Shutdown => {
            stop.reason.to_string()
        }
    }
}

fn outcome_text(outcome: &Outcome, why_stopped: String) -> String {
    match outcome {
        Outcome::Completed(_) => String::new(),
        Outcome::Failed(fault) => fault.to_string(),
        Outcome::TimedOut { limit, .. } => limit_text(*limit).to_owned(),
        Outcome::Cancelled { .. } => why_stopped,
        Outcome::Interrupted(evidence) => evidence.to_string(),
    }
}

fn limit_text(limit: Limit) -> &'static str {
    match limit {
        Limit::Attempt => "it took too long",
        Limit::Idle => "it was silent too long",
        Limit::Liveness => "it was found stuck",
        Limit::External => "it was not heard of for too long",
        Limit::Lifetime => "its whole time is over",
        Limit::Queue => "it waited for a slot too long",
        Limit::Suspension => "it was suspended too long",
    }
}

/// The end of the run in one line.
pub(super) fn summary(counts: &BTreeMap<State, usize>, took: Duration) -> String {
    let mut parts = Vec::new();
    for state in State::ALL {
        let count = counts.get(&state).copied().unwrap_or(0);
        if count > 0 {
            parts.push(format!("{count} {}", state.as_str().replace('_', " ")));
        }
    }
    format!("{} in {}", parts.join(", "), duration_text(took))
}

fn text_of(payload: &Payload) -> String {
    let value = payload.to_value();
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_by_state() {
        let counts = BTreeMap::from([(State::TimedOut, 1), (State::Completed, 2)]);
        let took = Duration::from_millis(2_100);
        assert_eq!(summary(&counts, took), "2 completed, 1 timed out in 2.1 s");
    }
}
