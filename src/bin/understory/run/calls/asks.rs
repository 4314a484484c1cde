//! Questions and their answers; suspending a task and letting it go on.
//!
//! # Invariants
//! 1. A process asks and suspends for its own task only, and answers and resumes what it reaches.
//!
//! *Not here*: when a task is suspended (the library, when the body has ended).

use serde_json::{Value, json};
use understory::{AskError, Context};

use super::{FrontDesk, while_heard};
use crate::socket::Reply;

impl FrontDesk<'_> {
    pub(super) async fn ask(
        &self,
        key: &str,
        question: &str,
        reply: &Reply,
    ) -> Result<Value, String> {
        let context = self.own_task("ask")?;
        let answer = async {
            let asked = context.ask(key, question).await;
            asked.map_err(|error| {
                if let AskError::Cancelled(stop) = &error {
                    return format!("this task is to stop: {}", stop.reason);
                }
                error.to_string()
            })
        };
        let answer = while_heard(reply, answer).await?;
        Ok(json!({ "answer": answer }))
    }

    pub(super) async fn respond(
        &self,
        target: &str,
        key: &str,
        text: &str,
    ) -> Result<Value, String> {
        let task = self.manager.task(self.reach().get(target)?.id);
        let answered = task.respond(key, text).await;
        answered
            .map(|()| json!({}))
            .map_err(|error| error.to_string())
    }

    pub(super) fn suspend(&self, text: &str) -> Result<Value, String> {
        let context = self.own_task("suspend itself")?;
        if let Some(stop) = context.stop() {
            return Err(format!("this task is to stop: {}", stop.reason));
        }
        // The wish is with the attempt; its process says by its exit code whether it stands.
        let wish = context.suspend(text);
        if wish.is_permanent() {
            return Err(wish.message().to_owned());
        }
        Ok(json!({}))
    }

    pub(super) async fn resume(&self, target: &str, text: &str) -> Result<Value, String> {
        let task = self.manager.task(self.reach().get(target)?.id);
        let resumed = task.resume(text).await;
        resumed
            .map(|()| json!({}))
            .map_err(|error| error.to_string())
    }

    /// The task that the caller is a process of.
    fn own_task(&self, what: &str) -> Result<&Context, String> {
        self.caller
            .ok_or_else(|| format!("only a process of a task can {what}"))
    }
}
