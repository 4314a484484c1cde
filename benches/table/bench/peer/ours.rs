//! understory, with its store in memory and its bounds raised to the size of the workload.
//!
//! Unlike any other peer it keeps a record of each task and tells every change to whoever
//! subscribes, and it answers a spawn when the record is durable.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use understory::{
    BodyHost, Builder, Cancel, Context, Failure, FeedItem, Filter, Manager, Page, Scope, ScopeRef,
    Seq, Since, State, Subscription, TaskHandle, TaskId, What,
};

use super::{Measuring, Peer, beside, by_callers, idle, scattered, task_name};
use crate::bench::latch::Latch;
use crate::bench::sample::{Sample, Watch};
use crate::bench::workload::{AT_ONCE, By, FEW, IN_FLIGHT, Reads, Shape, Workload};

/// A manager of this crate, whose bodies run there.
pub(crate) struct Ours(pub(crate) BodyHost);

/// Where they run in this process, which measures one workload of one peer.
static HOST: OnceLock<BodyHost> = OnceLock::new();

impl Peer for Ours {
    fn name(&self) -> &'static str {
        if self.0 == BodyHost::TokioTask {
            "understory, plain tasks"
        } else {
            "understory"
        }
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        let host = self.0;
        let measuring: Measuring = match workload {
            Workload::Complete => Box::pin(complete(size, 1)),
            Workload::CompleteTwice => Box::pin(complete(size, 2)),
            Workload::Live => Box::pin(live(size)),
            Workload::Kept => Box::pin(kept(size)),
            Workload::Idle { tasks } => Box::pin(idling(size, tasks)),
            Workload::Cancel(shape) => Box::pin(cancel(size, shape)),
            // The rest does not depend on where bodies run.
            _ if host != BodyHost::Actor => return None,
            Workload::Inbox { children } => Box::pin(inbox(size, children)),
            Workload::InboxOf { children, by } => Box::pin(inbox_of(size, children, by)),
            Workload::Events { subscribers } => Box::pin(events(size, subscribers)),
            Workload::Get { tasks } => Box::pin(get(size, tasks)),
            Workload::Page { tasks } => Box::pin(page(size, tasks)),
            Workload::GetBusy { tasks, read } => Box::pin(get_busy(size, tasks, read)),
            Workload::PageBusy { tasks } => Box::pin(page_busy(size, tasks)),
            #[cfg(feature = "sqlite")]
            Workload::Durable { callers } => Box::pin(durable(size, callers)),
            #[cfg(not(feature = "sqlite"))]
            Workload::Durable { .. } => return None,
            Workload::Fsync => return None,
        };
        Some(Box::pin(async move {
            HOST.set(host).expect("a process measures once");
            measuring.await
        }))
    }
}

/// Its feed keeps as many events as by default; nobody subscribes except in `events`.
fn manager(tasks: usize) -> Manager {
    builder(tasks).build().expect("the numbers are valid")
}

fn builder(tasks: usize) -> Builder {
    let host = HOST.get().copied().unwrap_or_default();
    let builder = Manager::builder()
        .body_host(host)
        .live_max(tasks + 1)
        .children_max(tasks);
    builder.depth_max(u32::MAX)
}

/// Each caller has a scope of its own.
async fn complete(size: usize, callers: usize) -> Sample {
    let manager = manager(size);
    let scope = |caller| manager.scope(&format!("bench-{caller}"));
    by_callers(size, callers, |caller| {
        let scope = scope(caller);
        move |size| call(scope, size, IN_FLIGHT)
    })
    .await
}

async fn call(scope: ScopeRef, size: usize, most: usize) -> usize {
    let mut under_way: VecDeque<TaskHandle<usize>> = VecDeque::with_capacity(most);
    let mut sum = 0;
    for number in 0..size {
        if under_way.len() == most {
            let oldest = under_way.pop_front().expect("it is full");
            sum += oldest.await.expect("it completes");
        }
        let body = move |_: Context| async move { Ok(number) };
        let spawned = scope.unnamed().spawn(body).await;
        under_way.push_back(spawned.expect("it is accepted"));
    }
    for handle in under_way {
        sum += handle.await.expect("it completes");
    }
    sum
}

/// A task of each caller at a time, in a file that waits for the disk at each commit.
#[cfg(feature = "sqlite")]
async fn durable(size: usize, callers: usize) -> Sample {
    let folder = super::disk::folder();
    let opened = builder(size).open(folder.join("tasks.db")).await;
    let manager = opened.expect("the file can be made");
    let scope = |caller| manager.scope(&format!("bench-{caller}"));
    let sample = by_callers(size, callers, |caller| {
        let scope = scope(caller);
        move |size| call(scope, size, 1)
    })
    .await;
    let all = manager.list(&Filter::all().state(State::Completed), &Page::first(1));
    assert_eq!(all.total, sample.operations);
    let shut = manager.shutdown(Duration::from_secs(10)).await;
    shut.expect("nothing is left");
    super::disk::clear(&folder);
    sample
}

/// The ring of the feed is filled before, as it is after the first minutes of any program.
async fn kept(size: usize) -> Sample {
    let manager = manager(size);
    let scope = manager.scope("bench");
    call(scope.clone(), size, FEW).await;
    let watch = Watch::start();
    call(scope, size, FEW).await;
    let sample = watch.stop(size);
    let all = manager.list(&Filter::all(), &Page::first(1));
    assert_eq!(all.total, 2 * size);
    sample
}

async fn idling(seconds: usize, tasks: usize) -> Sample {
    let _living = living(tasks).await;
    idle(seconds).await
}

async fn wait(started: Latch, context: Context) -> Result<(), Failure> {
    started.count_down();
    context.cancelled().await;
    Ok(())
}

async fn live(size: usize) -> Sample {
    let scope = manager(size).scope("bench");
    let started = Latch::new(size);
    let watch = Watch::start();
    for _ in 0..size {
        let started = started.clone();
        let spawned = scope
            .unnamed()
            .spawn(|context| wait(started, context))
            .await;
        spawned.expect("it is accepted");
    }
    started.opened().await;
    watch.stop(size)
}

async fn cancel(size: usize, shape: Shape) -> Sample {
    let scope = manager(size).scope("bench");
    let started = Latch::new(size);
    let mut tasks: Vec<TaskHandle<()>> = Vec::with_capacity(size);
    for place in 0..size {
        let started = started.clone();
        let mut task = scope.unnamed();
        if let Some(parent) = shape.parent_of(place) {
            task = task.parent(tasks[parent].id());
        }
        let spawned = task.spawn(|context| wait(started, context)).await;
        tasks.push(spawned.expect("it is accepted"));
    }
    started.opened().await;
    let watch = Watch::start();
    let why = Cancel::because("measured").grace(Duration::from_mins(10));
    let report = tasks[0].cancel_tree(why).await.expect("it is carried out");
    let sample = watch.stop(size);
    assert_eq!(report.cancelled.len(), size);
    sample
}

/// Tasks that count what they are sent.
async fn receivers(scope: &ScopeRef, size: usize, children: usize) -> (Latch, Vec<TaskHandle<()>>) {
    let arrived = Latch::new(size);
    // As large as all that is sent, so that none is refused.
    let capacity = u32::try_from(size / children).expect("a workload is small");
    let mut tasks = Vec::with_capacity(children);
    for number in 0..children {
        let arrived = arrived.clone();
        let body = |context: Context| async move {
            while context.recv().await.is_some() {
                arrived.count_down();
            }
            Ok(())
        };
        let task = scope.task(&task_name(number)).inbox_capacity(capacity);
        tasks.push(task.spawn(body).await.expect("it is accepted"));
    }
    (arrived, tasks)
}

async fn inbox(size: usize, children: usize) -> Sample {
    let scope = manager(children).scope("bench");
    let (arrived, tasks) = receivers(&scope, size, children).await;
    let watch = Watch::start();
    for number in 0..size {
        let sent = tasks[number % children].send(number).await;
        sent.expect("its inbox is large");
    }
    arrived.opened().await;
    watch.stop(size)
}

async fn inbox_of(size: usize, children: usize, by: By) -> Sample {
    let scope = manager(children).scope("bench");
    let (arrived, tasks) = receivers(&scope, size, children).await;
    let names: Vec<String> = (0..children).map(task_name).collect();
    let watch = Watch::start();
    for number in 0..size {
        let place = number % children;
        let sent = match by {
            By::Id => scope.send(tasks[place].id(), number).await,
            By::Name => scope.send(names[place].as_str(), number).await,
        };
        sent.expect("its inbox is large");
    }
    arrived.opened().await;
    watch.stop(size)
}

/// The ring of the feed is as large as all that is told, so that none is lost, and has been filled
/// once before anybody subscribes: the channel of plain tokio lays its ring out beforehand, too.
async fn events(size: usize, subscribers: usize) -> Sample {
    // Beside what it emits, a task is accepted, started and settled.
    let ring = size + 3;
    let builder = builder(1).feed_events_max(ring);
    let manager = builder.build().expect("the numbers are valid");
    emit(&manager, "before", ring).await;
    let complete = Latch::new(subscribers);
    for _ in 0..subscribers {
        let feed = manager.subscribe(Since::Now).await.expect("there is room");
        let complete = complete.clone();
        tokio::spawn(async move {
            hear(feed, size).await;
            complete.count_down();
        });
    }
    let watch = Watch::start();
    emit(&manager, "number", size).await;
    complete.opened().await;
    watch.stop(size * subscribers)
}

async fn emit(manager: &Manager, label: &'static str, count: usize) {
    let body = move |context: Context| async move {
        for number in 0..count {
            context.emit(label, number).await?;
        }
        Ok(())
    };
    let emitting = manager.scope("bench").unnamed().spawn(body).await;
    let emitting = emitting.expect("it is accepted");
    emitting.await.expect("it completes");
}

/// Takes so many numbers, with no gap in what it is told, of which the last is the last one sent.
async fn hear(mut feed: Subscription, count: usize) {
    let (mut left, mut newest) = (count, None);
    while left > 0 {
        match feed.next().await.expect("the manager lives") {
            FeedItem::Event(event) => {
                assert!(newest.is_none_or(|newest: Seq| event.seq == newest.next()));
                newest = Some(event.seq);
                if let What::Emitted { label, payload } = &event.what
                    && &**label == "number"
                {
                    left -= 1;
                    assert!(left > 0 || payload.as_json().parse() == Ok(count - 1));
                }
            }
            FeedItem::Snapshot { .. } => {}
            FeedItem::Lagged { missed, .. } => panic!("{missed} events are missing"),
            FeedItem::Stopped => panic!("the manager lives"),
        }
    }
}

/// So many tasks that live, in ten scopes.
async fn living(tasks: usize) -> (Manager, Vec<TaskId>) {
    let manager = manager(tasks + AT_ONCE);
    let started = Latch::new(tasks);
    let mut ids = Vec::with_capacity(tasks);
    for number in 0..tasks {
        let scope = manager.scope(&format!("bench-{}", number % 10));
        let started = started.clone();
        let body = |context| wait(started, context);
        let spawned = scope.unnamed().spawn(body).await;
        ids.push(spawned.expect("it is accepted").id());
    }
    started.opened().await;
    (manager, ids)
}

async fn get(size: usize, tasks: usize) -> Sample {
    let (manager, ids) = living(tasks).await;
    let watch = Watch::start();
    (0..size).for_each(|number| look(&manager, ids[scattered(number, tasks)]));
    watch.stop(size)
}

fn look(manager: &Manager, id: TaskId) {
    assert!(manager.get(id).is_some());
}

async fn get_busy(size: usize, tasks: usize, reads: Reads) -> Sample {
    let (manager, ids) = living(tasks).await;
    let busy = manager.scope("busy");
    let write = move || call(busy.clone(), AT_ONCE, AT_ONCE);
    let read = |number| look(&manager, ids[scattered(number, tasks)]);
    beside(write, size, reads, read).await
}

async fn page(size: usize, tasks: usize) -> Sample {
    let (manager, _) = living(tasks).await;
    let watch = Watch::start();
    (0..size).for_each(pages(manager));
    watch.stop(size)
}

async fn page_busy(size: usize, tasks: usize) -> Sample {
    let (manager, _) = living(tasks).await;
    let busy = manager.scope("busy");
    let write = move || call(busy.clone(), AT_ONCE, AT_ONCE);
    beside(write, size, Reads::Mean, pages(manager)).await
}

/// Reads one page after the other, and begins again with the first.
fn pages(manager: Manager) -> impl FnMut(usize) {
    let scope: Scope = "bench-3".parse().expect("it is a scope");
    let filter = Filter::all().scope(scope).state(State::Running);
    let mut from = Page::first(50);
    move |_| {
        let listing = manager.list(&filter, &from);
        assert!(!listing.records.is_empty());
        from = match listing.next {
            Some(next) => Page::first(50).after(next),
            None => Page::first(50),
        };
    }
}
