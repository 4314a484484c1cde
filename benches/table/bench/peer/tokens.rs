//! `tokio-util`: a tree of `CancellationToken`s, which asks tasks to end and waits for them.
//!
//! It is what a graceful cancel of a tree costs without records, events, bounds or a report. It has
//! neither inboxes nor events, and of what has ended it knows nothing.

use tokio_util::sync::CancellationToken;

use super::{Measuring, Peer};
use crate::bench::latch::Latch;
use crate::bench::sample::{Sample, Watch};
use crate::bench::workload::{Shape, Workload};

/// A token for each task, which is below that of the task above it.
pub(crate) struct Tokens;

impl Peer for Tokens {
    fn name(&self) -> &'static str {
        "tokio-util"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        match workload {
            Workload::Live => Some(Box::pin(live(size))),
            Workload::Cancel(shape) => Some(Box::pin(cancel(size, shape))),
            Workload::Complete
            | Workload::CompleteTwice
            | Workload::Kept
            | Workload::Idle { .. }
            | Workload::Inbox { .. }
            | Workload::InboxOf { .. }
            | Workload::Events { .. }
            | Workload::Get { .. }
            | Workload::Page { .. }
            | Workload::GetBusy { .. }
            | Workload::PageBusy { .. }
            | Workload::Durable { .. }
            | Workload::Fsync => None,
        }
    }
}

/// Runs until its token is cancelled.
fn spawn(token: CancellationToken, started: &Latch, ended: &Latch) {
    let (started, guard) = (started.clone(), ended.guard());
    tokio::spawn(async move {
        let _guard = guard;
        started.count_down();
        token.cancelled().await;
    });
}

async fn live(size: usize) -> Sample {
    let (started, ended) = (Latch::new(size), Latch::new(size));
    let root = CancellationToken::new();
    let watch = Watch::start();
    for _ in 0..size {
        spawn(root.child_token(), &started, &ended);
    }
    started.opened().await;
    watch.stop(size)
}

async fn cancel(size: usize, shape: Shape) -> Sample {
    let (started, ended) = (Latch::new(size), Latch::new(size));
    let mut tokens = Vec::with_capacity(size);
    tokens.push(CancellationToken::new());
    // Children come after their parents, and in the order of their places.
    for place in 0..size {
        for _ in shape.children_of(place, size) {
            let token = tokens[place].child_token();
            tokens.push(token);
        }
    }
    for token in &tokens {
        spawn(token.clone(), &started, &ended);
    }
    started.opened().await;
    let watch = Watch::start();
    tokens[0].cancel();
    ended.opened().await;
    watch.stop(size)
}
