//! Figures for the `metrics` facade.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio::sync::watch;
use understory::store::MemoryStore;
use understory::{Cancel, Class, FeedItem, Grant, Manager, Overflow, Seq, Since};

#[cfg(feature = "testing")]
use crate::stage::{end_in_two_commits, four_that_wait};
use crate::stage::{reaches, soon, until, until_cancelled};

/// Every figure by its name and labels: the sum of a counter, the level of a gauge, the number of
/// values of a histogram.
#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<BTreeMap<String, i64>>>);

struct Line(Book, String);

impl Book {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::new(Line(self.clone(), name))
    }

    fn read(&self, name: &str) -> i64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Line {
    fn add(&self, value: i64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for Line {
    fn increment(&self, value: u64) {
        self.add(i64::try_from(value).unwrap());
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for Line {
    fn increment(&self, value: f64) {
        assert!(value > 0.0);
        self.add(1);
    }

    fn decrement(&self, value: f64) {
        assert!(value > 0.0);
        self.add(-1);
    }

    fn set(&self, _: f64) {}
}

impl HistogramFn for Line {
    fn record(&self, _: f64) {
        self.add(1);
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

#[tokio::test]
async fn recorder_of_the_program_gets_the_figures() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let builder = Manager::builder()
        .kind_limit("llm", Class::queue(1))
        .feed_events_max(2);
    let manager = builder.limit("one", Class::refuse(1)).build().unwrap();
    let scope = manager.scope("s");
    let on_word = |ctx: understory::Context| async move { Ok(ctx.recv().await.is_some()) };
    let first = scope
        .task("first")
        .kind("llm")
        .limit("one")
        .key("k")
        .spawn(on_word)
        .await
        .unwrap();
    let second = scope
        .task("second")
        .kind("llm")
        .spawn(on_word)
        .await
        .unwrap();
    let again = scope
        .task("first")
        .kind("llm")
        .limit("one")
        .key("k")
        .spawn(on_word)
        .await;
    assert_eq!(again.unwrap().id(), first.id());
    let refused = scope
        .task("third")
        .kind("llm")
        .limit("one")
        .spawn(on_word)
        .await;
    assert!(refused.is_err());
    reaches_running(&manager, first.id()).await;
    assert_eq!(book.read("tasks_running kind=llm"), 1);
    assert_eq!(book.read("tasks_queued kind=llm"), 1);

    first.send("end").await.unwrap();
    soon(first.settled()).await.unwrap();
    soon(second.cancel(understory::Cancel::because("enough").grace(Duration::ZERO)))
        .await
        .unwrap();
    let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
    let Some(FeedItem::Lagged { missed, .. }) = soon(feed.next()).await else {
        panic!("the feed keeps two events");
    };

    let wanted = [
        ("tasks_accepted_total kind=llm", 2),
        ("tasks_duplicate_total kind=llm", 1),
        ("tasks_refused_total kind=llm", 1),
        ("tasks_started_total kind=llm", 2),
        ("tasks_finished_total kind=llm outcome=completed", 1),
        ("tasks_finished_total kind=llm outcome=cancelled", 1),
        ("tasks_running kind=llm", 0),
        ("tasks_queued kind=llm", 0),
        ("task_queue_seconds kind=llm", 2),
        ("task_run_seconds kind=llm", 2),
        ("cancel_latency_seconds kind=llm", 1),
        ("inbox_depth", 1),
        ("events_lagged_total", i64::try_from(missed).unwrap()),
        ("store_failures_total", 0),
    ];
    for (name, value) in wanted {
        assert_eq!(book.read(name), value, "{name}: {book:?}");
    }
    assert!(book.read("store_write_seconds") >= 2);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn tasks_that_settle_and_go_in_one_commit_are_counted() {
    four_end_and_three_go(|_| {}).await;
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn tasks_that_settle_and_go_as_an_actor_fails_are_counted() {
    four_end_and_three_go(|manager| manager.break_part(understory::Part::Carrier)).await;
}

/// Four tasks whose ends share one commit or two, of which one record is kept.
#[cfg(feature = "testing")]
async fn four_end_and_three_go(fails: impl FnOnce(&Manager)) {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let store = Arc::new(understory::store::FaultyStore::new(MemoryStore::new()));
    let builder = Manager::builder().settled_max(1).store(Arc::clone(&store));
    let manager = builder.build().unwrap();
    let (tasks, release) = four_that_wait(&manager).await;
    assert_eq!(book.read("tasks_running kind=none"), 4, "{book:?}");

    end_in_two_commits(&store, &release).await;
    fails(&manager);
    store.release();
    for task in tasks {
        soon(task.settled()).await.unwrap();
    }

    until(|| book.read("tasks_finished_total kind=none outcome=completed") == 4).await;
    assert_eq!(book.read("tasks_running kind=none"), 0);
}

#[tokio::test]
async fn task_that_changes_twice_in_one_turn_is_counted_once() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let manager = Manager::in_memory();
    let (release, released) = watch::channel(());
    let mut released = released.clone();
    let body = |_| async move { Ok(released.changed().await.is_ok()) };
    let task = manager.scope("s").unnamed().spawn(body).await.unwrap();
    reaches_running(&manager, task.id()).await;
    task.grant("yours", Grant::See).await.unwrap();

    // The body ends, and while the manager has not heard of it, the grant is to be taken back.
    release.send(()).unwrap();
    let (settled, revoked) = tokio::join!(soon(task.settled()), soon(task.revoke("yours")));

    assert!(revoked.unwrap());
    let (settled, kept) = (settled.unwrap(), manager.get(task.id()).unwrap());
    assert_eq!(settled.grants, None);
    assert_eq!(settled, kept);
    assert_eq!(book.read("tasks_running kind=none"), 0, "{book:?}");
}

async fn reaches_running(manager: &Manager, task: understory::TaskId) {
    crate::stage::until(|| {
        let state = manager.get(task).map(|record| record.state);
        state == Some(understory::State::Running)
    })
    .await;
}

#[tokio::test]
async fn dead_letters_and_a_lost_lease_are_counted() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let place = Arc::new(MemoryStore::new());
    let over = || {
        Manager::builder()
            .store(Arc::clone(&place))
            .build()
            .unwrap()
    };
    let first = over();
    let task = first.scope("s").task("t").inbox_capacity(2);
    let task = task.inbox_overflow(Overflow::DropOldest);
    let task = task.spawn(until_cancelled).await.unwrap();
    reaches(&first, task.id(), understory::State::Running).await;
    for message in 0..3 {
        task.send(message).await.unwrap();
    }
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    assert_eq!(book.read("dead_letters_total reason=dropped"), 1);
    assert_eq!(book.read("dead_letters_total reason=ended"), 2);
    assert_eq!(book.read("leases_lost_total"), 0);

    let second = over();
    let other = second.scope("s").task("t").spawn(until_cancelled);
    soon(other).await.unwrap();
    let late = soon(first.scope("s").unnamed().spawn(until_cancelled)).await;
    assert!(late.is_err());
    until(|| first.store_trouble().is_some()).await;

    assert_eq!(book.read("leases_lost_total"), 1);
    assert_eq!(second.store_trouble(), None);
}
