//! The task actor: one per attempt, linked to the manager; runs the body in its `post_start`.
//!
//! # Invariants
//! 1. Its ractor state is ours alone and empty while the body runs: nothing of a user's is dropped
//!    by its supervisor.
//! 2. `pre_start` does nothing, as it runs on its spawner's turn.
//!
//! *Not here*: how a body is run and what its end means (`engine`, `kernel`).

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

use super::hub::Hub;
use crate::engine::{self, Attempt, Reporter};

struct TaskActor;

/// What the actor needs to run.
struct Errand {
    attempt: Attempt,
    reporter: Arc<dyn Reporter>,
    /// Tells that there is a body, until that has been dropped.
    presence: watch::Receiver<()>,
}

impl Actor for TaskActor {
    type Msg = ();
    type State = Option<Box<Errand>>;
    type Arguments = Box<Errand>;

    async fn pre_start(
        &self,
        _myself: ActorRef<()>,
        errand: Box<Errand>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(Some(errand))
    }

    async fn post_start(
        &self,
        myself: ActorRef<()>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(errand) = state.take() {
            let Errand {
                attempt,
                reporter,
                presence,
            } = *errand;
            engine::run(attempt, reporter).await;
            drop(presence);
        }
        myself.stop(None);
        Ok(())
    }
}

/// Starts an attempt in an actor of its own below `manager`.
///
/// If it cannot start, as the manager is going down, the attempt is reported lost.
pub(super) async fn start(hub: &Arc<Hub>, manager: &ActorCell, attempt: Attempt) {
    let reporter: Arc<dyn Reporter> = Arc::<Hub>::clone(hub);
    let errand = Box::new(Errand {
        attempt: attempt.clone(),
        reporter,
        presence: hub.bodies.subscribe(),
    });
    if let Err(error) = Actor::spawn_linked(None, TaskActor, errand, manager.clone()).await {
        tracing::warn!(task = %attempt.live.id, %error, "its actor could not start");
        engine::lost(&attempt, &**hub, "its actor could not start");
    }
}
