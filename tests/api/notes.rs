//! Progress, output, events of a body, and their bounds.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use understory::{
    Context, Event, Failure, FaultKind, Manager, NoteError, Outcome, Retry, State, TaskId, What,
};

use crate::stage::{feed_of, reaches, rounds, sees, soon, story};

const PROGRESS_MAX: usize = 4 * 1_024;
const PAYLOAD_MAX: usize = 1_024 * 1_024;

/// A text that has this many bytes as JSON.
fn text(bytes: usize) -> String {
    "x".repeat(bytes - 2)
}

/// What the body said by an event, if that is what the event is about.
fn said(event: &Event) -> Option<Value> {
    let is_said = matches!(
        event.what,
        What::Progress(_) | What::Output(_) | What::OutputKept { .. } | What::Emitted { .. }
    );
    is_said.then(|| event.to_json()["data"].clone())
}

/// Everything that a task said until it settled.
async fn all_said(manager: &Manager, task: TaskId) -> Vec<Value> {
    let mut feed = feed_of(manager, task).await;
    let mut notes = Vec::new();
    loop {
        let event = sees(&mut feed, |_| true).await;
        notes.extend(said(&event));
        if matches!(event.what, What::Settled { .. }) {
            return notes;
        }
    }
}

/// Something that cannot be written as JSON.
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no words for it"))
    }
}

#[tokio::test]
async fn notes_of_every_sort_keep_their_order() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        for number in 0..100 {
            ctx.progress(number).await?;
            ctx.output(json!({ "line": number })).await?;
            ctx.emit("found", number).await?;
        }
        Ok(())
    });
    let task = task.await.unwrap();

    let notes = all_said(&manager, task.id()).await;

    let wanted: Vec<_> = (0..100)
        .flat_map(|number| {
            let emitted = json!({ "type": "found", "payload": number });
            [json!(number), json!({ "line": number }), emitted]
        })
        .collect();
    assert_eq!(notes, wanted);
}

#[tokio::test]
async fn record_keeps_the_newest_progress_and_no_output() {
    let manager = Manager::in_memory();
    let (go, gone) = oneshot::channel::<()>();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.progress("a quarter").await?;
        ctx.progress("half").await?;
        ctx.output("a line").await?;
        gone.await?;
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| matches!(event.what, What::Output(_))).await;
    let while_it_runs = task.record().unwrap();
    go.send(()).unwrap();
    let at_the_end = soon(task.settled()).await.unwrap();

    for record in [while_it_runs, at_the_end] {
        assert_eq!(record.progress.as_ref().unwrap().as_json(), "\"half\"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p25_last_progress_precedes_the_end() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");

    for round in 0..rounds(100) {
        let task = scope.unnamed().spawn(move |ctx| async move {
            for step in 0..=round % 7 {
                ctx.progress((round, step)).await?;
            }
            if round % 3 == 0 {
                return Err(Failure::new("no network"));
            }
            Ok(())
        });
        let task = task.await.unwrap();

        let record = soon(task.settled()).await.unwrap();
        let last = json!([round, round % 7]).to_string();
        assert_eq!(record.progress.as_ref().unwrap().as_json(), last);
        let story = story(&manager, task.id()).await;
        assert_eq!(story[story.len() - 2..], ["progress", "settled"]);
    }
}

#[tokio::test]
async fn p25_stray_attempt_says_nothing_after_its_end() {
    let manager = Manager::in_memory();
    let (tell, mut told) = mpsc::unbounded_channel::<Context>();
    let (go, gone) = oneshot::channel::<()>();
    let gone = tokio::sync::Mutex::new(Some(gone));
    let gone = std::sync::Arc::new(gone);
    let task = manager.scope("s").task("t");
    let task = task
        .retry(Retry::fixed(1, Duration::ZERO))
        .spawn(move |ctx| {
            let (tell, gone) = (tell.clone(), gone.clone());
            async move {
                ctx.progress(ctx.attempt()).await?;
                if ctx.attempt() == 1 {
                    tell.send(ctx)?;
                    return Err(Failure::new("again"));
                }
                if let Some(gone) = gone.lock().await.take() {
                    gone.await?;
                }
                Ok(())
            }
        });
    let task = task.await.unwrap();
    let stray = soon(told.recv()).await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    let second = |event: &Event| said(event) == Some(json!(2));
    sees(&mut feed, second).await;

    assert!(matches!(stray.progress("late").await, Err(NoteError::Over)));
    assert!(matches!(stray.output("late").await, Err(NoteError::Over)));
    go.send(()).unwrap();
    soon(task.settled()).await.unwrap();
    assert!(matches!(stray.emit("late", 1).await, Err(NoteError::Over)));

    assert_eq!(all_said(&manager, task.id()).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn p25_nothing_is_said_between_two_attempts() {
    let manager = Manager::in_memory();
    let (tell, mut told) = mpsc::unbounded_channel::<Context>();
    let task = manager.scope("s").task("t");
    let task = task
        .retry(Retry::fixed(1, Duration::from_hours(1)))
        .spawn(move |ctx| {
            let sent = tell.send(ctx);
            async move {
                sent?;
                Err::<(), _>(Failure::new("again"))
            }
        });
    let task = task.await.unwrap();
    let stray = soon(told.recv()).await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| event.what.name() == "attempt_failed").await;

    assert!(matches!(stray.progress("late").await, Err(NoteError::Over)));
    assert!(stray.try_recv().is_none());
}

#[tokio::test]
async fn progress_has_a_bound() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.progress(text(PROGRESS_MAX - 1)).await?;
        ctx.progress(text(PROGRESS_MAX)).await?;
        let refused = ctx.progress(text(PROGRESS_MAX + 1)).await;
        let Err(NoteError::TooLarge { bytes, bytes_max }) = refused else {
            panic!("it is too large, but: {refused:?}");
        };
        Ok((bytes, bytes_max))
    });
    let task = task.await.unwrap();
    let id = task.id();

    assert_eq!(soon(task).await.unwrap(), (PROGRESS_MAX + 1, PROGRESS_MAX));
    let sizes: Vec<_> = all_said(&manager, id).await;
    let sizes: Vec<_> = sizes.iter().map(|note| note.to_string().len()).collect();
    assert_eq!(sizes, [PROGRESS_MAX - 1, PROGRESS_MAX]);
}

#[tokio::test]
async fn output_and_emitted_events_have_a_bound() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.output(text(PAYLOAD_MAX - 1)).await?;
        ctx.output(text(PAYLOAD_MAX)).await?;
        ctx.emit("e", text(PAYLOAD_MAX)).await?;
        let output = ctx.output(text(PAYLOAD_MAX + 1)).await.unwrap_err();
        let emitted = ctx.emit("e", text(PAYLOAD_MAX + 1)).await.unwrap_err();
        Ok((output.to_string(), emitted.to_string()))
    });
    let task = task.await.unwrap();
    let id = task.id();

    let wanted = "it has 1048577 bytes; at most 1048576 are taken".to_owned();
    assert_eq!(soon(task).await.unwrap(), (wanted.clone(), wanted));
    assert_eq!(all_said(&manager, id).await.len(), 3);
}

#[tokio::test]
async fn what_is_no_json_is_not_said() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let refused = ctx.progress(Unspeakable).await;
        assert!(matches!(refused, Err(NoteError::Encode(_))), "{refused:?}");
        Ok(refused.unwrap_err().to_string())
    });

    let text = soon(task.await.unwrap()).await.unwrap();

    assert_eq!(text, "it cannot be written as JSON: no words for it");
}

#[tokio::test]
async fn value_that_is_too_large_fails_for_good() {
    let manager = Manager::in_memory();
    let of = |bytes| {
        let task = manager.scope("s").unnamed();
        let task = task.retry(Retry::fixed(3, Duration::ZERO));
        task.spawn(move |_| async move { Ok(text(bytes)) })
    };
    for bytes in [PAYLOAD_MAX - 1, PAYLOAD_MAX] {
        assert_eq!(
            soon(of(bytes).await.unwrap()).await.unwrap().len(),
            bytes - 2
        );
    }

    let record = soon(of(PAYLOAD_MAX + 1).await.unwrap().settled())
        .await
        .unwrap();

    assert_eq!((record.state, record.attempt), (State::Failed, 1));
    let Some(Outcome::Failed(fault)) = record.outcome.as_deref() else {
        panic!("it failed: {record:?}");
    };
    assert_eq!(fault.kind, FaultKind::Permanent);
    let wanted = "its value has 1048577 bytes; at most 1048576 are kept";
    assert_eq!(&*fault.message, wanted);
}

#[tokio::test]
async fn value_that_is_no_json_fails_for_good() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t");
    let task = task.retry(Retry::fixed(3, Duration::ZERO));
    let task = task.spawn(|_| async { Ok(Unspeakable) }).await.unwrap();

    let record = soon(task.settled()).await.unwrap();

    assert_eq!((record.state, record.attempt), (State::Failed, 1));
    let text = format!("{:?}", record.outcome);
    assert!(text.contains("its value cannot be written as JSON: no words for it"));
}

#[tokio::test(start_paused = true)]
async fn touch_is_a_sign_of_life() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .idle_timeout(Duration::from_secs(10));
    let (go, mut gone) = mpsc::unbounded_channel::<()>();
    let task = task.spawn(|ctx| async move {
        while gone.recv().await.is_some() {
            ctx.touch();
        }
        std::future::pending::<()>().await;
        Ok(())
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;

    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(9)).await;
        go.send(()).unwrap();
        crate::stage::settle_down().await;
    }
    assert_eq!(task.state(), Some(State::Running));
    drop(go);

    let record = soon(task.settled()).await.unwrap();
    assert_eq!(record.state, State::TimedOut);
}
