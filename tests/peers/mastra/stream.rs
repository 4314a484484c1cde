//! What subscribers of one agent or one run are told.

use std::time::Duration;

use understory::{
    Cancel, Failure, FeedItem, Filter, Manager, Outcome, Since, State, Subscription, TaskBuilder,
    TaskId, What,
};

use crate::stage::{reaches, sees, soon, until_cancelled};

fn task(manager: &Manager, agent: &str, run: &str) -> TaskBuilder {
    manager.scope("s").unnamed().agent(agent).run(run)
}

async fn snapshot(feed: &mut Subscription) -> Vec<TaskId> {
    match soon(feed.next()).await {
        Some(FeedItem::Snapshot { records, .. }) => {
            records.iter().map(|record| record.id).collect()
        }
        other => panic!("a snapshot comes first, not {other:?}"),
    }
}

#[tokio::test]
async fn stream_of_an_agent_or_a_run_has_nobody_else_in_its_snapshot_and_after_it() {
    for filter in [
        Filter::all().label("agent", "a"),
        Filter::all().label("run", "1"),
    ] {
        let manager = Manager::in_memory();
        let mine = task(&manager, "a", "1")
            .spawn(until_cancelled)
            .await
            .unwrap();
        let theirs = task(&manager, "b", "2")
            .spawn(until_cancelled)
            .await
            .unwrap();
        for live in [mine.id(), theirs.id()] {
            reaches(&manager, live, State::Running).await;
        }

        let feed = manager.subscribe_to(Since::Snapshot, filter);
        let mut feed = feed.await.unwrap();
        assert_eq!(snapshot(&mut feed).await, [mine.id()]);
        for live in [&theirs, &mine] {
            soon(live.cancel(Cancel::because("enough"))).await.unwrap();
        }
        let other = task(&manager, "b", "2").spawn(|_| async { Ok(()) });
        soon(other.await.unwrap()).await.unwrap();
        let last = task(&manager, "a", "1").spawn(|_| async { Ok(()) });
        let last = last.await.unwrap();
        for wanted in ["stop_asked", "settled"] {
            let event = sees(&mut feed, |_| true).await;
            assert_eq!((event.task, event.what.name()), (mine.id(), wanted));
        }
        for wanted in ["accepted", "started", "settled"] {
            let event = sees(&mut feed, |_| true).await;
            assert_eq!((event.task, event.what.name()), (last.id(), wanted));
        }
    }
}

#[tokio::test]
async fn every_piece_of_output_comes_in_order_and_then_the_end() {
    let manager = Manager::in_memory();
    let mut feed = manager.subscribe(Since::Now).await.unwrap();
    let body = |ctx: understory::Context| async move {
        for piece in 0..50 {
            ctx.output(piece).await?;
        }
        Ok("done")
    };
    let task = task(&manager, "a", "1").spawn(body).await.unwrap();

    let mut pieces = Vec::new();
    let end = loop {
        let event = sees(&mut feed, |event| event.task == task.id()).await;
        if let What::Output(piece) = &event.what {
            pieces.push(piece.as_json().parse::<u32>().unwrap());
        } else if event.state.is_terminal() {
            break event.state;
        }
    };

    assert_eq!(end, State::Completed);
    assert!(pieces.iter().copied().eq(0..50), "{pieces:?}");
}

#[tokio::test(start_paused = true)]
async fn ends_are_told_with_their_error_their_limit_and_their_reason() {
    let manager = Manager::in_memory();
    let ends = manager.subscribe_to(Since::Now, Filter::all().event("settled"));
    let mut ends = ends.await.unwrap();
    let fails = |_| async { Err::<(), _>(Failure::new("no network")) };
    let failed = task(&manager, "a", "1").spawn(fails).await.unwrap();
    let event = sees(&mut ends, |event| event.task == failed.id()).await;
    assert!(event.to_json().to_string().contains("no network"));

    let late = task(&manager, "a", "1").timeout(Duration::from_secs(1));
    let late = late.spawn(until_cancelled).await.unwrap();
    let event = sees(&mut ends, |event| event.task == late.id()).await;
    let What::Settled { outcome, .. } = &event.what else {
        panic!("it settled: {event:?}");
    };
    assert!(matches!(**outcome, Outcome::TimedOut { .. }));
    assert_eq!(event.state, State::TimedOut);

    let stopped = task(&manager, "a", "1").spawn(until_cancelled);
    let stopped = stopped.await.unwrap();
    let asked = manager.subscribe_to(Since::Now, Filter::all().task(stopped.id()));
    let mut asked = asked.await.unwrap();
    soon(stopped.cancel(Cancel::because("user pressed stop")))
        .await
        .unwrap();
    let event = sees(&mut asked, |event| event.what.name() == "stop_asked").await;
    assert!(event.to_json().to_string().contains("user pressed stop"));
    let event = sees(&mut ends, |event| event.task == stopped.id()).await;
    assert_eq!(event.state, State::Cancelled);
}
