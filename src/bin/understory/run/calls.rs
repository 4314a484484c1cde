//! What a process may ask of its task: to send to others of its tree, and to tell how far it is.
//!
//! # Invariants
//! 1. A task reaches only tasks under its own root; of others it is not even told whether they
//!    exist.
//!
//! *Not here*: who may speak (`socket`).

use std::convert::Infallible;

use understory::{Context, SendError};

use super::crew::{Crew, Member};
use crate::plan::PlanInbox;
use crate::socket::{Verb, Voice};

/// Answers the requests of one attempt for ever.
pub(super) async fn answer(
    mut voice: Voice,
    context: &Context,
    crew: &Crew,
    member: &Member,
) -> Infallible {
    loop {
        let call = voice.next().await;
        let answer = match &call.verb {
            Verb::Send { to, text } => send(to, text, context, crew, member).await,
            Verb::Progress { text } => context
                .progress(text)
                .await
                .map_err(|error| error.to_string()),
        };
        // The client may have gone meanwhile.
        let _ = call.answer.send(answer);
    }
}

async fn send(
    to: &str,
    text: &str,
    context: &Context,
    crew: &Crew,
    member: &Member,
) -> Result<(), String> {
    let name = match (to, &member.task.parent) {
        ("parent", Some(parent)) => parent.as_str(),
        ("parent", None) => return Err("this task has no parent".to_owned()),
        ("self", _) => member.task.name.as_str(),
        (name, _) => name,
    };
    let nobody = || format!("no task of this tree is named {name:?}");
    let target = crew.member(name).ok_or_else(nobody)?;
    let root = |id| context.manager().get(id).map(|record| record.root);
    if root(target.id) != root(context.id()) {
        return Err(nobody());
    }
    if target.task.inbox == PlanInbox::Closed {
        return Err(format!(
            "the inbox of {name} is closed; write inbox = \"open\" in its [[task]]"
        ));
    }
    match context.send(target.id, text).await {
        Ok(_) => Ok(()),
        Err(SendError::Ended { .. }) => Err(format!("{name} has ended")),
        Err(SendError::Full { capacity, .. }) => Err(format!(
            "the inbox of {name} is full ({capacity} messages); try again later"
        )),
        Err(error) => Err(error.to_string()),
    }
}
