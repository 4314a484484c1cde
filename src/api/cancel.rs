//! Cancelling, in two phases: ask, then force after the grace; and the report of what became of
//! each task.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::context;
use super::core::Core;
use super::handle::TaskRef;
use super::manager::Manager;
use super::scope::ScopeRef;
use super::wait::heard;
use crate::actors::Shut;
use crate::engine::cut;
use crate::kernel::{CancelReport, InvalidText, Reply, Requester, StopAsk, Target, TaskId};

/// Time beyond grace and force after which a cancel that a sick store holds up is reported as such.
pub(super) const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// Why and how fast to stop.
///
/// ```
/// use std::time::Duration;
/// use understory::Cancel;
///
/// let cancel = Cancel::because("user pressed stop").grace(Duration::from_secs(5));
/// # let _ = cancel;
/// ```
#[derive(Clone, Debug)]
pub struct Cancel {
    reason: Arc<str>,
    grace: Option<Duration>,
    now: bool,
}

impl Cancel {
    /// Makes a cancel for this reason, which each task sees and its record keeps; at most 4 KiB.
    pub fn because(reason: &str) -> Self {
        Self {
            reason: cut(reason.to_owned()).into(),
            grace: None,
            now: false,
        }
    }

    /// Sets how long bodies may go on; a task's own shorter grace wins. Zero forces at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Settles the tasks at once instead of waiting for their bodies: each is forced, fenced and,
    /// as nobody knows whether it still runs, listed as `abandoned`. Its slot, name and key stay
    /// held until it has stopped. With [`TaskRef::cancel`] children that go on are still waited
    /// for.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager, State};
    /// # let manager = Manager::in_memory();
    /// let deaf = manager
    ///     .scope("s")
    ///     .task("deaf")
    ///     .spawn(|_| async { Ok(std::future::pending::<()>().await) })
    ///     .await?;
    /// let report = deaf.cancel_tree(Cancel::because("user pressed stop twice").now()).await?;
    /// assert_eq!(deaf.state(), Some(State::Cancelled));
    /// assert_eq!(report.len(), 1);
    /// # Ok(()) }
    /// ```
    pub fn now(mut self) -> Self {
        self.now = true;
        self
    }

    pub(super) fn ask(self) -> StopAsk {
        StopAsk {
            reason: self.reason,
            by: requester(),
            grace: self.grace,
            now: self.now,
        }
    }
}

/// Who asks here: the host, or the body that runs here.
pub(super) fn requester() -> Requester {
    context::current().map_or(Requester::Host, |here| Requester::Task(here.id()))
}

/// Why a cancel was not carried out or its end is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// No such task was ever accepted, or its record is no longer kept.
    #[error("no task {0} is known")]
    Unknown(TaskId),
    /// It is not to be: the host's policy refused it, or the scope that asks may see the task and
    /// not cancel it. Nothing happened.
    #[error("the cancel was refused")]
    Denied(Option<TaskId>),
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// The store takes nothing, so the end of the tasks cannot be told. The intent is kept: bodies
    /// are stopped when the store works again.
    #[error("the store takes nothing; the cancel is kept and goes on when it works again: {0}")]
    StoreUnavailable(String),
    /// The manager was shut down or has failed: nothing runs any more.
    #[error("the manager is gone")]
    Gone,
    /// The manager was started anew before the end: ask again.
    #[error("the manager was started anew before the end was known; cancel again")]
    Restarted,
}

impl TaskRef {
    /// Cancels this task and waits until it has settled. Its children are treated as their
    /// `on_parent_end` says; without one they are cancelled.
    ///
    /// Cancelling a task that has ended is not an error: the report lists it as `already_ended`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("t")
    ///     .spawn(|ctx| async move { Ok(ctx.cancelled().await.reason.to_string()) })
    ///     .await?;
    /// let report = task.cancel(Cancel::because("enough")).await?;
    /// assert_eq!(report.cancelled, [task.id()]);
    /// let report = task.cancel(Cancel::because("enough")).await?;
    /// assert_eq!(report.already_ended, [task.id()]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CancelError`]; see its variants for whether anything was stopped.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel(&self, cancel: Cancel) -> Result<CancelReport, CancelError> {
        ask(self.core(), Target::One(self.id()), cancel.ask()).await
    }

    /// Cancels this task and everything below it, and waits until none of it runs.
    ///
    /// When it returns, every task that was, is or is being spawned below is settled, and no body
    /// that returns to the runtime is polled again. Bodies that did not stop within the grace are
    /// listed as `abandoned`: they are fenced and keep their slots and names until they stop. It
    /// returns within the longest grace that applies, the
    /// [`abort_window`](crate::Builder::abort_window) and half a second.
    ///
    /// A body that cancels a tree it is part of and waits for the end waits for itself: it is
    /// dropped at the end of the grace.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager};
    /// # let manager = Manager::in_memory();
    /// let lead = manager
    ///     .scope("s")
    ///     .task("lead")
    ///     .spawn(|ctx| async move {
    ///         let child = ctx.task("child").spawn(|ctx| async move {
    ///             ctx.cancelled().await;
    ///             Ok(())
    ///         });
    ///         child.await?.await?;
    ///         Ok(())
    ///     })
    ///     .await?;
    /// let report = lead.cancel_tree(Cancel::because("enough")).await?;
    /// assert!(report.abandoned.is_empty()); // nothing below `lead` runs any more
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CancelError`]; see its variants for whether anything was stopped.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_tree(&self, cancel: Cancel) -> Result<CancelReport, CancelError> {
        ask(self.core(), Target::Tree(self.id()), cancel.ask()).await
    }
}

impl ScopeRef {
    /// Cancels every task of this scope and waits until none runs. See [`TaskRef::cancel_tree`].
    ///
    /// The scope stays open: tasks that are asked for later are taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Context, Failure, Manager, State};
    /// # let manager = Manager::in_memory();
    /// let (mine, yours) = (manager.scope("mine"), manager.scope("yours"));
    /// async fn serve(ctx: Context) -> Result<(), Failure> {
    ///     ctx.cancelled().await;
    ///     Ok(())
    /// }
    ///
    /// mine.task("server").spawn(serve).await?;
    /// let other = yours.task("server").spawn(serve).await?;
    /// let report = mine.cancel_scope(Cancel::because("the session is over")).await?;
    /// assert_eq!(report.len(), 1);
    /// assert!(!other.state().is_some_and(State::is_terminal));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CancelError`]; see its variants for whether anything was stopped.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_scope(&self, cancel: Cancel) -> Result<CancelReport, CancelError> {
        let scope = self.scope.clone()?;
        ask(&self.core, Target::Scope(scope), cancel.ask()).await
    }
}

impl Manager {
    /// Cancels every task and waits until none runs. See [`TaskRef::cancel_tree`].
    ///
    /// The manager goes on; [`Manager::shutdown`] ends it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager};
    /// # let manager = Manager::in_memory();
    /// for name in ["a", "b"] {
    ///     let task = manager.scope("s").task(name);
    ///     task.spawn(|ctx| async move { Ok(ctx.cancelled().await.reason.to_string()) }).await?;
    /// }
    /// let report = manager.cancel_all(Cancel::because("deploy")).await?;
    /// assert_eq!(report.len(), 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CancelError`]; see its variants for whether anything was stopped.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_all(&self, cancel: Cancel) -> Result<CancelReport, CancelError> {
        ask(&self.core, Target::All, cancel.ask()).await
    }
}

impl Manager {
    /// Cancels every task with this label `run`, with everything below it, and waits until none
    /// runs. See [`TaskRef::cancel_tree`].
    ///
    /// Unlike a cancelled scope, the run is over: tasks of it that are asked for later are refused.
    /// Of the runs cancelled last as many are remembered as
    /// [`Builder::cancelled_runs_max`](crate::Builder::cancelled_runs_max) says; after a restart
    /// those of which a task was cancelled and its record is kept.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager};
    /// # let manager = Manager::in_memory();
    /// let ask = || manager.scope("s").unnamed().label("run", "42");
    /// ask().spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
    /// let report = manager.cancel_run("42", Cancel::because("user pressed stop")).await?;
    /// assert_eq!(report.cancelled.len(), 1);
    /// assert!(ask().spawn(|_| async { Ok(()) }).await.is_err()); // too late
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CancelError`]; see its variants for whether anything was stopped.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_run(&self, run: &str, cancel: Cancel) -> Result<CancelReport, CancelError> {
        ask(&self.core, Target::Run(run.into()), cancel.ask()).await
    }
}

/// Asks for a stop, if the host's policy lets the request through. A body that asks hears of the
/// ends.
pub(super) async fn ask(
    core: &Arc<Core>,
    target: Target,
    ask: StopAsk,
) -> Result<CancelReport, CancelError> {
    let report = core.within(judged(core, target, ask)).await?;
    if core.hub.hears_wakes() && context::current_id().is_some() {
        for list in [&report.cancelled, &report.already_ended, &report.abandoned] {
            for id in list {
                let task = TaskRef::new(Arc::clone(core), *id);
                let end = task.record().filter(|record| record.state.is_terminal());
                if let Some(end) = end {
                    heard(&task, &end);
                }
            }
        }
    }
    Ok(report)
}

/// With a policy it goes on in a task of its own: whoever drops the future has asked all the same.
async fn judged(
    core: &Arc<Core>,
    target: Target,
    ask: StopAsk,
) -> Result<CancelReport, CancelError> {
    if !core.hooks.judges_cancels() {
        return carry_out(core, target, ask).await;
    }
    let core = Arc::clone(core);
    let asked = tokio::spawn(async move {
        if core.allows(&target, &ask).await {
            carry_out(&core, target, ask).await
        } else {
            Err(CancelError::Denied(target.task()))
        }
    });
    // It only ends otherwise when the runtime does.
    asked.await.unwrap_or(Err(CancelError::Gone))
}

/// Carries it out. When it has to wait for its turn it does so in a task of its own: whoever drops
/// the future then has asked all the same.
async fn carry_out(
    core: &Arc<Core>,
    target: Target,
    ask: StopAsk,
) -> Result<CancelReport, CancelError> {
    if let Some(turn) = core.hub.gate.turn_now() {
        return decided(core, turn, target, ask).await;
    }
    let core = Arc::clone(core);
    let asked = tokio::spawn(async move {
        match core.hub.gate.turn().await {
            Ok(turn) => decided(&core, turn, target, ask).await,
            Err(shut) => Err(shut.into()),
        }
    });
    // It only ends otherwise when the runtime does.
    asked.await.unwrap_or(Err(CancelError::Gone))
}

async fn decided(
    core: &Core,
    turn: OwnedSemaphorePermit,
    target: Target,
    ask: StopAsk,
) -> Result<CancelReport, CancelError> {
    let hub = &core.hub;
    let grace = ask.grace.unwrap_or(hub.bounds.grace);
    let longest = grace
        .saturating_add(hub.bounds.abort_window)
        .saturating_add(STORE_PATIENCE);
    let decided = hub.gate.cancel(turn, target, ask);
    tokio::pin!(decided);
    let reply = loop {
        match tokio::time::timeout(longest, &mut decided).await {
            Ok(reply) => break reply,
            Err(_) => {
                // A task with a longer grace of its own is waited for; a sick store is not.
                if let Some(why) = hub.trouble() {
                    return Err(CancelError::StoreUnavailable(why.to_string()));
                }
            }
        }
    };
    match reply {
        Ok(Reply::Cancelled(report)) => Ok(*report),
        Ok(Reply::Unknown(id)) => Err(CancelError::Unknown(id)),
        Ok(
            Reply::Spawned(_)
            | Reply::Resumed(_)
            | Reply::Controlled(_)
            | Reply::Asked(_)
            | Reply::Responded(_)
            | Reply::Message(_)
            | Reply::Acknowledged(_)
            | Reply::Interrupted(_)
            | Reply::External(_),
        ) => unreachable!("a cancel is answered as one"),
        Err(shut) => Err(shut.into()),
    }
}

impl From<Shut> for CancelError {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::Closed | Shut::Dead => Self::Gone,
            Shut::Restarted | Shut::Sick => Self::Restarted,
        }
    }
}

/// Asks again until it is decided: the actors may start anew and run again what was to stop.
async fn insist<F>(again: impl Fn() -> F) -> Result<CancelReport, CancelError>
where
    F: Future<Output = Result<CancelReport, CancelError>>,
{
    loop {
        match again().await {
            Err(CancelError::Restarted | CancelError::StoreUnavailable(_)) => {}
            decided => return decided,
        }
    }
}

impl TaskRef {
    /// Cancels the tree for whoever calls this, who does not wait: the request stands.
    pub(crate) fn cancel_beside(&self, runtime: &Handle, cancel: Cancel) {
        // Who asks is known here; the task beside it is nobody.
        let (task, stop) = (self.clone(), cancel.ask());
        runtime.spawn(async move {
            let tree = Target::Tree(task.id());
            let asked = insist(|| ask(task.core(), tree.clone(), stop.clone())).await;
            if let Err(error) = asked {
                tracing::warn!(task = %task.id(), %error, "it could not be cancelled");
            }
        });
    }

    /// Cancels for whoever cannot wait for the end: when this returns, the request is let through
    /// and stands.
    pub(crate) async fn cancel_unwaited(
        &self,
        target: Target,
        cancel: Cancel,
    ) -> Result<(), CancelError> {
        let (core, stop) = (Arc::clone(self.core()), cancel.ask());
        if core.hooks.judges_cancels() && !core.allows(&target, &stop).await {
            return Err(CancelError::Denied(target.task()));
        }
        tokio::spawn(async move {
            let asked = insist(|| carry_out(&core, target.clone(), stop.clone())).await;
            if let Err(error) = asked {
                tracing::warn!(?target, %error, "it could not be cancelled");
            }
        });
        Ok(())
    }
}

/// A foreign token was cancelled.
pub(super) async fn for_token(core: &Arc<Core>, id: TaskId) {
    let reason = "the token it was linked to was cancelled".into();
    let stop = StopAsk {
        reason,
        by: Requester::Token,
        grace: None,
        now: false,
    };
    if let Err(error) = insist(|| carry_out(core, Target::Tree(id), stop.clone())).await {
        tracing::warn!(task = %id, %error, "a linked token could not cancel its task");
    }
}
