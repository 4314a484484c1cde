//! Defects that several systems share, and ours must not have.

use std::time::Duration;

use understory::{Cancel, Context, Failure, LateSuccess, Manager, State};

use crate::stage::{rounds, soon, story};

/// A body that ends in its own way when it is asked to stop.
async fn ends_by_chance(ctx: Context, way: u32) -> Result<u32, Failure> {
    if way.is_multiple_of(4) {
        return Ok(way);
    }
    ctx.cancelled().await;
    match way % 4 {
        1 => Ok(way),
        2 => Err(Failure::new("gave up")),
        _ => std::future::pending().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_timeout_and_end_at_once_make_one_end() {
    let manager = Manager::in_memory();
    for way in 0..rounds(80) {
        let task = manager.scope("s").unnamed();
        let task = task
            .timeout(Duration::from_millis(1))
            .grace(Duration::from_millis(1))
            .late_success([LateSuccess::Cancelled, LateSuccess::Completed][way as usize % 2])
            .spawn(move |ctx| ends_by_chance(ctx, way));
        let task = task.await.unwrap();
        let report = soon(task.cancel(Cancel::because("enough"))).await;
        let report = report.unwrap();

        assert_eq!(report.len(), 1);
        let told = story(&manager, task.id()).await;
        let ends = told.iter().filter(|name| **name == "settled");
        assert_eq!(ends.count(), 1);
        assert!(told.iter().filter(|name| **name == "stop_asked").count() <= 2);
        let state = task.state().unwrap();
        let by_itself = matches!(state, State::Completed | State::TimedOut);
        assert!(by_itself || state == State::Cancelled, "{state}");
    }
}
