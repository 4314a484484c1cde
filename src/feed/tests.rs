//! What the feed promises, one behavior each.

mod model;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::kernel::State;
use crate::sample;

/// The events with these numbers; those with an even number are of the scope `even`.
fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Arc<Event>> {
    let specs = ["even", "odd"].map(|scope| Arc::new(sample::spec(scope)));
    let about = specs.map(|spec| sample::record(sample::id(1), &spec, State::Running, 1));
    let event = |seq| sample::event(seq, &about[usize::from(seq % 2 == 1)]);
    numbers.into_iter().map(event).collect()
}

fn only_even() -> Filter {
    Filter::all().scope(sample::spec("even").scope)
}

fn subscribe(feed: &Arc<Feed>, after: u64) -> Subscription {
    feed.subscribe(Seq(after), Filter::all())
        .expect("there is room")
}

/// The next item without waiting; `Pending` when there is none yet.
fn look(subscription: &mut Subscription) -> Poll<Option<FeedItem>> {
    pin!(subscription.next()).poll(&mut Context::from_waker(Waker::noop()))
}

/// All items that are there now, and whether the stream has ended.
fn read_all(subscription: &mut Subscription) -> (Vec<FeedItem>, bool) {
    let mut items = Vec::new();
    loop {
        match look(subscription) {
            Poll::Ready(Some(item)) => items.push(item),
            Poll::Ready(None) => return (items, true),
            Poll::Pending => return (items, false),
        }
    }
}

fn told(events: &[Arc<Event>]) -> Vec<FeedItem> {
    events.iter().cloned().map(FeedItem::Event).collect()
}

#[test]
fn every_event_after_the_number_is_told_once() {
    let feed = Feed::new(1_000, 1);
    let log = events(1..=300);
    let mut subscription = subscribe(&feed, 10);

    feed.publish(&log[..150]);
    assert_eq!(read_all(&mut subscription), (told(&log[10..150]), false));
    feed.publish(&log[150..]);
    assert_eq!(read_all(&mut subscription), (told(&log[150..]), false));
    assert_eq!(subscription.seq(), Seq(300));
}

#[test]
fn slow_subscriber_hears_how_many_numbers_it_missed() {
    let feed = Feed::new(10, 1);
    let mut subscription = subscribe(&feed, 3);
    let log = events(1..=25);
    feed.publish(&log);

    let lagged = FeedItem::Lagged {
        missed: 12,
        resume_at: Seq(16),
    };
    assert_eq!(look(&mut subscription), Poll::Ready(Some(lagged)));
    assert_eq!(subscription.seq(), Seq(15));
    assert_eq!(read_all(&mut subscription).0, told(&log[15..]));
}

#[test]
fn ring_keeps_exactly_its_capacity() {
    for (published, oldest) in [(0, None), (7, Some(1)), (8, Some(1)), (9, Some(2))] {
        let feed = Feed::new(8, 1);
        feed.publish(&events(1..=published));

        assert_eq!(feed.newest(), Seq(published));
        assert_eq!(feed.oldest(), oldest.map(Seq));
    }
}

#[test]
fn ring_keeps_the_newest_payloads_up_to_its_bytes() {
    // The payload of each of these events is its number, which has one byte.
    for (bytes_max, oldest) in [(0, 9), (3, 7), (8, 2), (9, 1), (10, 1)] {
        let feed = Feed::bounded(100, bytes_max, 1);
        feed.publish(&events(1..=9));
        assert_eq!(feed.oldest(), Some(Seq(oldest)), "{bytes_max}");
    }
}

#[tokio::test]
async fn token_of_its_owner_ends_a_subscription() {
    let feed = Feed::new(100, 2);
    let token = CancellationToken::new();
    let mut subscription = subscribe(&feed, 0).until(token.clone());
    feed.publish(&events(1..=2));
    assert_eq!(
        look(&mut subscription),
        Poll::Ready(Some(told(&events([1]))[0].clone()))
    );
    let sleeper = tokio::spawn({
        let mut subscription = subscribe(&feed, 2).until(token.clone());
        async move { subscription.next().await }
    });
    tokio::task::yield_now().await;

    token.cancel();

    assert_eq!(look(&mut subscription), Poll::Ready(None));
    assert_eq!(look(&mut subscription), Poll::Ready(None));
    assert_eq!(sleeper.await.expect("it does not panic"), None);
}

#[test]
fn events_that_left_the_ring_are_freed() {
    let feed = Feed::new(8, 1);
    let mut subscription = subscribe(&feed, 0);
    let log = events(1..=1_000);

    feed.publish(&log[..100]);
    let behind = read_all(&mut subscription).0;
    assert_eq!(behind.len(), 9);
    drop(behind);
    feed.publish(&log[100..]);

    let held = log.iter().filter(|event| Arc::strong_count(event) > 1);
    assert_eq!(held.count(), 8);
}

#[test]
fn filter_drops_events_and_never_numbers() {
    let feed = Feed::new(100, 1);
    let mut subscription = feed.subscribe(Seq(0), only_even()).expect("there is room");
    let log = events(1..=7);
    feed.publish(&log);

    let even: Vec<_> = log.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(
        look(&mut subscription),
        Poll::Ready(Some(told(&even)[0].clone()))
    );
    assert_eq!(subscription.seq(), Seq(2));
    assert_eq!(read_all(&mut subscription).0, told(&even[1..]));
    assert_eq!(subscription.seq(), Seq(7));
}

#[test]
fn snapshot_comes_first_and_the_events_go_on_after_it() {
    let feed = Feed::new(100, 1);
    let log = events(1..=5);
    feed.publish(&log);
    let spec = Arc::new(sample::spec("even"));
    let records = vec![sample::record(sample::id(1), &spec, State::Running, 3)];

    let mut subscription = subscribe(&feed, 0).with_snapshot(Seq(3), records.clone());
    assert_eq!(subscription.seq(), Seq(3));

    let seq = Seq(3);
    let snapshot = FeedItem::Snapshot { seq, records };
    assert_eq!(look(&mut subscription), Poll::Ready(Some(snapshot)));
    assert_eq!(read_all(&mut subscription).0, told(&log[3..]));
}

#[test]
fn close_ends_each_stream_after_the_last_event() {
    let feed = Feed::new(100, 2);
    let (mut early, mut late) = (subscribe(&feed, 0), subscribe(&feed, 2));
    let log = events(1..=4);
    feed.publish(&log[..2]);
    assert_eq!(read_all(&mut early), (told(&log[..2]), false));

    feed.publish(&log[2..3]);
    feed.close();
    feed.publish(&log[3..]);

    let rest = [told(&log[2..3]), vec![FeedItem::Stopped]].concat();
    assert_eq!(read_all(&mut early), (rest.clone(), true));
    assert_eq!(read_all(&mut late), (rest, true));
    assert_eq!(read_all(&mut late), (vec![], true));
}

#[test]
fn resumed_feed_tells_what_is_gone_before_the_first_event() {
    let feed = Feed::resumed(Seq(500), 100, 2);
    let (mut old, mut current) = (subscribe(&feed, 3), subscribe(&feed, feed.newest().0));

    let lagged = FeedItem::Lagged {
        missed: 497,
        resume_at: Seq(501),
    };
    assert_eq!(read_all(&mut old), (vec![lagged], false));
    assert_eq!(read_all(&mut current), (vec![], false));
    let log = events(501..=502);
    feed.publish(&log);
    assert_eq!(read_all(&mut old), (told(&log), false));
    assert_eq!(read_all(&mut current), (told(&log), false));
}

#[test]
fn number_told_before_is_left_out() {
    let feed = Feed::new(100, 1);
    let mut subscription = subscribe(&feed, 0);
    feed.publish(&events([1, 2]));
    read_all(&mut subscription);

    feed.publish(&events([2]));
    feed.publish(&events([2, 3]));

    assert_eq!(read_all(&mut subscription).0, told(&events([3])));
    assert_eq!((feed.oldest(), feed.newest()), (Some(Seq(1)), Seq(3)));
}

#[test]
fn gap_between_numbers_is_told() {
    let feed = Feed::new(100, 1);
    let mut subscription = subscribe(&feed, 3);
    feed.publish(&events([1, 2, 3]));

    feed.publish(&events([7, 8]));

    let lagged = FeedItem::Lagged {
        missed: 3,
        resume_at: Seq(7),
    };
    let items = [vec![lagged], told(&events([7, 8]))].concat();
    assert_eq!(read_all(&mut subscription).0, items);
}

#[test]
fn subscriber_from_the_future_waits_for_its_number() {
    let feed = Feed::new(100, 1);
    let mut subscription = subscribe(&feed, 3);
    let log = events(1..=4);

    feed.publish(&log[..2]);
    assert_eq!(read_all(&mut subscription), (vec![], false));
    feed.publish(&log[2..]);
    assert_eq!(read_all(&mut subscription).0, told(&log[3..]));
}

#[test]
fn dropped_subscription_frees_its_place() {
    let feed = Feed::new(100, 2);
    let first = subscribe(&feed, 0);
    let _second = subscribe(&feed, 0);

    let refused = feed.subscribe(Seq(0), Filter::all());
    assert_eq!(
        refused.expect_err("both places are taken"),
        TooManySubscribers { max: 2 }
    );
    drop(first);

    assert_eq!(feed.subscribers(), 1);
    assert!(feed.subscribe(Seq(0), Filter::all()).is_ok());
}

#[tokio::test]
async fn waiting_subscribers_are_woken_by_events_and_by_the_close() {
    let feed = Feed::new(100, 10);
    let log = events(1..=2);
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let mut subscription = subscribe(&feed, 0);
            tokio::spawn(async move {
                let mut items = Vec::new();
                while let Some(item) = subscription.next().await {
                    items.push(item);
                }
                items
            })
        })
        .collect();
    tokio::task::yield_now().await;

    for event in &log {
        feed.publish(std::slice::from_ref(event));
        tokio::task::yield_now().await;
    }
    feed.close();

    for reader in readers {
        let items = [told(&log), vec![FeedItem::Stopped]].concat();
        assert_eq!(reader.await.expect("no reader panics"), items);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_is_lost_between_a_publisher_and_its_readers() {
    const COUNT: u64 = 20_000;
    let feed = Feed::new(usize::try_from(COUNT).expect("it fits"), 4);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let mut subscription = subscribe(&feed, 0);
            tokio::spawn(async move {
                for number in 1..=COUNT {
                    let item = subscription.next().await;
                    let Some(FeedItem::Event(event)) = item else {
                        panic!("event {number} is due, not {item:?}");
                    };
                    assert_eq!(event.seq, Seq(number));
                }
            })
        })
        .collect();

    for event in events(1..=COUNT) {
        feed.publish(&[event]);
    }

    for reader in readers {
        reader.await.expect("it has read all");
    }
}

#[test]
fn p9_subscribers_that_never_read_delay_nobody_and_their_numbers_add_up() {
    const BATCH: u64 = 200;
    let feed = Feed::new(256, 100);
    let mut readers: Vec<_> = (0..90).map(|_| subscribe(&feed, 0)).collect();
    let mut sleepers: Vec<_> = (0..10).map(|_| subscribe(&feed, 0)).collect();

    for batch in 0..50 {
        let log = events(batch * BATCH + 1..=(batch + 1) * BATCH);
        feed.publish(&log);
        let expected = told(&log);
        for reader in &mut readers {
            assert_eq!(read_all(reader).0, expected);
        }
    }

    for sleeper in &mut sleepers {
        let items = read_all(sleeper).0;
        let FeedItem::Lagged { missed, resume_at } = items[0] else {
            panic!("it lags, but first heard {:?}", items[0]);
        };
        let heard = u64::try_from(items.len() - 1).expect("it fits");
        assert_eq!((heard, missed + heard), (256, 50 * BATCH));
        assert_eq!(resume_at, Seq(missed + 1));
    }
}
