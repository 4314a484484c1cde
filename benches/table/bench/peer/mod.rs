//! Who is measured.
//!
//! Every peer does the same work with what it has; where it has nothing of the kind it says so by
//! `None`, and gets no row.

mod bare_ractor;
#[cfg(feature = "sqlite")]
mod by_hand;
mod disk;
mod host;
mod join_set;
mod ours;
mod plain;
mod tokens;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::latch::Latch;
use super::sample::{Sample, Watch};
use super::workload::{Reads, Workload};

pub(crate) use bare_ractor::BareRactor;
#[cfg(feature = "sqlite")]
pub(crate) use by_hand::ByHand;
pub(crate) use disk::Disk;
pub(crate) use host::Host;
pub(crate) use join_set::InJoinSet;
pub(crate) use ours::Ours;
pub(crate) use plain::Plain;
pub(crate) use tokens::Tokens;

/// A measurement under way; it is run on a fresh runtime in a process of its own.
pub(crate) type Measuring = Pin<Box<dyn Future<Output = Sample> + Send>>;

pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// How much of the workload it takes, where it has anything of the kind.
    fn size(&self, workload: Workload) -> usize {
        workload.size()
    }

    /// `None` where it has nothing of the kind.
    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring>;
}

/// So many seconds in which nobody asks for anything.
async fn idle(seconds: usize) -> Sample {
    // What the spawns left to do is done by then.
    let pause = Duration::from_secs(2);
    tokio::time::sleep(pause).await;
    let watch = Watch::start();
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    watch.stop(seconds)
}

/// Lets so many callers share the work, each a task that comes to the sum of the numbers below its
/// share.
async fn by_callers<C, F>(size: usize, callers: usize, caller: impl Fn(usize) -> C) -> Sample
where
    C: FnOnce(usize) -> F,
    F: Future<Output = usize> + Send + 'static,
{
    let share = size / callers;
    let watch = Watch::start();
    let callers: Vec<_> = (0..callers)
        .map(|number| tokio::spawn(caller(number)(share)))
        .collect();
    let count = callers.len();
    for caller in callers {
        let sum = caller.await.expect("it does not panic");
        assert_eq!(sum, share * share.saturating_sub(1) / 2);
    }
    watch.stop(share * count)
}

/// Reads so often while these tasks are spawned and awaited again and again elsewhere; the CPU time
/// is that of who reads.
async fn beside<W>(
    write: impl Fn() -> W + Send + 'static,
    size: usize,
    reads: Reads,
    read: impl FnMut(usize),
) -> Sample
where
    W: Future<Output = usize> + Send + 'static,
{
    let (begun, rounds) = (Latch::new(1), Arc::new(AtomicUsize::new(0)));
    let (first, counted) = (begun.guard(), Arc::clone(&rounds));
    let writer = tokio::spawn(async move {
        let mut first = Some(first);
        loop {
            write().await;
            counted.fetch_add(1, Ordering::Relaxed);
            first.take();
        }
    });
    begun.opened().await;
    let before = rounds.load(Ordering::Relaxed);
    // Nothing is awaited while it runs, so that it stays on its thread.
    let sample = match reads {
        Reads::Mean => {
            let watch = Watch::start_here();
            (0..size).for_each(read);
            watch.stop(size)
        }
        Reads::Tail => tail(size, read),
    };
    let is_busy = rounds.load(Ordering::Relaxed) > before;
    assert!(is_busy || size < 10_000, "something is written meanwhile");
    writer.abort();
    sample
}

/// Of so many reads the one that only each hundredth is slower than.
fn tail(size: usize, mut read: impl FnMut(usize)) -> Sample {
    let mut took = vec![Duration::ZERO; size];
    for (number, took) in took.iter_mut().enumerate() {
        let began = Instant::now();
        read(number);
        *took = began.elapsed();
    }
    took.sort_unstable();
    let at = size.saturating_sub(1) * 99 / 100;
    Sample::of_one(took.get(at).copied().unwrap_or_default())
}

/// The name of a task that is found by it.
fn task_name(number: usize) -> String {
    format!("task-{number}")
}

/// A place below `count` that is not beside the one before it.
fn scattered(number: usize, count: usize) -> usize {
    number.wrapping_mul(7_919) % count
}
