//! Reading the inbox, from inside the body.
//!
//! # Invariants
//! 1. Only the newest attempt reads; a message is taken by one reader, and none is lost when a wait
//!    is dropped.
//!
//! *Not here*: sending (`send`), how messages wait (`inbox`).

use std::sync::Arc;

use super::context::Context;
use crate::inbox::{May, Message};
use crate::kernel::Stop;

/// What [`Context::recv_or_cancelled`] brought.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// The task was asked to stop; messages may wait.
    Cancelled(Arc<Stop>),
    /// The attempt is over: nothing will come any more.
    Closed,
}

impl Context {
    /// Takes the next message, or waits for one; `None` when there is no inbox, or when the attempt
    /// is over or asked to stop and no message waits.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let adder = manager
    ///     .scope("s")
    ///     .task("adder")
    ///     .spawn(|ctx| async move {
    ///         let mut sum = 0;
    ///         while let Some(message) = ctx.recv().await {
    ///             match message.body.as_i64() {
    ///                 Some(number) => sum += number,
    ///                 None => break,
    ///             }
    ///         }
    ///         Ok(sum)
    ///     })
    ///     .await?;
    /// adder.send(1).await?;
    /// adder.send(2).await?;
    /// adder.send("that is all").await?;
    /// assert_eq!(adder.await?, 3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// No message is lost when it is dropped.
    pub async fn recv(&self) -> Option<Message> {
        // What waits is read before the request to stop is heard, which stirs the inbox.
        let may = || match (self.is_current(), self.is_cancelled()) {
            (false, _) => May::Nothing,
            (true, true) => May::Take,
            (true, false) => May::Wait,
        };
        let message = self.attempt.live.inbox.recv(may).await;
        self.touch();
        message
    }

    /// Takes the next message, if one waits.
    pub fn try_recv(&self) -> Option<Message> {
        self.is_current()
            .then(|| self.attempt.live.inbox.try_recv())
            .flatten()
    }

    /// Takes all messages that wait: what came in since the last look, between two steps of work.
    pub fn drain(&self) -> Vec<Message> {
        if self.is_current() {
            self.attempt.live.inbox.drain()
        } else {
            Vec::new()
        }
    }

    /// Takes the next message, or tells the request to stop, which goes first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager, Received};
    /// # let manager = Manager::in_memory();
    /// let writer = manager
    ///     .scope("s")
    ///     .task("writer")
    ///     .spawn(|ctx| async move {
    ///         let mut lines = Vec::new();
    ///         loop {
    ///             match ctx.recv_or_cancelled().await {
    ///                 Received::Message(line) => lines.push(line.body),
    ///                 Received::Cancelled(_) | Received::Closed => return Ok(lines),
    ///             }
    ///         }
    ///     })
    ///     .await?;
    /// writer.send("first").await?;
    /// let report = writer.cancel(Cancel::because("enough")).await?;
    /// assert_eq!(report.cancelled, [writer.id()]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// No message is lost when it is dropped.
    pub async fn recv_or_cancelled(&self) -> Received {
        tokio::select! {
            biased;
            stop = self.cancelled() => Received::Cancelled(stop),
            message = self.recv() => message.map_or(Received::Closed, Received::Message),
        }
    }
}
