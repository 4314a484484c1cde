//! The one actor of these tests: its hooks are closures and its messages are futures it runs.
//!
//! Not here: any assertion.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;
type Hook = Box<dyn Fn() -> Pending + Send + Sync>;
/// What a puppet keeps as its `State`.
pub(crate) type Baggage = Box<dyn Any + Send>;

/// A message: the puppet runs it to its end on its own turn.
pub(crate) struct Note(Pending);

pub(crate) fn note(work: impl Future<Output = ()> + Send + 'static) -> Note {
    Note(Box::pin(work))
}

/// What a supervisor was told of a child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Started(ActorId),
    Ended(ActorId, Option<String>),
    Failed(ActorId, String),
}

pub(crate) type Ear = mpsc::UnboundedReceiver<Heard>;

#[derive(Default)]
pub(crate) struct Puppet {
    pre_start: Option<Hook>,
    post_start: Option<Hook>,
    post_stop: Option<Hook>,
    tells: Option<mpsc::UnboundedSender<Heard>>,
}

impl Actor for Puppet {
    type Msg = Note;
    type State = Baggage;
    type Arguments = Baggage;

    async fn pre_start(
        &self,
        _: ActorRef<Note>,
        baggage: Baggage,
    ) -> Result<Baggage, ActorProcessingErr> {
        run(self.pre_start.as_ref()).await;
        Ok(baggage)
    }

    async fn post_start(
        &self,
        _: ActorRef<Note>,
        _: &mut Baggage,
    ) -> Result<(), ActorProcessingErr> {
        run(self.post_start.as_ref()).await;
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Note>,
        _: &mut Baggage,
    ) -> Result<(), ActorProcessingErr> {
        run(self.post_stop.as_ref()).await;
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Note>,
        Note(work): Note,
        _: &mut Baggage,
    ) -> Result<(), ActorProcessingErr> {
        work.await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Note>,
        event: SupervisionEvent,
        _: &mut Baggage,
    ) -> Result<(), ActorProcessingErr> {
        let heard = match &event {
            SupervisionEvent::ActorStarted(who) => Heard::Started(who.get_id()),
            SupervisionEvent::ActorTerminated(who, _, why) => {
                Heard::Ended(who.get_id(), why.clone())
            }
            SupervisionEvent::ActorFailed(who, why) => Heard::Failed(who.get_id(), why.to_string()),
            SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        if let Some(tells) = &self.tells {
            // A test that no longer listens has seen what it wanted.
            let _ = tells.send(heard);
        }
        Ok(())
    }
}

async fn run(hook: Option<&Hook>) {
    if let Some(hook) = hook {
        hook().await;
    }
}

pub(crate) type Spawned = (ActorRef<Note>, JoinHandle<()>);

impl Puppet {
    pub(crate) fn on_pre_start<F>(mut self, work: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.pre_start = Some(Box::new(move || Box::pin(work())));
        self
    }

    pub(crate) fn on_post_start<F>(mut self, work: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.post_start = Some(Box::new(move || Box::pin(work())));
        self
    }

    pub(crate) fn on_post_stop<F>(mut self, work: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.post_stop = Some(Box::new(move || Box::pin(work())));
        self
    }

    pub(crate) async fn spawn(self) -> Spawned {
        Actor::spawn(None, self, Box::new(()))
            .await
            .expect("an unnamed puppet starts")
    }

    pub(crate) async fn spawn_below(self, supervisor: &ActorRef<Note>) -> Spawned {
        self.spawn_with(Box::new(()), supervisor.get_cell()).await
    }

    pub(crate) async fn spawn_with(self, baggage: Baggage, supervisor: ActorCell) -> Spawned {
        Actor::spawn_linked(None, self, baggage, supervisor)
            .await
            .expect("a puppet starts below a live supervisor")
    }
}

/// A supervisor that survives whatever its children do, and tells what it hears.
pub(crate) async fn supervisor() -> (ActorRef<Note>, JoinHandle<()>, Ear) {
    let (tells, ear) = mpsc::unbounded_channel();
    let (actor, join) = Puppet {
        tells: Some(tells),
        ..Puppet::default()
    }
    .spawn()
    .await;
    (actor, join, ear)
}

/// Panics when dropped.
pub(crate) struct DropBomb;

impl Drop for DropBomb {
    fn drop(&mut self) {
        panic!("the destructor panicked");
    }
}

/// A shared number that tests read when all who count have ended.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<AtomicUsize>);

impl Tally {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Answers once `actor` has handled everything sent to it before.
pub(crate) async fn round_trip(actor: &ActorRef<Note>) {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let sent = actor.cast(note(async move {
        let _ = answer.send(());
    }));
    assert!(sent.is_ok(), "a live puppet takes messages");
    answered.await.expect("a live puppet answers");
}
