//! Events: order, gaps, lag, filters, snapshots.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use futures_core::Stream;
use tokio::task::coop;
use understory::kernel::{Kind, Name};
use understory::{
    Cancel, Context, Event, Failure, FeedItem, Filter, Manager, Scope, Seq, Since, State,
    SubscribeError, Subscription, TaskId, What,
};

use crate::stage::{feed_of, for_ever, sees, settle_down, soon, story};

mod load;

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

/// The next item, which is an event.
async fn event(feed: &mut Subscription) -> Arc<Event> {
    match soon(feed.next()).await {
        Some(FeedItem::Event(event)) => event,
        other => panic!("an event comes next, not {other:?}"),
    }
}

/// The numbers of the next events.
async fn numbers(feed: &mut Subscription, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.push(event(feed).await.seq.0);
    }
    numbers
}

/// A manager with `count` tasks that have settled, and the number of their last event.
async fn settled(count: u64) -> (Manager, u64) {
    let manager = Manager::in_memory();
    for _ in 0..count {
        let task = manager.scope("s").unnamed().spawn(nothing).await.unwrap();
        soon(task).await.unwrap();
    }
    (manager, 3 * count)
}

#[tokio::test]
async fn p3_event_follows_its_record() {
    let manager = Manager::in_memory();
    let mut feed = manager.subscribe(Since::Now).await.unwrap();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        for name in ["a", "b", "c"] {
            ctx.task(name).spawn(nothing).await?;
            ctx.progress(name).await?;
        }
        Ok(())
    });
    let lead = lead.await.unwrap().id();

    for wanted in 1.. {
        let event = event(&mut feed).await;
        assert_eq!(event.seq, Seq(wanted));
        let record = manager.get(event.task).expect("its record was written");
        assert!(record.seq >= event.seq, "{event:?} before {record:?}");
        if let What::Settled { outcome, .. } = &event.what {
            assert_eq!(record.state, event.state);
            assert_eq!(record.outcome.as_ref(), Some(outcome));
            if event.task == lead {
                break;
            }
        }
    }
}

#[tokio::test]
async fn p3_each_task_ends_once() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let quick = scope.task("quick").spawn(nothing).await.unwrap();
    let failed = scope
        .task("failed")
        .spawn(|_| async { Err::<(), _>(Failure::new("no network")) });
    let failed = failed.await.unwrap();
    let stopped = scope.task("stopped").spawn(for_ever).await.unwrap();
    soon(stopped.cancel_tree(Cancel::because("enough").grace(std::time::Duration::ZERO)))
        .await
        .unwrap();
    soon(quick.settled()).await.unwrap();
    soon(failed.settled()).await.unwrap();
    settle_down().await;

    let all = manager.subscribe_to(Since::Seq(Seq(0)), Filter::all().event("settled"));
    let mut all = all.await.unwrap();
    soon(manager.shutdown(std::time::Duration::ZERO))
        .await
        .unwrap();
    let mut ended = Vec::new();
    while let Some(item) = soon(all.next()).await {
        match item {
            FeedItem::Event(event) => ended.push(event.task),
            FeedItem::Stopped => {}
            FeedItem::Snapshot { .. } | FeedItem::Lagged { .. } => panic!("nothing is missed"),
        }
    }

    ended.sort();
    let mut wanted = [quick.id(), failed.id(), stopped.id()];
    wanted.sort();
    assert_eq!(ended, wanted);
}

#[tokio::test]
async fn events_of_a_task_come_in_the_order_of_its_life() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.progress(1).await?;
        ctx.cancelled().await;
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| event.what.name() == "progress").await;
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    let told = story(&manager, task.id()).await;

    let wanted = ["accepted", "started", "progress", "stop_asked", "settled"];
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn snapshot_has_the_live_tasks_and_events_go_on_from_it() {
    let (manager, last) = settled(2).await;
    let scope = manager.scope("s");
    let live = scope.task("live").spawn(for_ever).await.unwrap();
    settle_down().await;

    let mut feed = manager.subscribe(Since::Snapshot).await.unwrap();
    let Some(FeedItem::Snapshot { seq, records }) = soon(feed.next()).await else {
        panic!("the snapshot comes first");
    };
    assert_eq!(seq, Seq(last + 2));
    assert_eq!(records, [manager.get(live.id()).unwrap()]);
    scope.task("next").spawn(nothing).await.unwrap();

    let next = [last + 3, last + 4, last + 5];
    assert_eq!(numbers(&mut feed, 3).await, next);
}

#[tokio::test]
async fn subscription_resumes_after_its_number() {
    let (manager, last) = settled(10).await;
    let all: Vec<_> = (1..=last).collect();
    let whole = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
    let mut feed = whole;
    let mut seen = Vec::new();

    for count in [1, 2, 7, 20] {
        seen.extend(numbers(&mut feed, count).await);
        assert_eq!(feed.seq(), Seq(*seen.last().unwrap()));
        let since = Since::Seq(feed.seq());
        drop(feed);
        feed = manager.subscribe(since).await.unwrap();
    }

    assert_eq!(seen, all);
}

#[tokio::test]
async fn number_that_is_no_longer_kept_is_told_as_missed() {
    let manager = Manager::builder().feed_events_max(5).build().unwrap();
    for _ in 0..4 {
        let task = manager.scope("s").unnamed().spawn(nothing).await.unwrap();
        soon(task).await.unwrap();
    }
    settle_down().await;

    for (after, missed) in [(0, 7), (1, 6), (6, 1), (7, 0)] {
        let feed = manager.subscribe(Since::Seq(Seq(after))).await;
        let mut feed = feed.unwrap();
        if missed > 0 {
            let lagged = soon(feed.next()).await;
            let resume_at = Seq(8);
            assert_eq!(lagged, Some(FeedItem::Lagged { missed, resume_at }));
            assert_eq!(feed.seq(), Seq(7));
        }
        assert_eq!(numbers(&mut feed, 5).await, [8, 9, 10, 11, 12]);
    }
}

#[tokio::test]
async fn since_now_leaves_out_what_was() {
    let (manager, last) = settled(3).await;
    let mut feed = manager.subscribe(Since::Now).await.unwrap();
    assert_eq!(feed.seq(), Seq(last));

    manager.scope("s").unnamed().spawn(nothing).await.unwrap();

    assert_eq!(numbers(&mut feed, 3).await, [last + 1, last + 2, last + 3]);
}

/// Looks whether this filter tells of this task these events and no others, up to the ninth.
async fn told(manager: &Manager, filter: Filter, task: TaskId, names: &str) {
    let text = format!("{filter:?}");
    let feed = manager.subscribe_to(Since::Seq(Seq(0)), filter).await;
    let mut feed = feed.unwrap();
    for wanted in names.split(' ') {
        let event = event(&mut feed).await;
        assert_eq!((event.task, event.what.name()), (task, wanted), "{text}");
    }
    let rest = tokio::select! {
        biased;
        item = feed.next() => Some(item),
        () = settle_down() => None,
    };
    assert!(rest.is_none() && feed.seq() == Seq(9), "{text}: {rest:?}");
}

#[tokio::test]
async fn filter_drops_events_and_never_numbers() {
    let manager = Manager::in_memory();
    let one = manager
        .scope("one")
        .task("x")
        .kind("reader")
        .label("agent", "a7");
    let one = one.spawn(nothing).await.unwrap().id();
    let two = manager
        .scope("two")
        .task("y")
        .kind("writer")
        .label("agent", "b8");
    let two = two.spawn(|_| async { Err::<(), _>(Failure::new("no")) });
    let two = two.await.unwrap().id();
    let both = manager
        .scope("two")
        .task("end")
        .spawn(nothing)
        .await
        .unwrap();
    soon(both).await.unwrap();
    settle_down().await;
    let kind = Filter::all().kind(Kind::new("reader").unwrap());
    let scope = Filter::all().scope(Scope::new("one").unwrap());
    let name = Filter::all().name(Name::new("y").unwrap());

    for (filter, task, names) in [
        (Filter::all().task(one), one, "accepted started settled"),
        (kind, one, "accepted started settled"),
        (scope, one, "accepted started settled"),
        (
            Filter::all().label("agent", "a7"),
            one,
            "accepted started settled",
        ),
        (name, two, "accepted started settled"),
        (Filter::all().state(State::Failed), two, "settled"),
        (
            Filter::all().task(two).event("started").event("settled"),
            two,
            "started settled",
        ),
        (
            Filter::all()
                .state(State::Pending)
                .event("accepted")
                .task(two),
            two,
            "accepted",
        ),
    ] {
        told(&manager, filter, task, names).await;
    }
}

#[tokio::test]
async fn scope_tells_of_its_own_tasks() {
    let manager = Manager::in_memory();
    let mut feed = manager.scope("mine").subscribe(Since::Now).await.unwrap();
    let other = manager.scope("other").unnamed().spawn(nothing).await;
    let mine = manager.scope("mine").unnamed().spawn(nothing).await;
    soon(other.unwrap()).await.unwrap();
    let mine = mine.unwrap().id();

    for wanted in ["accepted", "started", "settled"] {
        let event = event(&mut feed).await;
        assert_eq!((event.task, event.what.name()), (mine, wanted));
    }
    let invalid = manager.scope("a b").subscribe(Since::Now).await;
    assert!(matches!(invalid, Err(SubscribeError::Invalid(_))));
}

#[tokio::test]
async fn subscribers_have_a_bound_and_a_place_is_free_after_a_drop() {
    let manager = Manager::builder().subscribers_max(3).build().unwrap();
    let mut feeds = Vec::new();
    for _ in 1..=3 {
        feeds.push(manager.subscribe(Since::Now).await.unwrap());
    }

    for since in [Since::Now, Since::Snapshot, Since::Seq(Seq(0))] {
        let refused = manager.subscribe(since).await;
        assert!(matches!(refused, Err(SubscribeError::TooMany(3))));
    }
    for _ in 0..3 {
        feeds.pop();
        feeds.push(manager.subscribe(Since::Snapshot).await.unwrap());
        assert!(manager.subscribe(Since::Now).await.is_err());
    }
}

#[tokio::test]
async fn subscription_is_a_stream_that_ends_with_the_manager() {
    let manager = Manager::in_memory();
    let mut feed = manager.subscribe(Since::Now).await.unwrap();
    manager.scope("s").unnamed().spawn(nothing).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut names = Vec::new();
        while let Some(FeedItem::Event(event)) =
            poll_fn(|cx| Pin::new(&mut feed).poll_next(cx)).await
        {
            names.push(event.what.name());
        }
        // The loop took the last item: it says that the manager has stopped.
        (names, feed.next().await)
    });
    settle_down().await;
    soon(manager.shutdown(std::time::Duration::ZERO))
        .await
        .unwrap();

    let (names, after) = soon(reading).await.unwrap();

    assert_eq!(names, ["accepted", "started", "settled"]);
    assert_eq!(after, None);
}

#[tokio::test]
async fn what_came_after_the_number_to_catch_up_with_is_left_for_later() {
    let (manager, last) = settled(4).await;
    let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
    for wanted in 1..=5 {
        let item = soon(feed.next_by(Seq(5))).await;
        assert!(matches!(item, Some(FeedItem::Event(event)) if event.seq == Seq(wanted)));
    }
    assert_eq!(soon(feed.next_by(Seq(5))).await, None);
    assert_eq!(feed.seq(), Seq(5));
    assert_eq!(numbers(&mut feed, 2).await, [6, 7]);

    // Numbers that the filter leaves out were looked at, too.
    let ends = manager.subscribe_to(Since::Seq(Seq(0)), Filter::all().event("settled"));
    let mut ends = ends.await.unwrap();
    assert_eq!(soon(ends.next_by(Seq(2))).await, None);
    assert_eq!(ends.seq(), Seq(2));
    assert_eq!(numbers(&mut ends, 4).await, [3, 6, 9, last]);
}

#[tokio::test]
async fn snapshot_is_read_up_to_its_number_also_by_a_task_that_has_spent_its_budget() {
    let (manager, last) = settled(1).await;
    let mut feed = manager.subscribe(Since::Snapshot).await.unwrap();

    let read = tokio::spawn(async move {
        // What is ready without an end is made to give way by the runtime then.
        poll_fn(|cx| {
            while coop::has_budget_remaining() {
                ready!(coop::poll_proceed(cx)).made_progress();
            }
            Poll::Ready(())
        })
        .await;
        let first = feed.next_by(Seq(last)).await;
        (first, feed.next_by(Seq(last)).await)
    });

    let (first, then) = soon(read).await.unwrap();
    assert!(
        matches!(first, Some(FeedItem::Snapshot { .. })),
        "{first:?}"
    );
    assert_eq!(then, None);
}
