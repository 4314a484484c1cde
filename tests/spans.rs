//! Each attempt and each call of a hook is a span that says what it is, and an attempt how it went.
//!
//! One test in a process of its own: a scoped subscriber may miss a span whose first use another
//! thread is registering at that moment (tracing then keeps "nobody listens").

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use understory::{Failure, Manager, Retry, TaskHooks};

const REQUEST: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SOON: Duration = Duration::from_secs(30);

/// What a subscriber hears of spans.
#[derive(Clone, Default)]
struct Ear {
    spans: Arc<Mutex<BTreeMap<u64, (&'static str, Fields)>>>,
    /// Those that were entered and not left.
    open: Arc<Mutex<Vec<u64>>>,
    next: Arc<AtomicU64>,
}

impl Ear {
    /// The fields of all spans of this name for this task.
    fn heard(&self, name: &str, task: &str) -> Vec<Fields> {
        let spans = self.spans.lock().unwrap();
        let named = spans.values().filter(|(its, _)| *its == name);
        let fields = named.map(|(_, fields)| fields.clone());
        let of_task = |fields: &Fields| fields.get("task.id").is_some_and(|id| id == task);
        fields.filter(of_task).collect()
    }
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
        let spans = self.spans.lock().unwrap();
        let around = self
            .open
            .lock()
            .unwrap()
            .last()
            .and_then(|id| spans.get(id));
        if let (Some((name, _)), true) = (around, span.is_contextual()) {
            fields.insert("around", (*name).to_owned());
        }
        drop(spans);
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

    fn enter(&self, span: &Id) {
        self.open.lock().unwrap().push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let mut open = self.open.lock().unwrap();
        let at = open.iter().rposition(|id| *id == span.into_u64());
        open.remove(at.expect("it was entered"));
    }
}

/// A hook of each sort, of which every call opens a span of its own.
fn hooks() -> TaskHooks {
    let note = |task: String| drop(tracing::info_span!("note", task.id = task));
    TaskHooks::new()
        .before_settle(move |settling| {
            note(settling.task.id().to_string());
            async { Ok(()) }
        })
        .on_settled(move |end| {
            note(end.task.id().to_string());
            async { Ok(()) }
        })
}

#[tokio::test]
async fn each_attempt_and_each_hook_has_a_span_that_says_what_it_is_and_how_it_went() {
    let ear = Ear::default();
    let _listening = tracing::subscriber::set_default(ear.clone());
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let retry = Retry::fixed(1, Duration::from_millis(1));
        let child = ctx
            .task("child")
            .kind("reader")
            .trace(REQUEST, None)
            .hooks(hooks())
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
    let (lead, child): (String, String) = timeout(SOON, lead.await.unwrap())
        .await
        .expect("it ends")
        .unwrap();

    let attempts = ear.heard("task", &child);
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

    let are_told = async {
        while ear.heard("note", &child).len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, are_told)
        .await
        .expect("both hooks are called");
    for note in ear.heard("note", &child) {
        assert_eq!(note.get("around").map(String::as_str), Some("hook"));
    }
    let calls = ear.heard("hook", &child);
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call.get("task.kind").map(String::as_str), Some("reader"));
        let trace = call.get("task.traceparent").map(String::as_str);
        assert_eq!(trace, Some(REQUEST));
    }
}
