//! Bodies that give no sign of life, on paused time.

use std::time::Duration;

use understory::{Context, Failure, Limit, Manager, Outcome, State, TaskBuilder};

use crate::stage::for_ever;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether it took this long: timers are exact to two milliseconds.
fn takes(took: Duration, expected: Duration) -> bool {
    took >= expected && took <= expected + Duration::from_millis(2)
}

/// A body that is silent for 8 seconds five times and gives this sign of life in between.
async fn lively<F: Future<Output = ()>>(sign: impl Fn() -> F) -> Result<(), Failure> {
    for _ in 0..5 {
        tokio::time::sleep(secs(8)).await;
        sign().await;
    }
    Ok(())
}

fn idle(manager: &Manager) -> TaskBuilder {
    manager
        .scope("s")
        .unnamed()
        .idle_timeout(secs(10))
        .grace(Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn silent_body_is_timed_out_as_idle() {
    let manager = Manager::in_memory();

    let record = idle(&manager)
        .spawn(for_ever)
        .await
        .unwrap()
        .settled()
        .await
        .unwrap();

    assert!(matches!(
        record.outcome.as_deref(),
        Some(Outcome::TimedOut {
            limit: Limit::Idle,
            late_result: None
        })
    ));
    assert!(takes(
        record.ended_at.unwrap().since(record.started_at.unwrap()),
        secs(10)
    ));
}

#[tokio::test(start_paused = true)]
async fn each_sign_of_life_postpones_the_idle_timeout() {
    let manager = Manager::in_memory();
    let touch = |ctx: Context| async move { lively(|| async { ctx.touch() }).await };
    let progress =
        |ctx: Context| async move { lively(|| async { ctx.progress("on").await.unwrap() }).await };
    let output =
        |ctx: Context| async move { lively(|| async { ctx.output("line").await.unwrap() }).await };
    let emit = |ctx: Context| async move {
        lively(|| async { ctx.emit("found", 1).await.unwrap() }).await
    };

    for task in [
        idle(&manager).spawn(touch).await,
        idle(&manager).spawn(progress).await,
        idle(&manager).spawn(output).await,
        idle(&manager).spawn(emit).await,
    ] {
        assert!(task.unwrap().await.is_ok());
    }
    let reader = idle(&manager).spawn(|ctx| async move {
        while ctx
            .recv()
            .await
            .is_some_and(|message| message.body != "end")
        {}
        Ok(())
    });
    let reader = reader.await.unwrap();
    lively(|| async { assert!(reader.send("go on").await.is_ok()) })
        .await
        .unwrap();
    reader.send("end").await.unwrap();
    assert!(reader.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn body_that_awaits_a_task_is_not_idle_meanwhile() {
    let manager = Manager::in_memory();
    let parent = idle(&manager).spawn(|ctx| async move {
        let child = ctx.task("slow").spawn(|_| async {
            tokio::time::sleep(secs(60)).await;
            Ok(())
        });
        child.await?.await?;
        for_ever(ctx).await
    });

    let record = parent.await.unwrap().settled().await.unwrap();

    assert_eq!(record.state, State::TimedOut);
    let took = record.ended_at.unwrap().since(record.started_at.unwrap());
    assert!(takes(took, secs(70)), "{took:?}");
}
