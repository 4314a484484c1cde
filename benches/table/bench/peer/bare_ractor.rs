//! One linked actor per task and nothing above it: the price of supervision itself.
//!
//! A body runs in `post_start` of its actor, as ours does. The supervisor hears of each start and
//! end, and does nothing.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinHandle;

use super::{Measuring, Peer, by_callers, idle};
use crate::bench::latch::{Guard, Latch};
use crate::bench::sample::{Sample, Watch};
use crate::bench::workload::{IN_FLIGHT, Shape, Workload};

/// `ractor` with the features that understory uses.
pub(crate) struct BareRactor;

impl Peer for BareRactor {
    fn name(&self) -> &'static str {
        "ractor, linked"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        Some(match workload {
            Workload::Complete => Box::pin(complete(size, 1)),
            Workload::CompleteTwice => Box::pin(complete(size, 2)),
            Workload::Live => Box::pin(live(size)),
            Workload::Idle { tasks } => Box::pin(idling(size, tasks)),
            Workload::Cancel(shape) => Box::pin(cancel(size, shape)),
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

/// What an actor of this benchmark does once it has started.
enum Body {
    End,
    Wait(Latch),
    Idle {
        _ends: Guard,
    },
    Supervise,
    /// Counts its messages.
    Receive(Latch),
    /// Counts this many messages as one.
    ReceiveAll(Latch, usize),
}

struct Worker;

impl Actor for Worker {
    type Msg = Arc<usize>;
    type State = Body;
    type Arguments = Body;

    async fn pre_start(
        &self,
        _: ActorRef<Arc<usize>>,
        body: Body,
    ) -> Result<Body, ActorProcessingErr> {
        Ok(body)
    }

    async fn post_start(
        &self,
        myself: ActorRef<Arc<usize>>,
        body: &mut Body,
    ) -> Result<(), ActorProcessingErr> {
        match body {
            Body::End => myself.stop(None),
            Body::Wait(started) => {
                started.count_down();
                pending::<()>().await;
            }
            Body::Idle { .. } | Body::Supervise | Body::Receive(_) | Body::ReceiveAll(..) => {}
        }
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Arc<usize>>,
        _: Arc<usize>,
        body: &mut Body,
    ) -> Result<(), ActorProcessingErr> {
        match body {
            Body::Receive(arrived) => arrived.count_down(),
            Body::ReceiveAll(complete, left) => {
                *left -= 1;
                if *left == 0 {
                    complete.count_down();
                }
            }
            Body::End | Body::Wait(_) | Body::Idle { .. } | Body::Supervise => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Arc<usize>>,
        _: SupervisionEvent,
        _: &mut Body,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

type Spawned = (ActorRef<Arc<usize>>, JoinHandle<()>);

async fn supervisor() -> ActorCell {
    let (actor, _) = Actor::spawn(None, Worker, Body::Supervise)
        .await
        .expect("it starts");
    actor.get_cell()
}

async fn spawn(body: Body, below: &ActorCell) -> Spawned {
    Actor::spawn_linked(None, Worker, body, below.clone())
        .await
        .expect("it starts")
}

/// Each caller has a supervisor of its own.
async fn complete(size: usize, callers: usize) -> Sample {
    by_callers(size, callers, |_| call).await
}

async fn call(size: usize) -> usize {
    let supervisor = supervisor().await;
    let mut under_way: VecDeque<(usize, JoinHandle<()>)> = VecDeque::with_capacity(IN_FLIGHT);
    let mut sum = 0;
    for number in 0..size {
        if under_way.len() == IN_FLIGHT {
            let (number, oldest) = under_way.pop_front().expect("it is full");
            oldest.await.expect("it does not panic");
            sum += number;
        }
        under_way.push_back((number, spawn(Body::End, &supervisor).await.1));
    }
    for (number, handle) in under_way {
        handle.await.expect("it does not panic");
        sum += number;
    }
    sum
}

async fn live(size: usize) -> Sample {
    let supervisor = supervisor().await;
    let started = Latch::new(size);
    let watch = Watch::start();
    for _ in 0..size {
        spawn(Body::Wait(started.clone()), &supervisor).await;
    }
    started.opened().await;
    watch.stop(size)
}

async fn idling(seconds: usize, tasks: usize) -> Sample {
    live(tasks).await;
    idle(seconds).await
}

/// Stopping the root kills all that is below it; no supervisor hears of those ends.
async fn cancel(size: usize, shape: Shape) -> Sample {
    let supervisor = supervisor().await;
    let ended = Latch::new(size);
    let mut actors: Vec<Spawned> = Vec::with_capacity(size);
    for place in 0..size {
        let parent = shape
            .parent_of(place)
            .map(|parent| actors[parent].0.get_cell());
        let parent = parent.unwrap_or_else(|| supervisor.clone());
        actors.push(
            spawn(
                Body::Idle {
                    _ends: ended.guard(),
                },
                &parent,
            )
            .await,
        );
    }
    let watch = Watch::start();
    actors[0].0.stop(None);
    ended.opened().await;
    for (_, handle) in actors {
        handle.await.expect("it does not panic");
    }
    watch.stop(size)
}

async fn inbox(size: usize, children: usize) -> Sample {
    let supervisor = supervisor().await;
    let arrived = Latch::new(size);
    let mut actors = Vec::with_capacity(children);
    for _ in 0..children {
        actors.push(spawn(Body::Receive(arrived.clone()), &supervisor).await.0);
    }
    let message = Arc::new(0);
    let watch = Watch::start();
    for number in 0..size {
        actors[number % children]
            .cast(message.clone())
            .expect("the child lives");
    }
    arrived.opened().await;
    watch.stop(size)
}

/// An actor per subscriber and a cast to each: its `OutputPort` would lose most of them.
async fn events(size: usize, subscribers: usize) -> Sample {
    let supervisor = supervisor().await;
    let complete = Latch::new(subscribers);
    let mut actors = Vec::with_capacity(subscribers);
    for _ in 0..subscribers {
        let body = Body::ReceiveAll(complete.clone(), size);
        actors.push(spawn(body, &supervisor).await.0);
    }
    let watch = Watch::start();
    for number in 0..size {
        let event = Arc::new(number);
        for actor in &actors {
            actor.cast(event.clone()).expect("the subscriber lives");
        }
    }
    complete.opened().await;
    watch.stop(size * subscribers)
}
