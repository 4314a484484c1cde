//! The baseline: tokio tasks, channels and handles, and nothing that keeps account of them.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::{Measuring, Peer, by_callers, idle};
use crate::bench::latch::Latch;
use crate::bench::sample::{Sample, Watch};
use crate::bench::workload::{IN_FLIGHT, Workload};

/// tokio and nothing else.
pub(crate) struct Plain;

impl Peer for Plain {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        Some(match workload {
            Workload::Complete => Box::pin(complete(size, 1)),
            Workload::CompleteTwice => Box::pin(complete(size, 2)),
            Workload::Live => Box::pin(live(size)),
            Workload::Idle { tasks } => Box::pin(idling(size, tasks)),
            Workload::Cancel(_) => Box::pin(cancel(size)),
            Workload::Inbox { children } => Box::pin(inbox(size, children)),
            Workload::Events { subscribers } => Box::pin(events(size, subscribers)),
            Workload::Kept
            | Workload::InboxOf { .. }
            | Workload::Get { .. }
            | Workload::Page { .. }
            | Workload::GetBusy { .. }
            | Workload::PageBusy { .. }
            | Workload::Durable { .. }
            | Workload::Fsync => return None,
        })
    }
}

async fn complete(size: usize, callers: usize) -> Sample {
    by_callers(size, callers, |_| call).await
}

async fn call(size: usize) -> usize {
    let mut under_way = VecDeque::with_capacity(IN_FLIGHT);
    let mut sum = 0;
    for number in 0..size {
        if under_way.len() == IN_FLIGHT {
            let oldest: tokio::task::JoinHandle<usize> = under_way.pop_front().expect("it is full");
            sum += oldest.await.expect("it does not panic");
        }
        under_way.push_back(tokio::spawn(async move { number }));
    }
    for handle in under_way {
        sum += handle.await.expect("it does not panic");
    }
    sum
}

async fn live(size: usize) -> Sample {
    let started = Latch::new(size);
    let watch = Watch::start();
    for _ in 0..size {
        tokio::spawn(waiting(started.clone()));
    }
    started.opened().await;
    watch.stop(size)
}

async fn idling(seconds: usize, tasks: usize) -> Sample {
    live(tasks).await;
    idle(seconds).await
}

async fn waiting(started: Latch) {
    started.count_down();
    pending::<()>().await;
}

/// Raw tasks have no tree, so its shape is nothing to them.
async fn cancel(size: usize) -> Sample {
    let started = Latch::new(size);
    let handles: Vec<_> = (0..size)
        .map(|_| tokio::spawn(waiting(started.clone())))
        .collect();
    started.opened().await;
    let watch = Watch::start();
    for handle in &handles {
        handle.abort();
    }
    for handle in handles {
        assert!(handle.await.is_err_and(|error| error.is_cancelled()));
    }
    watch.stop(size)
}

async fn inbox(size: usize, children: usize) -> Sample {
    let arrived = Latch::new(size);
    let senders: Vec<_> = (0..children).map(|_| receiver(&arrived)).collect();
    let watch = Watch::start();
    for number in 0..size {
        senders[number % children]
            .send(number)
            .expect("the child lives");
    }
    arrived.opened().await;
    watch.stop(size)
}

/// A task that counts what it is sent.
pub(super) fn receiver(arrived: &Latch) -> mpsc::UnboundedSender<usize> {
    let (sender, mut inbox) = mpsc::unbounded_channel::<usize>();
    let arrived = arrived.clone();
    tokio::spawn(async move {
        while inbox.recv().await.is_some() {
            arrived.count_down();
        }
    });
    sender
}

/// The channel is as large as all that is sent, so that none is lost, and as much was sent once
/// before, as with the feed that it is compared with.
/// What one event says: the same as ours, encoded once for all who hear it.
#[derive(Debug)]
struct Told {
    label: Arc<str>,
    number: String,
}

async fn events(size: usize, subscribers: usize) -> Sample {
    let (sender, before) = broadcast::channel::<Arc<Told>>(size);
    tell(&sender, "before", size);
    drop(before);
    let complete = Latch::new(subscribers);
    for _ in 0..subscribers {
        let (mut feed, complete) = (sender.subscribe(), complete.clone());
        tokio::spawn(async move {
            for left in (0..size).rev() {
                let told = feed.recv().await.expect("none is lost");
                assert_eq!(&*told.label, "number");
                assert!(left > 0 || told.number.parse::<usize>() == Ok(size - 1));
            }
            complete.count_down();
        });
    }
    let watch = Watch::start();
    tell(&sender, "number", size);
    complete.opened().await;
    watch.stop(size * subscribers)
}

fn tell(sender: &broadcast::Sender<Arc<Told>>, label: &str, count: usize) {
    let label: Arc<str> = label.into();
    for number in 0..count {
        let number = serde_json::to_string(&number).expect("it is a number");
        let label = Arc::clone(&label);
        let told = Arc::new(Told { label, number });
        sender.send(told).expect("somebody listens");
    }
}
