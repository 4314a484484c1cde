//! The trace of a task: captured, restored in every attempt, told in spans.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use understory::{Failure, Manager, Retry, SpawnError};

use crate::stage::soon;

const REQUEST: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-";

#[tokio::test]
async fn every_attempt_runs_in_the_captured_trace_below_a_span_of_its_own() {
    let manager = Manager::in_memory();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let retry = Retry::fixed(2, Duration::from_millis(1));
    let task = manager
        .scope("s")
        .task("t")
        .trace(REQUEST, Some("vendor=1"))
        .retry(retry);
    let task = task.spawn(move |ctx| {
        kept.lock()
            .unwrap()
            .push((ctx.traceparent().unwrap(), ctx.tracestate()));
        async { Err::<(), _>(Failure::new("again")) }
    });
    let task = task.await.unwrap();
    let record = soon(task.settled()).await.unwrap();

    let mut seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 3);
    for (parent, state) in &seen {
        assert!(parent.starts_with(TRACE) && parent.ends_with("-01") && parent.len() == 55);
        assert_eq!(state.as_deref(), Some("vendor=1"));
    }
    seen.push((REQUEST.to_owned(), None));
    seen.sort();
    seen.dedup_by(|one, other| one.0 == other.0);
    assert_eq!(seen.len(), 4, "no span is another one's");
    let shape = record.to_json();
    assert_eq!(
        (&shape["traceparent"], &shape["tracestate"]),
        (&REQUEST.into(), &"vendor=1".into())
    );
}

#[tokio::test]
async fn task_of_a_body_runs_in_the_trace_of_that_body() {
    let manager = Manager::in_memory();
    let lead = manager
        .scope("s")
        .task("lead")
        .trace(REQUEST, None)
        .spawn(|ctx| async move {
            let captured = |id| {
                let record = ctx.manager().get(id).expect("it is kept");
                record.to_json()["traceparent"].clone()
            };
            let child = ctx.task("child").spawn(|_| async { Ok(()) }).await?;
            let ambient = ctx.manager().scope("elsewhere").task("t");
            let ambient = ambient.spawn(|_| async { Ok(()) }).await?;
            let own = ctx.task("own").trace(&REQUEST.replace('4', "5"), None);
            let own = own.spawn(|_| async { Ok(()) }).await?;
            let here = ctx.traceparent();
            Ok((
                here,
                [
                    captured(child.id()),
                    captured(ambient.id()),
                    captured(own.id()),
                ],
            ))
        });
    let (here, [child, ambient, own]): (Option<String>, [Value; 3]) =
        soon(lead.await.unwrap()).await.unwrap();
    assert_eq!(Value::from(here), child);
    assert_eq!(child, ambient);
    assert_eq!(own, REQUEST.replace('4', "5"));

    let plain = manager
        .scope("s")
        .task("plain")
        .spawn(|ctx| async move { Ok(ctx.traceparent()) });
    assert_eq!(soon(plain.await.unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn who_asks_again_with_the_same_key_may_do_so_in_another_trace() {
    let manager = Manager::in_memory();
    let ask = |trace: String| {
        let task = manager.scope("s").unnamed().key("k").trace(&trace, None);
        task.spawn(|_| async { Ok(()) })
    };
    let first = ask(REQUEST.to_owned()).await.unwrap();
    let second = ask(REQUEST.replace('4', "5")).await.unwrap();
    assert_eq!(first.id(), second.id());
}

#[tokio::test]
async fn text_that_is_no_trace_is_refused() {
    let manager = Manager::in_memory();
    let long = "x".repeat(513);
    for (parent, state) in [
        ("", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", None),
        (
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            None,
        ),
        (
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            None,
        ),
        (
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            None,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            None,
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7-0-01",
            None,
        ),
        (REQUEST, Some(long.as_str())),
        (REQUEST, Some("a\nb")),
    ] {
        let task = manager.scope("s").unnamed().trace(parent, state);
        let refused = task.spawn(|_| async { Ok(()) }).await;
        assert!(
            matches!(refused, Err(SpawnError::Invalid(_))),
            "{parent} {state:?}"
        );
    }
}

/// What a subscriber hears of spans.
#[derive(Clone, Default)]
struct Ear {
    spans: Arc<Mutex<BTreeMap<u64, (&'static str, Fields)>>>,
    next: Arc<AtomicU64>,
}

type Fields = BTreeMap<&'static str, String>;

struct Notes<'a>(&'a mut Fields);

impl Visit for Notes<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(
            field.name(),
            format!("{value:?}").trim_matches('"').to_owned(),
        );
    }
}

impl Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = Fields::new();
        span.record(&mut Notes(&mut fields));
        self.spans
            .lock()
            .unwrap()
            .insert(id, (span.metadata().name(), fields));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.spans.lock().unwrap();
        if let Some((_, fields)) = spans.get_mut(&span.into_u64()) {
            values.record(&mut Notes(fields));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn each_attempt_has_a_span_that_says_what_it_is_and_how_it_went() {
    let ear = Ear::default();
    let _listening = tracing::subscriber::set_default(ear.clone());
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let retry = Retry::fixed(1, Duration::from_millis(1));
        let child = ctx
            .task("child")
            .kind("reader")
            .trace(REQUEST, None)
            .retry(retry);
        let child = child.spawn(|ctx| async move {
            match ctx.attempt() {
                1 => Err(Failure::new("again")),
                _ => Ok(()),
            }
        });
        let child = child.await?;
        let id = child.id().to_string();
        child.await?;
        Ok((ctx.id().to_string(), id))
    });
    let (lead, child): (String, String) = soon(lead.await.unwrap()).await.unwrap();

    let spans = ear.spans.lock().unwrap();
    let of_child = |fields: &&Fields| fields.get("task.id") == Some(&child);
    let tasks = spans
        .values()
        .filter(|(name, _)| *name == "task")
        .map(|(_, fields)| fields);
    let attempts: Vec<_> = tasks.filter(of_child).collect();
    assert_eq!(attempts.len(), 2);
    for (number, (fields, status)) in attempts.iter().zip(["error", "ok"]).enumerate() {
        let wanted = [
            ("task.name", "child"),
            ("task.path", "lead/child"),
            ("task.kind", "reader"),
            ("task.parent_id", lead.as_str()),
            ("task.attempt", &(number + 1).to_string()),
            ("task.traceparent", REQUEST),
            ("otel.kind", "internal"),
            ("otel.status_code", status),
        ];
        for (name, value) in wanted {
            assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
}
