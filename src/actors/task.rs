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

use super::hub::Hub;
use crate::engine::{self, Attempt, Reporter};

struct TaskActor;

/// What the actor needs to run.
type Errand = (Attempt, Arc<dyn Reporter>);

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
            let (attempt, reporter) = *errand;
            engine::run(attempt, reporter).await;
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
    let errand = Box::new((attempt.clone(), reporter));
    if let Err(error) = Actor::spawn_linked(None, TaskActor, errand, manager.clone()).await {
        tracing::warn!(task = %attempt.live.id, %error, "its actor could not start");
        engine::lost(&attempt, &**hub, "its actor could not start");
    }
}
