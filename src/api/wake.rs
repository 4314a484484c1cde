//! The host's hook for tasks that cannot hear what arrives for them.
//!
//! *Not here*: who is woken and how often (`actors/wake.rs`).

use std::future::Future;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use super::config::Builder;
use super::core::Core;
use super::handle::TaskRef;
use crate::actors::WakeCause;
use crate::kernel::{State, TaskId};

/// Something arrived for a task that is suspended or whose body is over.
#[derive(Clone, Debug)]
pub struct Wake {
    /// The task.
    pub task: TaskRef,
    /// What arrived first since the task ran last.
    pub cause: WakeCause,
}

impl Wake {
    /// Lets the task be woken again before it has run: by default one wake stands for everything
    /// that arrives until its next run.
    pub fn acknowledge(&self) {
        self.task.core().hub.acknowledge_wake(self.task.id());
    }
}

impl Builder {
    /// Calls this when something arrives for a task that cannot hear it: it is suspended, or its
    /// body is over. What arrives is a message that was sent to
    /// [`Trigger`](crate::SendMode::Trigger) or [`Interrupt`](crate::SendMode::Interrupt), the end
    /// of a task below it or that it spawned, or an answer to its question.
    ///
    /// What came while the body still ran, and it had not heard when it suspended, wakes the task
    /// then: messages that it had not received, answers that [`Context::ask`](crate::Context::ask)
    /// had not given it, ends that it had not awaited. As a manager begins on a store, so do
    /// durable messages that are not acknowledged, and answers and ends that came in its sleep.
    ///
    /// The hook may resume the task, or start what goes on instead. It is called once until the
    /// task runs again or the wake is [acknowledged](Wake::acknowledge); for a task that has
    /// settled, once for each arrival. A hook that panics or takes more than five seconds is given
    /// up, and the next arrival wakes again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::{Manager, SendMode, State, Wake};
    ///
    /// let wake_up = |wake: Wake| async move {
    ///     let _resumed = wake.task.resume("you have mail").await;
    /// };
    /// let manager = Manager::builder().on_wake(wake_up).build()?;
    /// let sleeper = manager.scope("s").task("sleeper").resumable().spawn(|ctx| async move {
    ///     match ctx.try_recv() {
    ///         None => Err(ctx.suspend("until somebody writes")),
    ///         Some(message) => Ok(message.body),
    ///     }
    /// });
    /// let sleeper = sleeper.await?;
    /// sleeper.send_as(SendMode::Trigger, "good morning").await?;
    /// assert_eq!(sleeper.await?, "good morning");
    /// # Ok(()) }
    /// ```
    pub fn on_wake<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Wake) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks_mut().on_wake(hook);
        self
    }
}

/// Lets the actors of `core` tell its hook.
pub(super) fn install(core: &Arc<Core>) {
    if !core.hooks.hears_wakes() {
        return;
    }
    let weak = Arc::downgrade(core);
    core.hub.on_wake(move |id, cause| tell(&weak, id, cause));
}

fn tell(core: &Weak<Core>, id: TaskId, cause: WakeCause) {
    let Some(core) = core.upgrade() else { return };
    let Ok(runtime) = Handle::try_current() else {
        core.hub.acknowledge_wake(id);
        return;
    };
    runtime.spawn(async move {
        let task = TaskRef::new(Arc::clone(&core), id);
        let wake = Wake {
            task: task.clone(),
            cause,
        };
        let told = core.hooks.wake(wake).await;
        let is_settled = task.state().is_none_or(State::is_terminal);
        if let Err(why) = &told {
            tracing::warn!(task = %id, why, "the hook for wakes failed");
        }
        if told.is_err() || is_settled {
            core.hub.acknowledge_wake(id);
        }
    });
}
