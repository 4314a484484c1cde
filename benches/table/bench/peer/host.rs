//! A host of tasks as one writes it in an afternoon: a map under locks, and handles.
//!
//! It keeps a record of each task and who is below whom, and aborts trees. Nothing supervises: a
//! body that panics leaves its record as it was.

use std::collections::VecDeque;
use std::future::pending;
use std::hash::Hash;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use tokio::task::JoinHandle;

use super::{Measuring, Peer, beside, by_callers, plain, scattered, task_name};
use crate::bench::latch::Latch;
use crate::bench::sample::{Sample, Watch};
use crate::bench::workload::{AT_ONCE, By, FEW, IN_FLIGHT, Reads, Shape, Workload};

const RUNNING: u8 = 0;
const COMPLETED: u8 = 1;
const CANCELLED: u8 = 2;

/// A map of handles.
pub(crate) struct Host;

impl Peer for Host {
    fn name(&self) -> &'static str {
        "map of handles"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        Some(match workload {
            Workload::Complete => Box::pin(complete(size, 1)),
            Workload::CompleteTwice => Box::pin(complete(size, 2)),
            Workload::Live => Box::pin(live(size)),
            Workload::Kept => Box::pin(kept(size)),
            Workload::Cancel(shape) => Box::pin(cancel(size, shape)),
            Workload::InboxOf {
                children,
                by: By::Id,
            } => Box::pin(inbox(size, children, |number| number)),
            Workload::InboxOf {
                children,
                by: By::Name,
            } => Box::pin(inbox(size, children, task_name)),
            Workload::Get { tasks } => Box::pin(get(size, tasks)),
            Workload::GetBusy { tasks, read } => Box::pin(get_busy(size, tasks, read)),
            Workload::Idle { .. }
            | Workload::Inbox { .. }
            | Workload::Events { .. }
            | Workload::Page { .. }
            | Workload::PageBusy { .. }
            | Workload::Durable { .. }
            | Workload::Fsync => return None,
        })
    }
}

#[derive(Default)]
struct Record {
    state: AtomicU8,
    children: Mutex<Vec<usize>>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Default)]
struct Tasks {
    records: Arc<DashMap<usize, Arc<Record>>>,
    made: Arc<AtomicUsize>,
}

impl Tasks {
    fn spawn(
        &self,
        parent: Option<usize>,
        body: impl Future<Output = ()> + Send + 'static,
    ) -> usize {
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        let record = Arc::new(Record::default());
        self.records.insert(id, record.clone());
        if let Some(parent) = parent.and_then(|parent| self.records.get(&parent)) {
            lock(&parent.children).push(id);
        }
        let ended = record.clone();
        let handle = tokio::spawn(async move {
            body.await;
            ended.state.store(COMPLETED, Ordering::Release);
        });
        *lock(&record.handle) = Some(handle);
        id
    }

    /// Waits for its end, if nobody has yet.
    async fn ended(&self, id: usize) -> u8 {
        let record = self.records.get(&id).expect("it is kept").clone();
        let handle = lock(&record.handle).take();
        if let Some(handle) = handle {
            let is_over = handle.await;
            assert!(is_over.is_ok() || record.state.load(Ordering::Acquire) == CANCELLED);
        }
        record.state.load(Ordering::Acquire)
    }

    async fn cancel_tree(&self, root: usize) -> usize {
        let (mut stack, mut meant) = (vec![root], Vec::new());
        while let Some(id) = stack.pop() {
            let record = self.records.get(&id).expect("it is kept").clone();
            stack.extend(lock(&record.children).iter().copied());
            let running = record.state.compare_exchange(
                RUNNING,
                CANCELLED,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            if let (Ok(_), Some(handle)) = (running, &*lock(&record.handle)) {
                handle.abort();
            }
            meant.push(id);
        }
        let mut cancelled = 0;
        for id in meant {
            cancelled += usize::from(self.ended(id).await == CANCELLED);
        }
        cancelled
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn complete(size: usize, callers: usize) -> Sample {
    let tasks = Tasks::default();
    by_callers(size, callers, |_| {
        let tasks = tasks.clone();
        move |size| call(tasks, size, IN_FLIGHT)
    })
    .await
}

async fn call(tasks: Tasks, size: usize, most: usize) -> usize {
    let mut under_way = VecDeque::with_capacity(most);
    let mut sum = 0;
    for number in 0..size {
        if under_way.len() == most {
            let (number, oldest) = under_way.pop_front().expect("it is full");
            assert_eq!(tasks.ended(oldest).await, COMPLETED);
            sum += number;
        }
        under_way.push_back((number, tasks.spawn(None, async {})));
    }
    for (number, id) in under_way {
        assert_eq!(tasks.ended(id).await, COMPLETED);
        sum += number;
    }
    sum
}

async fn kept(size: usize) -> Sample {
    let tasks = Tasks::default();
    let watch = Watch::start();
    call(tasks.clone(), size, FEW).await;
    let sample = watch.stop(size);
    assert_eq!(tasks.records.len(), size);
    sample
}

async fn waiting(started: Latch) {
    started.count_down();
    pending::<()>().await;
}

async fn live(size: usize) -> Sample {
    let (tasks, started) = (Tasks::default(), Latch::new(size));
    let watch = Watch::start();
    for _ in 0..size {
        tasks.spawn(None, waiting(started.clone()));
    }
    started.opened().await;
    watch.stop(size)
}

async fn cancel(size: usize, shape: Shape) -> Sample {
    let (tasks, started) = (Tasks::default(), Latch::new(size));
    for place in 0..size {
        tasks.spawn(shape.parent_of(place), waiting(started.clone()));
    }
    started.opened().await;
    let watch = Watch::start();
    assert_eq!(tasks.cancel_tree(0).await, size);
    watch.stop(size)
}

/// Channels in a map, by what `key` makes of the number of their receiver.
async fn inbox<K: Eq + Hash>(size: usize, children: usize, key: fn(usize) -> K) -> Sample {
    let arrived = Latch::new(size);
    let keys: Vec<K> = (0..children).map(key).collect();
    let channels: DashMap<K, _> = (0..children)
        .map(|number| (key(number), plain::receiver(&arrived)))
        .collect();
    let watch = Watch::start();
    for number in 0..size {
        let channel = channels.get(&keys[number % children]);
        let sent = channel.expect("it is kept").send(number);
        sent.expect("the child lives");
    }
    arrived.opened().await;
    watch.stop(size)
}

async fn living(count: usize) -> Tasks {
    let (tasks, started) = (Tasks::default(), Latch::new(count));
    for _ in 0..count {
        tasks.spawn(None, waiting(started.clone()));
    }
    started.opened().await;
    tasks
}

async fn get(size: usize, count: usize) -> Sample {
    let tasks = living(count).await;
    let watch = Watch::start();
    (0..size).for_each(|number| look(&tasks, scattered(number, count)));
    watch.stop(size)
}

fn look(tasks: &Tasks, id: usize) {
    let record = tasks.records.get(&id).expect("it is kept").clone();
    assert_eq!(record.state.load(Ordering::Acquire), RUNNING);
}

async fn get_busy(size: usize, count: usize, reads: Reads) -> Sample {
    let tasks = living(count).await;
    let busy = tasks.clone();
    let write = move || call(busy.clone(), AT_ONCE, AT_ONCE);
    let read = |number| look(&tasks, scattered(number, count));
    beside(write, size, reads, read).await
}
