//! The way of requests about limits, budgets, scopes and kept records to the manager and back.

use super::core::Core;
use crate::actors::Shut;
use crate::kernel::{Control, Controlled, Input, InvalidText, Reply};

/// Why a request brought no answer. Whether it had an effect, its variant says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The scope's name is not valid; nothing happened.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// The manager was shut down or has failed: nothing runs any more.
    #[error("the manager is gone")]
    Gone,
    /// The manager was started anew before it answered: ask again.
    #[error("the manager was started anew before it answered; ask again")]
    Restarted,
}

pub(super) async fn ask(core: &Core, ask: Control) -> Result<Controlled, ControlError> {
    let reply = core.hub.gate.ask(|ticket| Input::Control { ticket, ask });
    match reply.await {
        Ok(Reply::Controlled(answer)) => Ok(answer),
        Ok(
            Reply::Spawned(_)
            | Reply::Cancelled(_)
            | Reply::Unknown(_)
            | Reply::Resumed(_)
            | Reply::Asked(_)
            | Reply::Responded(_)
            | Reply::Message(_)
            | Reply::Acknowledged(_)
            | Reply::Interrupted(_)
            | Reply::External(_),
        ) => {
            unreachable!("a request is answered as what it is")
        }
        Err(Shut::Closed | Shut::Dead) => Err(ControlError::Gone),
        Err(Shut::Restarted | Shut::Sick) => Err(ControlError::Restarted),
    }
}
