//! The guard: starts manager, writer and publisher, and starts them again from the store if one
//! fails.
//!
//! # Invariants
//! 1. The three live and die together: what one had decided and another had not made durable is
//!    forgotten by all.
//! 2. At most [`RESTARTS_MAX`] restarts in [`RESTART_PERIOD`]; after that the gate says `Dead` to
//!    everybody.
//! 3. Events that were durable and not yet published are published after a restart, in order.
//!
//! *Not here*: what recovery decides (`kernel`).

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use super::gate::Shut;
use super::hub::Hub;
use super::manager::{Beginning, ManagerActor};
use super::publisher::PublisherActor;
use super::recovery;
use super::team::Team;
use super::tenure::Watching;
use super::writer::{Pen, WriterActor};
use crate::engine::HookSet;
use crate::kernel::Timestamp;
use crate::store::{Loaded, StoreError};

/// How often the actors may be started again within [`RESTART_PERIOD`].
const RESTARTS_MAX: usize = 3;
const RESTART_PERIOD: Duration = Duration::from_mins(1);
/// How long a failed actor may take to go; a body that never yields is not waited for.
pub(super) const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What the guard is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Stop the actors in order, after everything durable has been told.
    Stop(oneshot::Sender<()>),
    /// End, as the store is lost ([`Hub::ruin`]).
    End,
}

/// The public face of a manager, which knows executors and hooks.
type Face = Arc<dyn Any + Send + Sync>;

struct GuardActor;

struct Watchman {
    hub: Arc<Hub>,
    /// What the hub was given to call holds on to it weakly, and nobody else may have a handle.
    /// Until the manager gives up: from then on nothing is called.
    face: Option<Face>,
    crew: Vec<ActorCell>,
    /// What the crew writes with.
    pen: Option<Arc<Mutex<Pen>>>,
    /// Those who run bodies for it.
    team: Option<Arc<Team>>,
    failures: VecDeque<Timestamp>,
    is_stopping: bool,
    /// Looks after the lease of the store.
    tenancy: Option<Watching>,
}

/// Starts the actors of `hub` in the background, and keeps its `face` until they have gone.
/// Requests made meanwhile wait at the gate.
pub(crate) fn boot(hub: &Arc<Hub>, face: Face) {
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let all = (Arc::clone(&hub), face);
        if let Err(error) = Actor::spawn(None, GuardActor, all).await {
            tracing::error!(%error, "the guard could not start");
            hub.gate.close(Shut::Dead);
            hub.feed.close();
        }
    });
}

/// Stops the actors of `hub` and waits until they have gone.
pub(crate) async fn stop(hub: &Hub) {
    let _is_first = hub.leaving.set(()).is_ok();
    let guard = hub.guard.wait().await;
    let (done, is_done) = oneshot::channel();
    if guard.cast(Order::Stop(done)).is_ok() {
        // A guard that went before it answered has nothing left to stop.
        let _gone = is_done.await.is_err();
    }
    hub.storage.close(hub.holder()).await;
}

impl Actor for GuardActor {
    type Msg = Order;
    type State = Box<Watchman>;
    type Arguments = (Arc<Hub>, Face);

    async fn pre_start(
        &self,
        myself: ActorRef<Order>,
        (hub, face): (Arc<Hub>, Face),
    ) -> Result<Self::State, ActorProcessingErr> {
        let _is_first = hub.guard.set(myself).is_ok();
        let (crew, failures) = (Vec::new(), VecDeque::new());
        Ok(Box::new(Watchman {
            hub,
            face: Some(face),
            crew,
            pen: None,
            team: None,
            failures,
            is_stopping: false,
            tenancy: None,
        }))
    }

    async fn post_start(
        &self,
        myself: ActorRef<Order>,
        watchman: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        watchman.start(&myself).await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Order>,
        order: Order,
        watchman: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Stop(done) => {
                watchman.stop().await;
                let _is_heard = done.send(()).is_ok();
                myself.stop(None);
            }
            Order::End => watchman.ruined().await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Order>,
        event: SupervisionEvent,
        watchman: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let gone = match &event {
            SupervisionEvent::ActorFailed(who, error) => Some((who.get_id(), error.to_string())),
            SupervisionEvent::ActorTerminated(who, _, reason) => Some((
                who.get_id(),
                reason.clone().unwrap_or_else(|| "it ended".to_owned()),
            )),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
        };
        if let Some((who, why)) = gone {
            watchman.lost(&myself, who, &why).await;
        }
        Ok(())
    }
}

/// However the guard ends, also with its runtime: nobody is left to answer or to run anything.
impl Drop for Watchman {
    fn drop(&mut self) {
        if self.hub.gate.is_open().is_ok() {
            self.hub.gate.close(Shut::Dead);
            self.hub.feed.close();
        }
        self.let_go_of_face();
        self.hub.hooks.clear();
        self.hub.observers.give_up();
        drop(self.hub.uncarried.close());
        // Work holds on to the hub, so what is left of it would keep both for ever. It is taken out
        // first, as its destructor may look at the map.
        let lives: Vec<_> = self
            .hub
            .lives
            .iter()
            .map(|live| Arc::clone(&live))
            .collect();
        for live in lives {
            live.discard_work();
            live.set_hooks(HookSet::default());
            // Nobody will read, and who sent is told so.
            live.close_inbox();
        }
    }
}

impl Watchman {
    /// One of the three has gone: all go, and start again unless that happened too often.
    async fn lost(&mut self, myself: &ActorRef<Order>, who: ActorId, why: &str) {
        let is_ours = self.crew.iter().any(|cell| cell.get_id() == who);
        if self.is_stopping || !is_ours {
            return;
        }
        tracing::error!(
            why,
            "an actor of the manager failed; all start again from the store"
        );
        self.dismiss().await;
        if let Some(why) = self.hub.ruin() {
            self.give_up(&format!("its store is lost: {why}"));
            return;
        }
        let now = self.hub.clock.now();
        self.failures
            .retain(|failure| now.since(*failure) < RESTART_PERIOD);
        self.failures.push_back(now);
        if self.failures.len() > RESTARTS_MAX {
            self.give_up("it failed too often");
            return;
        }
        self.start(myself).await;
    }

    /// The store is lost, and none of the three knows it yet: nothing runs from now on.
    async fn ruined(&mut self) {
        if self.is_stopping || self.crew.is_empty() {
            return;
        }
        // First, so that nobody is told to ask again.
        self.give_up("its store is lost");
        self.dismiss().await;
    }

    fn give_up(&mut self, why: &str) {
        tracing::error!(why, "the manager gives up");
        self.hub.gate.close(Shut::Dead);
        self.hub.feed.close();
        self.let_go_of_face();
    }

    /// With it executors and hooks may go: that is user code, which is not to end an actor of ours.
    fn let_go_of_face(&mut self) {
        let face = self.face.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { drop(face) });
        }
    }

    /// Ends what is left of the three, without ceremony.
    async fn dismiss(&mut self) {
        self.tenancy = None;
        self.hub.gate.detach();
        self.hub.commits.detach();
        self.hub.outbox.detach();
        for cell in std::mem::take(&mut self.crew) {
            cell.kill();
            if cell.wait(Some(GOODBYE_MAX)).await.is_err() {
                tracing::warn!("an actor does not yield; it is left behind, fenced");
            }
            // The first one is the manager: its bodies wait for none of the others.
            self.end_team();
        }
        // A manager that was left behind may write no more.
        if let Some(pen) = self.pen.take()
            && let Ok(mut pen) = timeout(GOODBYE_MAX, pen.lock()).await
        {
            pen.take_away();
        }
        // They learn from the drop that the manager is started anew.
        self.hub.disappoint_askers();
        self.bodies_gone().await;
        // And so do those who ask meanwhile.
        drop(self.hub.commits.empty());
        drop(self.hub.outbox.empty());
    }

    /// The manager has gone, or does not yield: its bodies go, too.
    fn end_team(&mut self) {
        if let Some(team) = self.team.take() {
            team.end();
        }
    }

    /// Waits until no body is left: the next attempt of a task, and whoever waits for the end, must
    /// not find one at work.
    async fn bodies_gone(&self) {
        let gone = self.hub.bodies.closed();
        if timeout(GOODBYE_MAX, gone).await.is_err() {
            tracing::warn!("a body does not yield; it is left behind, fenced");
        }
    }

    async fn start(&mut self, myself: &ActorRef<Order>) {
        let (loaded, tenancy) = match self.hub.open_store(myself).await {
            Ok(Some(opened)) => opened,
            // The order to stop is on its way.
            Ok(None) => return,
            Err(error) => {
                if matches!(error, StoreError::Fenced { .. }) {
                    self.hub.set_lost(&error);
                } else {
                    self.hub.set_ruin(&error);
                }
                self.give_up(&format!("its store cannot be used: {error}"));
                return;
            }
        };
        if let Some(why) = self.hub.ruin() {
            self.give_up(&format!("its store was lost while it was read: {why}"));
            return;
        }
        self.tenancy = tenancy;
        if let Err(error) = self.recover(myself, loaded).await {
            self.dismiss().await;
            self.give_up(&format!("its actors cannot start: {error}"));
        }
    }

    async fn recover(&mut self, myself: &ActorRef<Order>, loaded: Loaded) -> Result<(), SpawnErr> {
        let hub = &self.hub;
        #[cfg(feature = "testing")]
        hub.sabotage.strike(super::sabotage::Part::Guard);
        let recovered = recovery::recover(hub, loaded).await;
        let (supervisor, step) = recovered.map_err(|why| SpawnErr::StartupFailed(why.into()))?;
        let team = Arc::new(Team::new(hub.queues.body_host));
        let pen = Arc::new(Mutex::new(Pen::new(Arc::clone(hub), Arc::clone(&team))));
        self.pen = Some(Arc::clone(&pen));
        self.team = Some(Arc::clone(&team));
        let beginning = Beginning {
            hub: Arc::clone(hub),
            pen: Arc::clone(&pen),
            team,
            supervisor,
            step,
        };
        let me = myself.get_cell();
        let (manager, _) = Actor::spawn_linked(None, ManagerActor, beginning, me.clone()).await?;
        self.crew.push(manager.get_cell());
        let (writer, _) = Actor::spawn_linked(None, WriterActor, pen, me.clone()).await?;
        self.crew.push(writer.get_cell());
        let (publisher, _) = Actor::spawn_linked(None, PublisherActor, Arc::clone(hub), me).await?;
        self.crew.push(publisher.get_cell());
        Ok(())
    }

    /// Ends the three in the order of the flow, so that what was decided is written and told.
    async fn stop(&mut self) {
        self.is_stopping = true;
        self.tenancy = None;
        self.hub.gate.close(Shut::Closed);
        let mut crew = std::mem::take(&mut self.crew).into_iter();
        if let Some(manager) = crew.next() {
            manager.stop(None);
            let _is_late = manager.wait(Some(GOODBYE_MAX)).await.is_err();
        }
        self.end_team();
        self.bodies_gone().await;
        for cell in crew {
            if cell.drain().is_ok() && cell.wait(Some(GOODBYE_MAX)).await.is_err() {
                // A sick store may never take the rest; the shutdown does not wait for it.
                cell.kill();
                let _is_late = cell.wait(Some(GOODBYE_MAX)).await.is_err();
            }
        }
        self.hub.feed.close();
        self.hub.observers.finish().await;
    }
}
