//! How much a manager takes and keeps: the bounds of its builder, each with its default.
//!
//! *Not here*: how many tasks run at once (`config`), what is kept how long (`kernel`, `shelf`,
//! `feed`, `inbox`).

use std::time::Duration;

use tokio::sync::Semaphore;

use super::config::Builder;
use crate::kernel::{Scope, State};

impl Builder {
    /// Sets how long an idempotency key stays bound to its task (24 h).
    pub fn key_window(mut self, window: Duration) -> Self {
        self.bounds.key_window = window;
        self
    }

    /// Bounds the number of live tasks (100,000).
    pub fn live_max(mut self, tasks: usize) -> Self {
        self.bounds.live_max = tasks;
        self
    }

    /// Bounds how many tasks are above one (64).
    pub fn depth_max(mut self, tasks: u32) -> Self {
        self.bounds.depth_max = tasks;
        self
    }

    /// Bounds the live children of one task (10,000).
    pub fn children_max(mut self, tasks: usize) -> Self {
        self.bounds.children_max = tasks;
        self
    }

    /// Bounds how many settled records are kept; the oldest go first (1,000,000).
    pub fn settled_max(mut self, records: usize) -> Self {
        self.bounds.settled_max = records;
        self
    }

    /// Keeps records of tasks that settled in this state for so long and no longer; zero removes
    /// them at once. Without it they are kept as long as [`Builder::settled_max`] allows.
    ///
    /// Records are removed in small batches, their keys with them; what is removed is gone from
    /// lists and from the store, and cannot be a dependency any more.
    pub fn retain(mut self, state: State, kept_for: Duration) -> Self {
        self.bounds.retain.insert(state, kept_for);
        self
    }

    /// Begins with this scope closed: see [`ScopeRef::close`](crate::ScopeRef::close).
    pub fn closed_scope(mut self, scope: &str) -> Self {
        if let Some(scope) = self.keep(Scope::new(scope)) {
            self.bounds.closed_scopes.insert(scope);
        }
        self
    }

    /// Bounds how many cancelled runs are remembered, to refuse their late tasks (1,024).
    pub fn cancelled_runs_max(mut self, runs: usize) -> Self {
        self.bounds.cancelled_runs_max = runs;
        self
    }

    /// Bounds how many spawns wait for their answers at once; further callers wait their turn
    /// (4,096).
    pub fn asks_max(mut self, asks: usize) -> Self {
        // More than a semaphore counts is as good as no bound.
        self.queues.asks = asks.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Bounds how many events are kept for subscribers to catch up (65,536).
    pub fn feed_events_max(mut self, events: usize) -> Self {
        self.queues.feed_events = events;
        self
    }

    /// Bounds the bytes of payloads, answers, reasons and failures in the events kept for
    /// subscribers (64 MiB); the oldest go first.
    pub fn feed_bytes_max(mut self, bytes: usize) -> Self {
        self.queues.feed_bytes = bytes;
        self
    }

    /// Sets how large a piece of output its event holds itself (256 KiB). The event of a larger one
    /// has its size and how it begins.
    pub fn output_inline_max(mut self, bytes: usize) -> Self {
        self.queues.output_inline = bytes;
        self
    }

    /// Bounds the output that is kept to be read later, per task (1 MiB, at least its newest piece)
    /// and of all tasks (64 MiB).
    pub fn output_bytes_max(mut self, per_task: usize, of_all: usize) -> Self {
        self.queues.shelf.task_bytes_max = per_task;
        self.queues.shelf.bytes_max = of_all;
        self
    }

    /// Sets the shortest time between two progress notes of a task; none by default. The first is
    /// told at once, then the newest one at the end of each interval, and before the task's end.
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.queues.progress_interval = Some(interval);
        self
    }

    /// Bounds how many messages that nobody has read are kept as dead letters; the oldest go first
    /// (1,024). Zero keeps none.
    pub fn dead_letters_max(mut self, letters: usize) -> Self {
        self.queues.dead.letters_max = letters;
        self
    }

    /// Bounds the bytes of JSON of the messages that are kept as dead letters (16 MiB); the oldest
    /// go first, and one that is larger by itself is not kept.
    pub fn dead_letters_bytes_max(mut self, bytes: usize) -> Self {
        self.queues.dead.bytes_max = bytes;
        self
    }

    /// Bounds the number of subscribers (1,024).
    pub fn subscribers_max(mut self, subscribers: usize) -> Self {
        self.queues.subscribers = subscribers;
        self
    }
}
