//! Events and records as JSON: the shapes that every door shows. Golden files hold them.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::kernel::{
    AbandonRequest, Budget, Budgets, Cause, Counter, Event, Fault, FaultKind, Grant, Grants,
    KeptMessage, Key, Limit, Outcome, Payload, Question, Questions, Record, Requester, Scope, Stop,
    Visibility, Wait, What,
};

impl Payload {
    /// The value that this JSON is.
    ///
    /// # Errors
    /// The JSON is that of another type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_json())
    }

    /// The value; null if it is no JSON.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(self.as_json()).unwrap_or(Value::Null)
    }
}

impl Event {
    /// The event as a JSON object.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("seq".into(), self.seq.0.into());
        object.insert("at_us".into(), self.at.as_micros().into());
        object.insert("event".into(), self.what.name().into());
        object.insert("task".into(), self.task.to_string().into());
        if self.incarnation > 1 {
            object.insert("incarnation".into(), self.incarnation.into());
        }
        object.insert("task_seq".into(), self.task_seq.into());
        object.insert("root".into(), self.root.to_string().into());
        object.insert("scope".into(), self.spec.scope.as_str().into());
        if let Some(name) = &self.spec.name {
            object.insert("name".into(), name.as_str().into());
        }
        if let Some(kind) = &self.spec.kind {
            object.insert("kind".into(), kind.as_str().into());
        }
        object.insert("attempt".into(), self.attempt.into());
        object.insert("state".into(), self.state.as_str().into());
        if let Some(data) = data(&self.what) {
            object.insert("data".into(), data);
        }
        Value::Object(object)
    }
}

fn data(what: &What) -> Option<Value> {
    Some(match what {
        What::Accepted(on) => json!({ "wait": on.as_ref().map(wait) }),
        What::Pending(on) | What::Waiting(on) => json!({ "wait": wait(on) }),
        What::Suspended(payload) | What::Progress(payload) | What::Output(payload) => {
            payload.to_value()
        }
        What::Emitted { label, payload } => {
            json!({ "type": **label, "payload": payload.to_value() })
        }
        What::Asked { key, question } => {
            json!({ "key": key.as_str(), "question": question.to_value() })
        }
        What::Answered { key, answer } => json!({
            "key": key.as_str(), "answer": answer.value.to_value(), "by": requester(&answer.by),
        }),
        What::Unanswered(keys) => {
            json!({ "keys": keys.iter().map(Key::as_str).collect::<Vec<_>>() })
        }
        What::MessageKept { message, from } => {
            json!({ "message": message.to_string(), "from": from.map(|id| id.to_string()) })
        }
        What::MessageAcknowledged(message) => json!({ "message": message.to_string() }),
        What::InterruptAsked(interrupt) => {
            json!({ "reason": *interrupt.reason, "by": requester(&interrupt.by) })
        }
        What::StopAsked(asked) => stop(asked),
        What::AbandonAsked(asked) => abandon(asked),
        What::AttemptFailed(why) => fault(why),
        What::Restarting {
            restarts,
            fault: why,
        } => json!({ "restarts": restarts, "error": why.as_ref().map(fault) }),
        What::Settled {
            outcome: how,
            undelivered,
            abandoned,
        } => json!({
            "outcome": outcome(how), "undelivered": undelivered, "abandoned": abandoned,
        }),
        What::Transferred { from, to } => json!({ "from": from.as_str(), "to": to.as_str() }),
        What::Granted { to, grant } => json!({ "to": to.as_str(), "grant": grant.as_str() }),
        What::Revoked { from } => json!({ "from": from.as_str() }),
        What::Charged(charge) | What::BudgetExhausted(charge) => json!({
            "counter": charge.counter.as_str(), "amount": charge.amount,
            "by": charge.by.to_string(), "used": charge.used, "limit": charge.limit,
        }),
        What::Referred(to) => json!({ "external_ref": **to }),
        What::CallbackFailed(why) | What::HookFailed(why) => json!({ "why": **why }),
        What::OutputKept { bytes, head, .. } => json!({ "bytes": bytes, "head": **head }),
        What::Undelivered(count) => json!({ "undelivered": count }),
        What::Started
        | What::Unparked
        | What::Resumed
        | What::Aborted
        | What::Unregistered
        | What::Detached
        | What::BodyStopped => return None,
    })
}

impl Record {
    /// The record as a JSON object.
    pub fn to_json(&self) -> Value {
        let mut shape = json!({
            "id": self.id.to_string(),
            "incarnation": self.incarnation,
            "scope": self.spec.scope.as_str(),
            "name": self.spec.name.as_ref().map(crate::kernel::Name::as_str),
            "kind": self.spec.kind.as_ref().map(crate::kernel::Kind::as_str),
            "description": self.spec.description.as_deref(),
            "hidden": self.spec.visibility == Visibility::Hidden,
            "labels": self.spec.labels.iter().map(|(key, value)| (key.to_string(), json!(**value)))
                .collect::<Map<_, _>>(),
            "parent": self.parent.map(|id| id.to_string()),
            "root": self.root.to_string(),
            "state": self.state.as_str(),
            "wait": self.wait.as_ref().map(wait),
            "attempt": self.attempt,
            "restarts": self.restarts,
            "priority": self.spec.priority,
            "inline": self.inline,
            "budgets": budgets(&self.budgets),
            "grants": self.grants.as_deref().map(grants),
            "stop": self.stop.as_deref().map(stop),
            "abandon": self.abandon.as_deref().map(abandon),
            "suspension": self.suspension.as_ref().map(Payload::to_value),
            "outcome": self.outcome.as_deref().map(outcome),
            "abandoned": self.is_abandoned(),
            "questions": self.questions.as_deref().map(questions),
            "messages": self.unacknowledged().iter().map(message).collect::<Vec<_>>(),
            "progress": self.progress.as_ref().map(Payload::to_value),
            "external_ref": self.external_ref.as_deref(),
            "undelivered": self.undelivered,
            "created_at_us": self.created_at.as_micros(),
            "started_at_us": self.started_at.map(crate::kernel::Timestamp::as_micros),
            "suspended_at_us": self.suspended_at.map(crate::kernel::Timestamp::as_micros),
            "waits_since_us": self.waits_since.map(crate::kernel::Timestamp::as_micros),
            "ended_at_us": self.ended_at.map(crate::kernel::Timestamp::as_micros),
            "events": self.events,
            "seq": self.seq.0,
        });
        if let Some(trace) = &self.spec.trace {
            shape["traceparent"] = trace.traceparent().into();
            shape["tracestate"] = trace.tracestate().into();
        }
        shape
    }
}

fn budgets(budgets: &Budgets) -> Value {
    let row = |(counter, budget): (&Counter, &Budget)| {
        let shape = json!({
            "limit": budget.limit, "used": budget.used, "exhausted": budget.exhausted,
        });
        (counter.to_string(), shape)
    };
    Value::Object(budgets.iter().map(row).collect())
}

fn wait(on: &Wait) -> Value {
    match on {
        Wait::After(unmet) => json!({ "on": "after", "unmet": unmet }),
        Wait::ParentStart => json!({ "on": "parent_start" }),
        Wait::Executor => json!({ "on": "executor" }),
        Wait::Slot => json!({ "on": "slot" }),
        Wait::Backoff(due) => json!({ "on": "backoff", "due_us": due.as_micros() }),
        Wait::Task(task) => json!({ "on": "task", "task": task.to_string() }),
        Wait::Parked => json!({ "on": "parked" }),
        Wait::Answer => json!({ "on": "answer" }),
        Wait::Children => json!({ "on": "children" }),
        Wait::Hook => json!({ "on": "hook" }),
        Wait::Resume(payload) => json!({ "on": "resume", "payload": payload.to_value() }),
    }
}

fn stop(asked: &Stop) -> Value {
    let (cause, task) = match asked.cause {
        Cause::Asked => ("asked", None),
        Cause::Ancestor(task) => ("ancestor", Some(task)),
        Cause::ParentEnded(task) => ("parent_ended", Some(task)),
        Cause::Dependency(task) => ("dependency", Some(task)),
        Cause::Shutdown => ("shutdown", None),
        Cause::Run => ("run", None),
        Cause::Budget => ("budget", None),
        Cause::Timeout(Limit::Attempt) => ("attempt_timeout", None),
        Cause::Timeout(Limit::Idle) => ("idle_timeout", None),
        Cause::Timeout(Limit::Liveness) => ("liveness_timeout", None),
        Cause::Timeout(Limit::External) => ("external_timeout", None),
        Cause::Timeout(Limit::Lifetime) => ("lifetime_timeout", None),
        Cause::Timeout(Limit::Queue) => ("queue_timeout", None),
        Cause::Timeout(Limit::Suspension) => ("suspension_timeout", None),
    };
    json!({
        "cause": cause,
        "task": task.map(|id| id.to_string()),
        "reason": *asked.reason,
        "by": requester(&asked.by),
        "grace_until_us": asked.grace_until.as_micros(),
    })
}

fn grants(all: &Grants) -> Value {
    let one = |(scope, grant): (&Scope, &Grant)| (scope.to_string(), grant.as_str().into());
    Value::Object(all.iter().map(one).collect())
}

fn abandon(asked: &AbandonRequest) -> Value {
    json!({
        "reason": *asked.reason,
        "by": requester(&asked.by),
        "at_us": asked.at.as_micros(),
    })
}

fn requester(by: &Requester) -> String {
    match by {
        Requester::Host => "host".to_owned(),
        Requester::Task(task) => task.to_string(),
        Requester::Manager => "manager".to_owned(),
        Requester::Token => "token".to_owned(),
    }
}

fn message(kept: &KeptMessage) -> Value {
    json!({
        "id": kept.id.to_string(),
        "from": kept.from.map(|id| id.to_string()),
        "body": kept.body.to_value(),
        "at_us": kept.at.as_micros(),
    })
}

fn questions(all: &Questions) -> Value {
    let one = |question: &Question| {
        json!({
            "question": question.asked.to_value(),
            "asked_at_us": question.asked_at.as_micros(),
            "answer": question.answer.as_ref().map(|answer| json!({
                "value": answer.value.to_value(),
                "by": requester(&answer.by),
                "at_us": answer.at.as_micros(),
            })),
        })
    };
    let all = all.iter();
    all.map(|(key, question)| (key.to_string(), one(question)))
        .collect::<Map<_, _>>()
        .into()
}

fn fault(why: &Fault) -> Value {
    let kind = match why.kind {
        FaultKind::Error => "error",
        FaultKind::Permanent => "permanent",
        FaultKind::Panic => "panic",
        FaultKind::Lost => "lost",
        FaultKind::Timeout => "timeout",
        FaultKind::RestartedTooOften => "restarted_too_often",
    };
    json!({ "kind": kind, "message": *why.message })
}

fn outcome(how: &Outcome) -> Value {
    let late = |value: &Option<_>| value.as_ref().map(Payload::to_value);
    match how {
        Outcome::Completed(value) => json!({ "is": "completed", "value": value.to_value() }),
        Outcome::Failed(why) => json!({ "is": "failed", "error": fault(why) }),
        Outcome::TimedOut { limit, late_result } => json!({
            "is": "timed_out", "limit": limit.as_str(), "late_result": late(late_result),
        }),
        Outcome::Cancelled { late_result } => {
            json!({ "is": "cancelled", "late_result": late(late_result) })
        }
        Outcome::Interrupted(evidence) => {
            json!({ "is": "interrupted", "evidence": **evidence })
        }
    }
}
