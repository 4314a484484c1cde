//! The JSON shapes, against golden files.
//!
//! `UNDERSTORY_BLESS=1` writes the files anew; look at what changed before it is committed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use understory::kernel::{Kind, Name, Spec};
use understory::{
    AbandonRequest, Answer, Body, Cancel, Cause, Charge, Context, Counter, Event, Failure, Fault,
    FaultKind, Grant, Interrupt, Key, Limit, Manager, Outcome, Payload, Question, Record,
    Requester, Retry, Scope, Seq, State, Stop, TaskBuilder, TaskId, Timestamp, Wait, What,
};

use crate::stage::{feed_of, for_ever, sees, settle_down, soon, until, until_cancelled};

const TASK: TaskId = TaskId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const OTHER: TaskId = TaskId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);

/// Compares with the golden file of this name.
fn holds(name: &str, value: &Value) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = directory.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UNDERSTORY_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, text, "{name} has changed");
}

/// Takes out the times, which differ from run to run.
fn masked(mut value: Value) -> Value {
    match &mut value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                let is_time = key.ends_with("_us") && value.is_number();
                *value = if is_time {
                    "<time>".into()
                } else {
                    masked(value.take())
                };
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = masked(value.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

fn payload(value: &Value) -> Payload {
    Payload::from_json(value.to_string())
}

fn fault(kind: FaultKind) -> Fault {
    let message = "no network".into();
    Fault { kind, message }
}

fn waits() -> Vec<Wait> {
    vec![
        Wait::After(2),
        Wait::ParentStart,
        Wait::Executor,
        Wait::Slot,
        Wait::Backoff(Timestamp::from_micros(9)),
        Wait::Task(OTHER),
        Wait::Parked,
        Wait::Answer,
        Wait::Children,
        Wait::Hook,
        Wait::Resume(payload(&json!("approve?"))),
    ]
}

fn stops() -> Vec<Arc<Stop>> {
    let stop = |cause, by| {
        Arc::new(Stop {
            cause,
            reason: "enough".into(),
            by,
            at: Timestamp::from_micros(5),
            grace_until: Timestamp::from_micros(7),
        })
    };
    vec![
        stop(Cause::Asked, Requester::Host),
        stop(Cause::Asked, Requester::Token),
        stop(Cause::Ancestor(OTHER), Requester::Task(OTHER)),
        stop(Cause::ParentEnded(OTHER), Requester::Manager),
        stop(Cause::Dependency(OTHER), Requester::Manager),
        stop(Cause::Shutdown, Requester::Manager),
        stop(Cause::Run, Requester::Host),
        stop(Cause::Budget, Requester::Manager),
        stop(Cause::Timeout(Limit::Attempt), Requester::Manager),
        stop(Cause::Timeout(Limit::Idle), Requester::Manager),
        stop(Cause::Timeout(Limit::Liveness), Requester::Host),
        stop(Cause::Timeout(Limit::External), Requester::Manager),
        stop(Cause::Timeout(Limit::Lifetime), Requester::Manager),
        stop(Cause::Timeout(Limit::Queue), Requester::Manager),
        stop(Cause::Timeout(Limit::Suspension), Requester::Manager),
    ]
}

fn faults() -> Vec<Fault> {
    let kinds = [
        FaultKind::Error,
        FaultKind::Permanent,
        FaultKind::Panic,
        FaultKind::Lost,
        FaultKind::Timeout,
        FaultKind::RestartedTooOften,
    ];
    kinds.map(fault).into()
}

fn outcomes() -> Vec<Outcome> {
    let late_result = Some(payload(&json!("late")));
    let timed_out = |limit, late_result| Outcome::TimedOut { limit, late_result };
    let mut outcomes = vec![
        Outcome::Completed(payload(&json!({ "answer": 42 }))),
        timed_out(Limit::Attempt, None),
        timed_out(Limit::Lifetime, None),
        timed_out(Limit::Queue, None),
        timed_out(Limit::Suspension, None),
        timed_out(Limit::Idle, late_result.clone()),
        timed_out(Limit::External, None),
        timed_out(Limit::Liveness, None),
        Outcome::Cancelled { late_result: None },
        Outcome::Cancelled { late_result },
        Outcome::Interrupted("its process died".into()),
    ];
    outcomes.extend(faults().into_iter().map(Outcome::Failed));
    outcomes
}

fn charge() -> Arc<Charge> {
    Arc::new(Charge {
        counter: Counter::new("tokens").unwrap(),
        amount: 120,
        by: OTHER,
        used: 9_950,
        limit: 10_000,
    })
}

fn answer() -> Arc<Answer> {
    Arc::new(Answer {
        value: payload(&json!("yes")),
        by: Requester::Host,
        at: Timestamp::from_micros(5),
    })
}

fn settled(outcome: Outcome) -> What {
    What::Settled {
        abandoned: matches!(outcome, Outcome::TimedOut { .. }),
        outcome: Arc::new(outcome),
        undelivered: 3,
    }
}

/// Every variant with every shape of its content; the type follows the one it is given.
fn next_type(what: Option<&What>) -> Vec<What> {
    let value = || payload(&json!({ "done": 9, "of": 10 }));
    let Some(what) = what else {
        let waiting = waits().into_iter().map(|wait| What::Accepted(Some(wait)));
        return [What::Accepted(None)].into_iter().chain(waiting).collect();
    };
    // Without a wildcard, so that a new variant does not compile before it has its place.
    match what {
        What::Accepted(_) => waits().into_iter().map(What::Pending).collect(),
        What::Pending(_) => vec![What::Started],
        What::Started => waits().into_iter().map(What::Waiting).collect(),
        What::Waiting(_) => vec![What::Unparked],
        What::Unparked => vec![What::Suspended(value())],
        What::Suspended(_) => vec![What::Resumed],
        What::Resumed => stops().into_iter().map(What::StopAsked).collect(),
        What::StopAsked(_) => vec![What::Aborted],
        What::Aborted => vec![What::AbandonAsked(Arc::new(AbandonRequest {
            reason: "no patience".into(),
            by: Requester::Task(OTHER),
            at: Timestamp::from_micros(5),
        }))],
        What::AbandonAsked(_) => faults().into_iter().map(What::AttemptFailed).collect(),
        What::AttemptFailed(_) => {
            let faults = [Some(fault(FaultKind::Error)), None];
            let restarting = |fault| What::Restarting { restarts: 2, fault };
            faults.map(restarting).into()
        }
        What::Restarting { .. } => vec![What::Progress(value())],
        What::Progress(_) => vec![What::Output(value())],
        What::Output(_) => vec![What::OutputKept {
            bytes: 300_000,
            head: "\"it begins".into(),
            ticket: 7,
        }],
        What::OutputKept { .. } => vec![What::Emitted {
            label: "found".into(),
            payload: value(),
        }],
        What::Emitted { .. } => vec![What::Asked {
            key: Key::new("deploy").unwrap(),
            question: value(),
        }],
        What::Asked { .. } => vec![What::Answered {
            key: Key::new("deploy").unwrap(),
            answer: answer(),
        }],
        What::Answered { .. } => vec![What::Unanswered(Arc::new([Key::new("deploy").unwrap()]))],
        What::Unanswered(_) => vec![What::MessageKept {
            message: OTHER.to_string().parse().unwrap(),
            from: Some(OTHER),
        }],
        What::MessageKept { message, .. } => vec![What::MessageAcknowledged(*message)],
        What::MessageAcknowledged(_) => vec![What::InterruptAsked(Arc::new(Interrupt {
            reason: "look up".into(),
            by: Requester::Task(OTHER),
            at: Timestamp::from_micros(5),
        }))],
        What::InterruptAsked(_) => vec![What::Referred("ci/4711".into())],
        What::Referred(_) => vec![What::Unregistered],
        What::Unregistered => vec![What::CallbackFailed("no connection".into())],
        What::CallbackFailed(_) => vec![What::HookFailed("no connection".into())],
        What::HookFailed(_) => vec![What::Detached],
        What::Detached => outcomes().into_iter().map(settled).collect(),
        What::Settled { .. } => vec![What::Undelivered(2)],
        What::Undelivered(_) => vec![What::BodyStopped],
        What::BodyStopped => vec![What::Transferred {
            from: Scope::new("s").unwrap(),
            to: Scope::new("t").unwrap(),
        }],
        What::Transferred { .. } => vec![What::Granted {
            to: Scope::new("t").unwrap(),
            grant: Grant::Talk,
        }],
        What::Granted { .. } => vec![What::Revoked {
            from: Scope::new("t").unwrap(),
        }],
        What::Revoked { .. } => vec![What::Charged(charge())],
        What::Charged(_) => vec![What::BudgetExhausted(charge())],
        What::BudgetExhausted(_) => Vec::new(),
    }
}

#[test]
fn every_type_of_event_has_its_shape() {
    let mut spec = Spec::new(Scope::new("thread-42").unwrap());
    spec.name = Some(Name::new("lead").unwrap());
    spec.kind = Some(Kind::new("reader").unwrap());
    let spec = Arc::new(spec);
    let mut whats = next_type(None);
    while let Some(first) = whats.first() {
        let name = first.name();
        assert!(What::NAMES.contains(&name), "What::NAMES lacks {name}");
        let events = whats.iter().map(|what| Event {
            seq: Seq(17),
            at: Timestamp::from_micros(1_700_000_000_000_000),
            task: TASK,
            incarnation: 1,
            task_seq: 3,
            root: TASK,
            spec: Arc::clone(&spec),
            attempt: 1,
            state: State::Running,
            what: what.clone(),
        });
        let shapes = events.map(|event| event.to_json()).collect();
        holds(&format!("event_{name}"), &Value::Array(shapes));
        whats = next_type(whats.first());
    }
}

#[test]
fn task_without_a_name_and_a_kind_has_neither_in_its_events() {
    let event = Event {
        seq: Seq(1),
        at: Timestamp::from_micros(0),
        task: TASK,
        incarnation: 1,
        task_seq: 1,
        root: TASK,
        spec: Arc::new(Spec::new(Scope::new("s").unwrap())),
        attempt: 0,
        state: State::Pending,
        what: What::Accepted(None),
    };

    let wanted = json!({
        "seq": 1, "at_us": 0, "event": "accepted", "task": TASK.to_string(),
        "task_seq": 1, "root": TASK.to_string(), "scope": "s", "attempt": 0, "state": "pending", "data": { "wait": null },
    });
    assert_eq!(event.to_json(), wanted);
}

fn builder(manager: &Manager) -> TaskBuilder {
    let task = manager.scope("thread-42").task("lead").id(TASK);
    task.kind("reader").label("agent", "a7").label("run", "3")
}

fn record_holds(name: &str, record: &Record) {
    holds(&format!("record_{name}"), &masked(record.to_json()));
}

#[tokio::test]
async fn records_that_wait_or_run_have_their_shape() {
    let manager = Manager::in_memory();
    let lead = builder(&manager).spawn(|ctx| async move {
        ctx.progress("half way").await?;
        ctx.unnamed()
            .id(OTHER)
            .spawn(for_ever)
            .await?
            .await
            .map_err(Failure::from)
    });
    lead.await.unwrap();
    until(|| manager.task(TASK).state() == Some(State::Waiting)).await;
    until(|| manager.task(OTHER).state() == Some(State::Running)).await;
    let pending = manager
        .scope("thread-42")
        .task("later")
        .id(TaskId::from_u128(3));
    let pending = pending.after([TASK]).spawn(for_ever).await.unwrap();

    record_holds("pending", &pending.record().unwrap());
    record_holds("waiting", &manager.get(TASK).unwrap());
    record_holds("running", &manager.get(OTHER).unwrap());
}

async fn ended<F, Fut>(body: F) -> Arc<Record>
where
    F: FnOnce(Context) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    let manager = Manager::in_memory();
    let task = builder(&manager).spawn(body).await.unwrap();
    soon(task.settled()).await.unwrap()
}

#[tokio::test]
async fn records_that_ended_by_themselves_have_their_shape() {
    let completed = ended(|ctx| async move {
        ctx.progress(json!({ "done": 9, "of": 9 })).await?;
        Ok(json!({ "answer": 42 }))
    });
    record_holds("completed", &*completed.await);
    let failed = ended(|_| async { Err(Failure::new("no network").permanent()) });
    record_holds("failed", &*failed.await);
    let panicked = ended(|_| async { panic!("out of cheese") });
    record_holds("panicked", &*panicked.await);
}

#[tokio::test]
async fn records_that_were_stopped_have_their_shape() {
    let manager = Manager::in_memory();
    let cancelled = builder(&manager).spawn(until_cancelled).await.unwrap();
    cancelled.send("unread").await.unwrap();
    soon(cancelled.cancel(Cancel::because("enough")))
        .await
        .unwrap();
    record_holds("cancelled", &cancelled.record().unwrap());

    let manager = Manager::in_memory();
    let abandoned = builder(&manager).cooperative().spawn(for_ever).await;
    let abandoned = abandoned.unwrap();
    let now = Cancel::because("enough").grace(Duration::ZERO);
    soon(abandoned.cancel(now)).await.unwrap();
    record_holds("abandoned", &abandoned.record().unwrap());

    let mut suspended = Record::clone(&abandoned.record().unwrap());
    suspended.state = State::Suspended;
    suspended.wait = Some(Wait::Resume(payload(&json!("approve?"))));
    (suspended.stop, suspended.outcome, suspended.ended_at) = (None, None, None);
    suspended.body = Body::Absent;
    let question = |answer| Question {
        asked: payload(&json!("Deploy to production?")),
        asked_at: Timestamp::from_micros(4),
        answer,
    };
    let questions = [
        ("deploy", question(Some(answer()))),
        ("when", question(None)),
    ];
    let questions = questions.map(|(key, question)| (Key::new(key).unwrap(), question));
    suspended.questions = Some(Arc::new(questions.into()));
    record_holds("suspended", &suspended);
}

#[tokio::test(start_paused = true)]
async fn record_that_ran_out_of_time_has_its_shape() {
    let manager = Manager::in_memory();
    let task = builder(&manager).timeout(Duration::from_secs(1));
    let task = task.spawn(until_cancelled).await.unwrap();
    record_holds("timed_out", &soon(task.settled()).await.unwrap());
}

#[tokio::test]
async fn story_of_a_task_has_its_shape() {
    let manager = Manager::in_memory();
    let task = builder(&manager).retry(Retry::fixed(1, Duration::ZERO));
    let task = task.spawn(|ctx| async move {
        if ctx.attempt() == 1 {
            return Err(Failure::new("no network"));
        }
        ctx.emit("found", "src/lib.rs").await?;
        ctx.cancelled().await;
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, TASK).await;
    let emitted = |event: &Event| event.what.name() == "emitted";
    sees(&mut feed, emitted).await;
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    settle_down().await;

    let mut feed = feed_of(&manager, TASK).await;
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|last: &Value| last["event"] != "settled")
    {
        events.push(masked(sees(&mut feed, |_| true).await.to_json()));
    }
    holds("story", &Value::Array(events));
}
