//! What a body says of itself: progress, output, events of its own, signs of life.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::checks::Mismatch;
use super::context::Context;
use super::payload::to_text;
use super::spawn::PAYLOAD_BYTES_MAX;
use crate::engine::{Due, Pace};
use crate::kernel::{NAME_BYTES_MAX, Note, Payload};

/// Largest progress note, in bytes of JSON.
pub(super) const PROGRESS_BYTES_MAX: usize = 4 * 1_024;

/// How much of a large piece of output its event shows: enough to see what it is.
const OUTPUT_HEAD_BYTES: usize = 256;

/// Why something that a body said was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It cannot be written as JSON.
    #[error("it cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// It is too large; nothing was cut off silently.
    #[error("it has {bytes} bytes; at most {bytes_max} are taken")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
        /// The largest that is taken.
        bytes_max: usize,
    },
    /// Bodies of this kind do not say that: see [`Builder::checks`](crate::Builder::checks).
    #[error("events of this type and kind are otherwise: {0}")]
    Mismatch(#[from] Mismatch),
    /// The attempt is over, or the manager is gone.
    #[error("the attempt is over")]
    Over,
}

impl Context {
    /// Reports how far the body is. The newest note stays in the record; at most 4 KiB of JSON.
    ///
    /// Returns when the note is on its way to the log; a later one never overtakes it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde_json::json;
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("indexer")
    ///     .spawn(|ctx| async move {
    ///         ctx.progress("half way").await?;
    ///         ctx.progress(json!({ "done": 9, "of": 9 })).await?;
    ///         Ok(())
    ///     })
    ///     .await?;
    /// let record = task.settled().await?;
    /// let newest = record.progress.as_ref().map(|note| note.as_json());
    /// assert_eq!(newest, Some(r#"{"done":9,"of":9}"#));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`NoteError`]: nothing was reported.
    ///
    /// # Cancel safety
    /// When it is dropped, the note may or may not be reported.
    pub async fn progress(&self, note: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&note, PROGRESS_BYTES_MAX)?;
        let interval = self.attempt.live.spec.progress_interval;
        match interval.or(self.core.hub.queues.progress_interval) {
            None | Some(Duration::ZERO) => self.say(Note::Progress(payload)).await,
            Some(interval) => self.say_at_pace(payload, interval).await,
        }
    }

    /// Writes a piece of output, as an event; at most 1 MiB of JSON. The record does not keep it.
    ///
    /// The event of a piece above [`Builder::output_inline_max`](crate::Builder::output_inline_max)
    /// has only its size and how it begins. The newest pieces can be read with
    /// [`Manager::read_output`](crate::Manager::read_output).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{FeedItem, Filter, Manager, Since};
    /// # let manager = Manager::in_memory();
    /// let mut pieces = manager.subscribe_to(Since::Now, Filter::all().event("output")).await?;
    /// let task = manager.scope("s").task("t").spawn(|ctx| async move {
    ///     ctx.output("a line of text").await?;
    ///     Ok(())
    /// });
    /// task.await?;
    /// let Some(FeedItem::Event(event)) = pieces.next().await else { panic!("an event") };
    /// assert_eq!(event.to_json()["data"], "a line of text");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`NoteError`]: nothing was written.
    ///
    /// # Cancel safety
    /// When it is dropped, the piece may or may not be written.
    pub async fn output(&self, piece: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&piece, PAYLOAD_BYTES_MAX)?;
        let hub = &self.core.hub;
        if payload.as_json().len() <= hub.queues.output_inline {
            return self.say(Note::Output(payload)).await;
        }
        let (bytes, head) = (payload.as_json().len(), head(payload.as_json()));
        let ticket = hub.shelf.hold(self.id(), payload);
        let note = Note::OutputKept {
            bytes,
            head,
            ticket,
        };
        let said = self.say(note).await;
        if said.is_err() {
            hub.shelf.drop_held(self.id(), ticket);
        }
        said
    }

    /// Emits an event of the body's own type; at most 1 MiB of JSON.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde_json::json;
    /// # use understory::{FeedItem, Filter, Manager, Since};
    /// # let manager = Manager::in_memory();
    /// let mut finds = manager.subscribe_to(Since::Now, Filter::all().event("emitted")).await?;
    /// let task = manager.scope("s").task("t").spawn(|ctx| async move {
    ///     ctx.emit("found", json!({ "file": "src/lib.rs" })).await?;
    ///     Ok(())
    /// });
    /// task.await?;
    /// let Some(FeedItem::Event(event)) = finds.next().await else { panic!("an event") };
    /// let data = event.to_json()["data"].clone();
    /// assert_eq!(data, json!({ "type": "found", "payload": { "file": "src/lib.rs" } }));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`NoteError`]: nothing was emitted.
    ///
    /// # Cancel safety
    /// When it is dropped, the event may or may not be emitted.
    pub async fn emit(&self, label: &str, data: impl Serialize) -> Result<(), NoteError> {
        if label.len() > NAME_BYTES_MAX {
            let (bytes, bytes_max) = (label.len(), NAME_BYTES_MAX);
            return Err(NoteError::TooLarge { bytes, bytes_max });
        }
        let payload = payload(&data, PAYLOAD_BYTES_MAX)?;
        let written = || payload.to_value();
        self.core.checks.event(self.kind(), label, written)?;
        self.say(Note::Emitted(shared(label), payload)).await
    }

    /// Gives a sign of life, which postpones the idle timeout. Progress, output, events and
    /// messages do so too.
    pub fn touch(&self) {
        if self.is_current() {
            self.core.hub.touch(&self.attempt.live);
        }
    }

    /// Reports progress that may be overtaken by a newer note within the interval.
    async fn say_at_pace(&self, payload: Payload, interval: Duration) -> Result<(), NoteError> {
        self.touch();
        let live = &self.attempt.live;
        if !self.is_current() || live.done.is_set() {
            return Err(NoteError::Over);
        }
        let (hub, epoch) = (&self.core.hub, self.epoch());
        let due = live.pace().offer(payload, hub.clock.now(), interval);
        // Looked at after the offer: a request that comes later finds the note and tells it.
        let due = if self.is_cancelled() { Due::Now } else { due };
        match due {
            Due::Later => Ok(()),
            Due::Now => {
                let said = hub
                    .gate
                    .say_held(live, epoch, |pace| pace.take(epoch))
                    .await;
                said.map_err(|_| NoteError::Over)
            }
            Due::At(at, called_off) => {
                let (core, live) = (Arc::clone(&self.core), Arc::clone(live));
                tokio::spawn(async move {
                    let hub = &core.hub;
                    if !hub.note_is_due(&live, at, called_off).await {
                        return;
                    }
                    let ring = |pace: &mut Pace| pace.ring(epoch, hub.clock.now());
                    if hub.gate.say_held(&live, epoch, ring).await.is_err() {
                        tracing::debug!(task = %live.id, "progress came after the manager's end");
                    }
                });
                Ok(())
            }
        }
    }

    async fn say(&self, note: Note) -> Result<(), NoteError> {
        self.touch();
        if !self.is_current() || self.attempt.live.done.is_set() {
            return Err(NoteError::Over);
        }
        let said = self.core.hub.gate.say(self.id(), self.epoch(), note).await;
        said.map_err(|_| NoteError::Over)
    }
}

/// The label as one that others have, too: who emits mostly emits one type of event after another.
fn shared(label: &str) -> Arc<str> {
    thread_local! {
        static NEWEST: RefCell<Arc<str>> = RefCell::new(Arc::from(""));
    }
    NEWEST.with_borrow_mut(|newest| {
        if **newest != *label {
            *newest = label.into();
        }
        Arc::clone(newest)
    })
}

/// How a large piece begins, cut between two characters.
pub(super) fn head(json: &str) -> Arc<str> {
    json[..json.floor_char_boundary(OUTPUT_HEAD_BYTES)].into()
}

fn payload(value: &impl Serialize, bytes_max: usize) -> Result<Payload, NoteError> {
    let json = to_text(value)?;
    if json.len() > bytes_max {
        return Err(NoteError::TooLarge {
            bytes: json.len(),
            bytes_max,
        });
    }
    Ok(Payload::from_json(json))
}
