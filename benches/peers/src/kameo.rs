//! Supervised actors of `kameo` 0.22, never restarted.
//!
//! A body runs in `on_start` of its actor, below one supervisor, with unbounded mailboxes. It keeps
//! no record of what has ended; stopping a root stops what is below it and waits for that.

use std::collections::VecDeque;
use std::sync::Arc;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::mailbox;
use kameo::message::{Context, Message};
use kameo::supervision::RestartPolicy;

use crate::bench::{Guard, IN_FLIGHT, Latch, Measuring, Peer, Sample, Shape, Watch, Workload};

/// `kameo` without its default features.
pub(crate) struct Kameo;

impl Peer for Kameo {
    fn name(&self) -> &'static str {
        "kameo, supervised"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        Some(match workload {
            Workload::Complete => Box::pin(complete(size)),
            Workload::Live => Box::pin(live(size)),
            Workload::Cancel(shape) => Box::pin(cancel(size, shape)),
            Workload::Inbox { children } => Box::pin(inbox(size, children)),
            Workload::Events { subscribers } => Box::pin(events(size, subscribers)),
            _ => return None,
        })
    }
}

/// What an actor of this benchmark does.
#[derive(Clone)]
enum Body {
    End,
    /// Says that it has begun.
    Wait(Latch),
    /// Says that it has ended.
    Idle(Latch),
    Supervise,
    /// Counts its messages.
    Receive(Latch),
    /// Counts this many messages as one.
    ReceiveAll(Latch, usize),
}

struct Worker {
    body: Body,
    _ends: Option<Guard>,
}

impl Actor for Worker {
    type Args = Body;
    type Error = Infallible;

    async fn on_start(body: Body, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        let mut ends = None;
        match &body {
            Body::End => myself.stop_gracefully().await.expect("it lives"),
            Body::Wait(started) => started.count_down(),
            Body::Idle(ended) => ends = Some(ended.guard()),
            Body::Supervise | Body::Receive(_) | Body::ReceiveAll(..) => {}
        }
        Ok(Self { body, _ends: ends })
    }
}

impl Message<Arc<usize>> for Worker {
    type Reply = ();

    async fn handle(&mut self, _: Arc<usize>, _: &mut Context<Self, ()>) {
        match &mut self.body {
            Body::Receive(arrived) => arrived.count_down(),
            Body::ReceiveAll(complete, left) => {
                *left -= 1;
                if *left == 0 {
                    complete.count_down();
                }
            }
            Body::End | Body::Wait(_) | Body::Idle(_) | Body::Supervise => {}
        }
    }
}

fn supervisor() -> ActorRef<Worker> {
    Worker::spawn_with_mailbox(Body::Supervise, mailbox::unbounded())
}

async fn spawn(body: Body, below: &ActorRef<Worker>) -> ActorRef<Worker> {
    let child = Worker::supervise(below, body).restart_policy(RestartPolicy::Never);
    child.spawn_with_mailbox(mailbox::unbounded()).await
}

async fn complete(size: usize) -> Sample {
    let supervisor = supervisor();
    let mut under_way = VecDeque::with_capacity(IN_FLIGHT);
    let watch = Watch::start();
    for _ in 0..size {
        if under_way.len() == IN_FLIGHT {
            let oldest: ActorRef<Worker> = under_way.pop_front().expect("it is full");
            oldest.wait_for_shutdown().await;
        }
        under_way.push_back(spawn(Body::End, &supervisor).await);
    }
    for actor in under_way {
        actor.wait_for_shutdown().await;
    }
    watch.stop(size)
}

async fn live(size: usize) -> Sample {
    let supervisor = supervisor();
    let started = Latch::new(size);
    // An actor whose last reference is gone ends.
    let mut actors = Vec::with_capacity(size);
    let watch = Watch::start();
    for _ in 0..size {
        actors.push(spawn(Body::Wait(started.clone()), &supervisor).await);
    }
    started.opened().await;
    watch.stop(size)
}

async fn cancel(size: usize, shape: Shape) -> Sample {
    let supervisor = supervisor();
    let ended = Latch::new(size);
    let mut actors: Vec<ActorRef<Worker>> = Vec::with_capacity(size);
    for place in 0..size {
        let parent = shape.parent_of(place).map_or(&supervisor, |at| &actors[at]);
        let actor = spawn(Body::Idle(ended.clone()), parent).await;
        actor.wait_for_startup().await;
        actors.push(actor);
    }
    let watch = Watch::start();
    actors[0].stop_gracefully().await.expect("it lives");
    ended.opened().await;
    watch.stop(size)
}

async fn inbox(size: usize, children: usize) -> Sample {
    let supervisor = supervisor();
    let arrived = Latch::new(size);
    let mut actors = Vec::with_capacity(children);
    for _ in 0..children {
        actors.push(spawn(Body::Receive(arrived.clone()), &supervisor).await);
    }
    let message = Arc::new(0);
    let watch = Watch::start();
    for number in 0..size {
        let child = &actors[number % children];
        child.tell(message.clone()).await.expect("the child lives");
    }
    arrived.opened().await;
    watch.stop(size)
}

/// An actor per subscriber, and a message to each.
async fn events(size: usize, subscribers: usize) -> Sample {
    let supervisor = supervisor();
    let complete = Latch::new(subscribers);
    let mut actors = Vec::with_capacity(subscribers);
    for _ in 0..subscribers {
        let body = Body::ReceiveAll(complete.clone(), size);
        actors.push(spawn(body, &supervisor).await);
    }
    let watch = Watch::start();
    for number in 0..size {
        let event = Arc::new(number);
        for actor in &actors {
            actor.tell(event.clone()).await.expect("it lives");
        }
    }
    complete.opened().await;
    watch.stop(size * subscribers)
}
