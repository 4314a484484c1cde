//! The task actor: runs one attempt at a time, the first in its `post_start`, further ones as
//! messages. And the errand that it runs, which a plain task of tokio runs as well.
//!
//! # Invariants
//! 1. Its ractor state is ours alone and empty while the body runs: nothing of a user's is dropped
//!    by its supervisor.
//! 2. `pre_start` does nothing, as it runs on its spawner's turn.
//! 3. It is linked to the manager while it has a body or waits for one, and leaves it before it
//!    ends. The manager hears that it waits for the first time, or failed in the middle of an
//!    errand, and does nothing about either.
//!
//! *Not here*: how a body is run and what its end means (`engine`, `kernel`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tracing::Span;

use super::hub::Hub;
use super::reserve::Reserve;
use crate::engine::{Attempt, Live, Reporter, Run};
use crate::kernel::{End, Epoch};

pub(super) struct TaskActor {
    pub(super) reserve: Arc<Reserve<ActorRef<Box<Errand>>>>,
}

/// Ends an actor that nobody needs. It is no failure, and nobody is told: the manager has been left
/// before. Only an error ends an actor at once; of one that stops its manager hears twice.
#[derive(Debug, thiserror::Error)]
#[error("its errand is over")]
struct Over;

/// What is to be run: it is polled where it lies.
pub(super) struct Errand {
    run: Run,
    /// Who tells the span of the attempt, if somebody listens.
    narrator: Option<Arc<Narrator>>,
    /// Tells that there is a body, until that has been dropped.
    _presence: watch::Receiver<()>,
}

impl Future for Errand {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { run, narrator, .. } = &mut *self;
        let run = Pin::new(run);
        match narrator {
            None => run.poll(cx),
            Some(narrator) => narrator.span.in_scope(|| run.poll(cx)),
        }
    }
}

impl Actor for TaskActor {
    type Msg = Box<Errand>;
    type State = Option<Box<Errand>>;
    type Arguments = Box<Errand>;

    async fn pre_start(
        &self,
        _myself: ActorRef<Box<Errand>>,
        errand: Box<Errand>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(Some(errand))
    }

    async fn post_start(
        &self,
        myself: ActorRef<Box<Errand>>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(errand) = state.take() {
            errand.await;
        }
        self.rest(&myself)
    }

    async fn handle(
        &self,
        myself: ActorRef<Box<Errand>>,
        errand: Box<Errand>,
        _state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        errand.await;
        self.rest(&myself)
    }
}

impl TaskActor {
    /// Waits for another errand, or ends when enough others do.
    fn rest(&self, myself: &ActorRef<Box<Errand>>) -> Result<(), ActorProcessingErr> {
        if self.reserve.join(myself) {
            return Ok(());
        }
        if let Some(manager) = myself.try_get_supervisor() {
            myself.unlink(manager);
        }
        Err(Box::new(Over))
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

/// What there is to run of an attempt.
pub(super) fn errand(hub: &Arc<Hub>, attempt: Arc<Attempt>) -> Errand {
    let span = span_of(hub, &attempt);
    let narrator = (!span.is_disabled()).then(|| {
        let hub = Arc::clone(hub);
        Arc::new(Narrator { hub, span })
    });
    let reporter: Arc<dyn Reporter> = match &narrator {
        None => Arc::<Hub>::clone(hub),
        Some(narrator) => Arc::<Narrator>::clone(narrator),
    };
    Errand {
        run: Run::new(attempt, reporter),
        narrator,
        _presence: hub.bodies.subscribe(),
    }
}
