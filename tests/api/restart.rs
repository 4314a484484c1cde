//! An actor of the manager fails, and all start again from the store.

mod bodies;
mod carried;
mod elsewhere;
mod sweep;

use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    Cancel, CancelError, Context, Failure, Filter, Manager, NoteError, Part, Retry, Seq,
    ShutdownError, Since, SpawnError, State, TaskHandle, Timestamp, WaitError,
};

use understory::store::{FaultyStore, MemoryStore};

use crate::stage::{for_ever, has_no_gap, reaches, soon, until, until_cancelled};

const PARTS: [Part; 4] = [Part::Manager, Part::Writer, Part::Carrier, Part::Publisher];

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

/// An executor that ends with its second attempt.
async fn second_time(ctx: Context, input: Value) -> Result<Value, Failure> {
    match ctx.attempt() {
        1 => std::future::pending().await,
        attempt => Ok(json!([attempt, input])),
    }
}

fn manager() -> Manager {
    let builder = Manager::builder().executor("k", second_time);
    builder.build().unwrap()
}

#[tokio::test]
async fn record_that_was_removed_before_the_failure_is_not_shown_after_it() {
    let manager = manager();
    let task = manager.scope("s").task("t").spawn(nothing).await.unwrap();
    let record = soon(task.settled()).await.unwrap();

    manager.break_part(Part::Carrier);
    let (at, all) = (Timestamp::from_micros(u64::MAX), Filter::all());
    soon(manager.prune(at, &all, record.seq)).await.unwrap_err();
    until(|| manager.incarnation() == 2).await;
    assert_eq!(manager.get(task.id()), None);
}

/// A manager whose writer does the writing, as its store may block.
fn with_writer() -> Manager {
    let store = FaultyStore::new(MemoryStore::default());
    let builder = Manager::builder().executor("k", second_time);
    builder.store(store).build().unwrap()
}

/// Breaks this part of the manager while somebody asks for a task, and gives what that one gets.
async fn break_it(manager: &Manager, part: Part) -> Result<TaskHandle<()>, SpawnError> {
    until(|| manager.incarnation() > 0).await;
    let before = manager.incarnation();
    manager.break_part(part);
    let asked = soon(manager.scope("s").unnamed().spawn(nothing)).await;
    until(|| manager.incarnation() == before + 1).await;
    asked
}

#[tokio::test]
async fn p11_guard_starts_manager_writer_and_publisher_again() {
    let of = |part| [(part, manager()), (part, with_writer())];
    for (part, manager) in PARTS.into_iter().flat_map(of) {
        let scope = manager.scope("s");
        let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
        let closure = scope.task("closure").spawn(until_cancelled).await.unwrap();
        let executor = scope
            .task("executor")
            .retry(Retry::fixed(1, Duration::ZERO));
        let executor = executor.spawn_kind("k", "input").await.unwrap();
        let last = scope.task("last").spawn_kind("k", 1).await.unwrap();
        for task in [closure.id(), executor.id(), last.id()] {
            reaches(&manager, task, State::Running).await;
        }

        let asked = break_it(&manager, part).await;

        match (part, asked) {
            (Part::Manager | Part::Writer, Err(SpawnError::Unknown(id))) => {
                assert!(manager.get(id).is_none(), "{part:?}: it was not durable");
            }
            (Part::Carrier, Err(SpawnError::Unknown(id))) => {
                let record = soon(manager.task(id).settled()).await;
                assert_eq!(record.unwrap().state, State::Interrupted, "it was durable");
            }
            (Part::Publisher, Ok(task)) => drop(soon(task.settled()).await.unwrap()),
            (_, asked) => panic!("{part:?}: {asked:?}"),
        }
        let Err(WaitError::Interrupted { evidence, .. }) = soon(closure).await else {
            panic!("{part:?}: a closure cannot run again");
        };
        assert!(
            evidence.contains("died") && evidence.contains("running"),
            "{evidence}"
        );
        let ended = soon(last).await;
        assert!(
            matches!(ended, Err(WaitError::Interrupted { .. })),
            "no attempt is left"
        );
        assert_eq!(
            soon(executor).await.unwrap(),
            json!([2, "input"]),
            "{part:?}"
        );
        let new = scope
            .task("closure")
            .spawn(|_| async { Ok(1) })
            .await
            .unwrap();
        let id = new.id();
        assert_eq!(soon(new).await.unwrap(), 1, "{part:?}");
        has_no_gap(&mut feed, id).await;
        assert_eq!((manager.incarnation(), manager.live()), (2, 0), "{part:?}");
    }
}

#[tokio::test]
async fn p11_everybody_who_waits_for_an_answer_gets_one() {
    for part in PARTS {
        let manager = manager();
        soon(manager.scope("s").unnamed().spawn(nothing))
            .await
            .unwrap();
        manager.break_part(part);

        let asks: Vec<_> = (0..500)
            .map(|_| {
                let scope = manager.scope("s");
                tokio::spawn(async move { scope.unnamed().spawn(nothing).await })
            })
            .collect();

        for ask in asks {
            let ended = match soon(ask).await.unwrap() {
                Ok(task) => soon(task.settled()).await.map(|record| record.state),
                Err(SpawnError::Unknown(id)) => {
                    until(|| manager.incarnation() == 2).await;
                    soon(manager.task(id).settled())
                        .await
                        .map(|record| record.state)
                }
                Err(other) => panic!("{part:?}: {other}"),
            };
            assert!(matches!(
                ended,
                Ok(State::Completed | State::Interrupted) | Err(WaitError::Gone(_))
            ));
        }
    }
}

#[tokio::test]
async fn p11_attempt_of_before_is_over_and_dropped() {
    let manager = manager();
    let (tell, told) = tokio::sync::oneshot::channel();
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let _held = held;
        drop(tell.send(ctx.clone()));
        for_ever(ctx).await
    });
    task.await.unwrap();
    let ctx = soon(told).await.unwrap();

    break_it(&manager, Part::Manager).await.unwrap_err();

    assert!(soon(dropped).await.is_err(), "its body was dropped");
    until(|| manager.live() == 0).await;
    assert!(matches!(soon(ctx.progress(1)).await, Err(NoteError::Over)));
    assert!(soon(ctx.unnamed().spawn(nothing)).await.is_err());
    assert!(soon(ctx.recv()).await.is_none());
}

#[tokio::test]
async fn p11_cancel_that_was_decided_is_carried_out_after_a_restart() {
    for part in PARTS {
        let manager = manager();
        let lead = manager
            .scope("s")
            .task("lead")
            .retry(Retry::fixed(5, Duration::ZERO));
        let lead = lead.spawn_kind("k", 1).await.unwrap();
        let child = manager.scope("s").task("child").parent(lead.id());
        let child = child.spawn(for_ever).await.unwrap();
        reaches(&manager, child.id(), State::Running).await;
        let cancel = tokio::spawn({
            let lead = lead.task();
            let because = Cancel::because("enough").grace(Duration::from_hours(1));
            async move { lead.cancel_tree(because).await }
        });
        reaches(&manager, child.id(), State::CancelRequested).await;

        drop(break_it(&manager, part).await);

        assert!(matches!(
            soon(cancel).await.unwrap(),
            Err(CancelError::Restarted)
        ));
        for task in [lead.task(), child.task()] {
            let record = soon(task.settled()).await.unwrap();
            assert_eq!(
                (record.state, record.attempt),
                (State::Cancelled, 1),
                "{part:?}"
            );
        }
        let report = soon(lead.cancel_tree(Cancel::because("again")))
            .await
            .unwrap();
        assert_eq!(report.already_ended, [lead.id()]);
    }
}

#[tokio::test(start_paused = true)]
async fn p11_fourth_failure_within_a_minute_ends_the_manager() {
    let manager = manager();
    let feed = manager.subscribe(Since::Now).await.unwrap();
    for _ in 0..3 {
        drop(break_it(&manager, Part::Manager).await);
    }
    let task = manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();
    manager.break_part(Part::Manager);

    assert!(
        soon(manager.scope("s").unnamed().spawn(nothing))
            .await
            .is_err()
    );
    let because = || Cancel::because("enough");

    let late = soon(manager.scope("s").unnamed().spawn(nothing)).await;
    assert!(matches!(late, Err(SpawnError::Unavailable(why)) if why.contains("too often")));
    assert!(matches!(
        soon(task.cancel(because())).await,
        Err(CancelError::Gone)
    ));
    assert!(matches!(
        soon(manager.cancel_all(because())).await,
        Err(CancelError::Gone)
    ));
    let id = task.id();
    assert!(matches!(soon(task).await, Err(WaitError::Gone(gone)) if gone == id));
    assert!(matches!(
        soon(manager.shutdown(Duration::ZERO)).await,
        Err(ShutdownError::Gone)
    ));
    let mut feed = feed;
    soon(async { while feed.next().await.is_some() {} }).await;
}

#[tokio::test(start_paused = true)]
async fn p11_failures_that_are_far_apart_are_mended_each_time() {
    let manager = manager();

    for part in PARTS.into_iter().chain(PARTS) {
        drop(break_it(&manager, part).await);
        tokio::time::sleep(Duration::from_secs(25)).await;
    }

    assert_eq!(manager.incarnation(), 9);
    assert!(manager.scope("s").task("t").spawn(nothing).await.is_ok());
}
