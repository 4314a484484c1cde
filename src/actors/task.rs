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
use tracing::{Instrument, Span};

use super::hub::Hub;
use crate::engine::{self, Attempt, Live, Reporter};
use crate::kernel::{End, Epoch};

struct TaskActor;

/// What the actor needs to run.
struct Errand {
    attempt: Attempt,
    span: Span,
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
                span,
                reporter,
                presence,
            } = *errand;
            engine::run(attempt, reporter).instrument(span).await;
            drop(presence);
        }
        myself.stop(None);
        Ok(())
    }
}

/// Tells the span of an attempt how that ended, and then the manager.
struct Narrator {
    hub: Arc<Hub>,
    span: Span,
}

impl Reporter for Narrator {
    fn report(&self, live: &Live, epoch: Epoch, end: End, undelivered: u32) {
        let status = if matches!(end, End::Done(_)) {
            "ok"
        } else {
            "error"
        };
        self.span.record("otel.status_code", status);
        self.hub.report(live, epoch, end, undelivered);
    }
}

/// The span of an attempt. Its fields are computed only when somebody listens.
fn span_of(hub: &Hub, attempt: &Attempt) -> Span {
    let (id, spec) = (attempt.live.id, &attempt.live.spec);
    tracing::info_span!(
        parent: None,
        "task",
        task.id = %id,
        task.name = spec.name.as_ref().map(crate::kernel::Name::as_str),
        task.path = hub.path(id),
        task.kind = spec.kind.as_ref().map(crate::kernel::Kind::as_str),
        task.parent_id = spec.parent.map(tracing::field::display),
        task.attempt = attempt.number,
        task.traceparent = spec.trace.as_ref().map(crate::kernel::Trace::traceparent),
        otel.kind = "internal",
        otel.status_code = tracing::field::Empty,
    )
}

/// Starts an attempt in an actor of its own below `manager`.
///
/// If it cannot start, as the manager is going down, the attempt is reported lost.
pub(super) async fn start(hub: &Arc<Hub>, manager: &ActorCell, attempt: Attempt) {
    let span = span_of(hub, &attempt);
    let reporter: Arc<dyn Reporter> = if span.is_disabled() {
        Arc::<Hub>::clone(hub)
    } else {
        let (hub, span) = (Arc::clone(hub), span.clone());
        Arc::new(Narrator { hub, span })
    };
    let errand = Box::new(Errand {
        attempt: attempt.clone(),
        span,
        reporter,
        presence: hub.bodies.subscribe(),
    });
    if let Err(error) = Actor::spawn_linked(None, TaskActor, errand, manager.clone()).await {
        tracing::warn!(task = %attempt.live.id, %error, "its actor could not start");
        engine::lost(&attempt, &**hub, "its actor could not start");
    }
}
