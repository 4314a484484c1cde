//! Looking before asking: what the limits have room for.

use super::control::{self, ControlError};
use super::manager::Manager;
use super::scope::ScopeRef;
use crate::kernel::{Capacity, Control, Controlled, LimitName};

impl Manager {
    /// How the limit class of this name stands; `None` if there is none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Class, Manager};
    /// let manager = Manager::builder().limit("llm", Class::queue(2)).build()?;
    /// let task = manager.scope("s").task("t").limit("llm");
    /// task.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
    /// let llm = manager.capacity("llm").await?.expect("it is configured");
    /// assert_eq!((llm.max, llm.in_use, llm.queued, llm.free()), (2, 1, 0, 1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ControlError`] when the manager is gone or was started anew.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn capacity(&self, limit: &str) -> Result<Option<Capacity>, ControlError> {
        let classes = ask(self, Control::Capacity(None)).await?;
        Ok(classes.into_iter().find(|capacity| {
            let is_named = matches!(capacity.class, LimitName::Named(_));
            is_named && capacity.class.name() == Some(limit)
        }))
    }
}

impl ScopeRef {
    /// How every limit class stands that a task of this scope may need: the one over all tasks,
    /// the scope's, and those of kinds and names. Another task may be taken before the next call.
    ///
    /// # Errors
    /// [`ControlError`] when the scope's name is not valid, or the manager is gone or was started
    /// anew.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn capacity(&self) -> Result<Vec<Capacity>, ControlError> {
        let scope = self.scope.clone()?;
        let manager = Manager::over(self.core.clone());
        ask(&manager, Control::Capacity(Some(scope))).await
    }
}

async fn ask(manager: &Manager, ask: Control) -> Result<Vec<Capacity>, ControlError> {
    let Controlled::Capacity(classes) = control::ask(&manager.core, ask).await? else {
        unreachable!("capacity is answered as such");
    };
    Ok(classes)
}
