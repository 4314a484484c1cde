//! What a process of the run, or its user, may ask for, and who carries it out.
//!
//! # Invariants
//! 1. A request of a process is carried out within the body of its task: with that task's rights,
//!    and as that task for all that is recorded. While it waits there for others, the task counts
//!    as waiting.
//! 2. A request that changes something is carried out to its end, also when nobody hears the answer
//!    any more. One that only waits or tells ends with its caller.
//!
//! *Not here*: who may speak (`socket`), whom a caller reaches (`reach`).

mod asks;
mod look;
mod spawn;
mod talk;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use serde_json::{Value, json};
use understory::{Context, Manager, Record};

use super::body::ProcessExecutor;
use super::crew::Crew;
use super::input::Input;
use super::reach::Reach;
use crate::socket::{Call, Reply, Verb, Voice};
pub(crate) use look::filter;
use talk::Ends;

/// Everything went as asked.
const CODE_DONE: u8 = 0;
/// A task ended otherwise than asked for.
const CODE_FAILED: u8 = 1;
/// The time ran out, as `timeout` has it.
const CODE_TIMED_OUT: u8 = 124;
/// A task waits for somebody.
const CODE_STUCK: u8 = 3;
/// It was cancelled.
const CODE_CANCELLED: u8 = 130;

/// Serves one caller: a task, or the user of the run.
pub(super) struct FrontDesk<'a> {
    executor: &'a ProcessExecutor,
    manager: Manager,
    caller: Option<&'a Context>,
}

impl<'a> FrontDesk<'a> {
    /// For the processes of one attempt.
    pub(super) fn of_task(executor: &'a ProcessExecutor, context: &'a Context) -> Self {
        Self {
            executor,
            manager: context.manager(),
            caller: Some(context),
        }
    }

    /// For whoever started the run.
    pub(super) fn of_user(executor: &'a ProcessExecutor, manager: &Manager) -> Self {
        Self {
            executor,
            manager: manager.clone(),
            caller: None,
        }
    }

    /// Serves for ever, all requests at once.
    pub(super) async fn attend(&self, mut voice: Voice) -> Infallible {
        let mut at_work: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
        loop {
            let call = tokio::select! {
                // What is at work never ends this; it is polled first, as it was here first.
                biased;
                () = poll_fn(|cx| {
                    at_work.retain_mut(|work| work.as_mut().poll(cx).is_pending());
                    Poll::Pending
                }) => continue,
                call = voice.next() => call,
            };
            at_work.push(Box::pin(self.serve(call)));
        }
    }

    async fn serve(&self, Call { verb, reply }: Call) {
        let result = match verb {
            Verb::Send { to, text } => self.send(&to, &text).await,
            Verb::Progress { text } => self.progress(&text).await,
            Verb::Ask { key, question } => self.ask(&key, &question, &reply).await,
            Verb::Respond { target, key, text } => self.respond(&target, &key, &text).await,
            Verb::Suspend { text } => self.suspend(&text),
            Verb::Resume { target, text } => self.resume(&target, &text).await,
            Verb::Spawn(ask) => self.spawn(*ask, &reply).await,
            Verb::List(ask) => self.list(&ask, &reply).await,
            Verb::Show { target } => self.show(&target),
            Verb::Cancel {
                target,
                extent,
                reason,
                grace_ms,
            } => self.cancel(&target, extent, reason, grace_ms).await,
            Verb::Wait {
                targets,
                quorum,
                counts,
                timeout_ms,
            } => {
                let ends = Ends { quorum, counts };
                self.wait(&targets, ends, timeout_ms, &reply).await
            }
            Verb::Events { since, until } => self.events(since, until, &reply).await,
        };
        reply.end(result).await;
    }

    fn crew(&self) -> &Crew {
        self.executor.crew()
    }

    /// The tasks that the caller may see and change.
    fn reach(&self) -> Reach<'_> {
        let caller = self.caller.map(Context::id);
        caller.map_or_else(
            || Reach::everything(&self.manager),
            |caller| Reach::below(&self.manager, caller),
        )
    }

    /// A record as it is told, with what only this run knows.
    fn shown(&self, record: &Record) -> Value {
        let mut shown = record.to_json();
        shown["path"] = json!(self.manager.task(record.id).path());
        if let Some(input) = Input::of(record) {
            shown["command"] = json!(input.task.command);
        }
        shown
    }
}

/// Goes on for as long as the caller listens.
///
/// # Errors
/// Words that nobody hears any more.
async fn while_heard<T>(
    reply: &Reply,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::select! {
        biased;
        result = work => result,
        () = reply.caller_gone() => Err("nobody listens any more".to_owned()),
    }
}
