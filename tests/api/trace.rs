//! The trace of a task: captured, restored in every attempt. Its spans: `tests/spans.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
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

#[tokio::test]
async fn task_asked_for_again_by_its_id_in_another_trace_is_the_same() {
    let manager = Manager::in_memory();
    let id = understory::TaskId::from_u128(7);
    let ask = |trace: &str| {
        let task = manager.scope("s").task("t").id(id).trace(trace, None);
        task.spawn(|_| async { Ok(7) })
    };
    let first = ask(REQUEST).await.unwrap();
    let again = ask(&REQUEST.replace('4', "5")).await.unwrap();

    assert!(first.is_new() && !again.is_new());
    assert_eq!(soon(again).await.unwrap(), 7);
    let kept = first.record().unwrap().to_json()["traceparent"].clone();
    assert_eq!(kept, REQUEST);
}
