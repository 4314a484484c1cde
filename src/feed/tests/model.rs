//! Random lives of a feed, checked against a plain log.

use std::sync::Arc;
use std::task::Poll;

use proptest::prelude::*;

use super::{Feed, FeedItem, Subscription, events, look, only_even};
use crate::kernel::{Event, Filter, Seq};

/// One step of a random life of a feed with three subscriptions.
#[derive(Clone, Debug)]
enum Act {
    Publish(u64),
    Read(usize, usize),
    Renew(usize, u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1..90_u64).prop_map(Act::Publish),
        (0..3_usize, 1..80_usize).prop_map(|(who, count)| Act::Read(who, count)),
        (0..3_usize, 0..200_u64).prop_map(|(who, back)| Act::Renew(who, back)),
    ]
}

/// What one subscription was told, checked against the log as it is read.
struct Reader {
    subscription: Subscription,
    passed: u64,
    filter: Filter,
}

impl Reader {
    fn new(feed: &Arc<Feed>, after: u64, filter: Filter) -> Self {
        let subscription = feed.subscribe(Seq(after), filter.clone());
        Self {
            subscription: subscription.expect("there is room"),
            passed: after,
            filter,
        }
    }

    /// Reads one item; false when there is none.
    fn read(&mut self, log: &[Arc<Event>], kept: usize) -> Result<bool, TestCaseError> {
        let place = |seq: u64| usize::try_from(seq).expect("the log is short");
        let oldest = log.len().saturating_sub(kept);
        let wanted = |event: &&Arc<Event>| self.filter.matches_event(event);
        match look(&mut self.subscription) {
            Poll::Ready(Some(FeedItem::Event(event))) => {
                let next = log[place(self.passed)..].iter().find(wanted);
                prop_assert_eq!(Some(&event), next);
                self.passed = event.seq.0;
            }
            Poll::Ready(Some(FeedItem::Lagged { missed, resume_at })) => {
                prop_assert_eq!(place(resume_at.0), oldest + 1);
                // Numbers that it had taken and filtered before it fell behind are not missed.
                let looked = resume_at.0 - 1 - missed;
                prop_assert!(looked >= self.passed);
                let left = log[place(self.passed)..place(looked)].iter().find(wanted);
                prop_assert_eq!(left, None);
                prop_assert!(missed > 0);
                self.passed = resume_at.0 - 1;
            }
            Poll::Pending => {
                let left = log[place(self.passed)..].iter().find(wanted);
                prop_assert_eq!(left, None);
                self.passed = u64::try_from(log.len()).expect("it fits");
                prop_assert_eq!(self.subscription.seq(), Seq(self.passed));
                return Ok(false);
            }
            Poll::Ready(other) => prop_assert!(false, "not due: {:?}", other),
        }
        prop_assert_eq!(self.subscription.seq(), Seq(self.passed));
        Ok(true)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn p9_feed_tells_what_a_plain_log_would(
        capacity in 1..100_usize,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let feed = Feed::new(capacity, 3);
        let mut log = Vec::new();
        let filters = [Filter::all(), only_even(), Filter::all()];
        let mut readers: Vec<_> = filters
            .iter()
            .map(|filter| Some(Reader::new(&feed, 0, filter.clone())))
            .collect();
        for act in acts {
            let newest = feed.newest().0;
            match act {
                Act::Publish(count) => {
                    let more = events(newest + 1..=newest + count);
                    feed.publish(&more);
                    log.extend(more);
                }
                Act::Read(who, count) => {
                    let reader = readers[who].as_mut().expect("it is there between acts");
                    for _ in 0..count {
                        if !reader.read(&log, capacity)? {
                            break;
                        }
                    }
                }
                Act::Renew(who, back) => {
                    readers[who] = None;
                    let after = newest.saturating_sub(back);
                    readers[who] = Some(Reader::new(&feed, after, filters[who].clone()));
                }
            }
        }
    }
}
