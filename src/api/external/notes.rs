//! What the holder of an external task tells while it goes on: progress at a pace, and output.
//!
//! # Invariants
//! 1. A progress note that is held back is a sign of life at once, and is told before the end.
//!
//! *Not here*: the pace itself (`engine/pace.rs`), what bodies say (`api/note.rs`).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::super::note::{PROGRESS_BYTES_MAX, head};
use super::super::spawn::PAYLOAD_BYTES_MAX;
use super::{External, ExternalError, encode};
use crate::engine::{Due, Live};
use crate::kernel::{Epoch, ExternalWord, Note, Payload};

impl External {
    /// Tells how far it is; the newest note stays in the record; at most 4 KiB of JSON. Its task
    /// may have a pace for that ([`coalesce_progress`](crate::TaskBuilder::coalesce_progress)).
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over, [`ExternalError::Value`] when it is too
    /// large.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn progress(&self, note: impl Serialize) -> Result<(), ExternalError> {
        let note = encode(&note, PROGRESS_BYTES_MAX)?;
        let live = self.task.live();
        let own = live.as_ref().and_then(|live| live.spec.progress_interval);
        let interval = own.or(self.task.core().hub.queues.progress_interval);
        match (live, interval.filter(|interval| !interval.is_zero())) {
            // One that does not run is refused below.
            (Some(live), Some(interval)) if live.epoch() != Epoch::default() => {
                self.progress_at_pace(live, note, interval).await
            }
            (None | Some(_), _) => self.say_progress(note).await,
        }
    }

    /// Tells a piece of its output, at most 1 MiB of JSON; a large one is kept out of its event, as
    /// that of a body is.
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over, [`ExternalError::Value`] when it is too
    /// large.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn output(&self, piece: impl Serialize) -> Result<(), ExternalError> {
        let piece = encode(&piece, PAYLOAD_BYTES_MAX)?;
        let hub = &self.task.core().hub;
        if piece.as_json().len() <= hub.queues.output_inline {
            return self.say(ExternalWord::Note(Note::Output(piece))).await;
        }
        let (bytes, head) = (piece.as_json().len(), head(piece.as_json()));
        let ticket = hub.shelf.hold(self.task.id(), piece);
        let note = Note::OutputKept {
            bytes,
            head,
            ticket,
        };
        let said = self.say(ExternalWord::Note(note)).await;
        if said.is_err() {
            hub.shelf.drop_held(self.task.id(), ticket);
        }
        said
    }

    async fn progress_at_pace(
        &self,
        live: Arc<Live>,
        note: Payload,
        interval: Duration,
    ) -> Result<(), ExternalError> {
        let (hub, epoch) = (&self.task.core().hub, live.epoch());
        let due = live.pace().offer(note, hub.clock.now(), interval);
        // Looked at after the offer: a request that comes later finds the note and tells it.
        let due = if live.signal().is_asked() {
            Due::Now
        } else {
            due
        };
        match due {
            Due::Now => return self.say_held(&live).await,
            Due::At(at, called_off) => {
                let this = self.clone();
                tokio::spawn(async move {
                    let hub = &this.task.core().hub;
                    if !hub.note_is_due(&live, at, called_off).await {
                        return;
                    }
                    let note = live.pace().ring(epoch, hub.clock.now());
                    if let Some(note) = note
                        && this.say_progress(note).await.is_err()
                    {
                        tracing::debug!(task = %live.id, "progress came after the end");
                    }
                });
            }
            Due::Later => {}
        }
        self.heartbeat().await
    }

    /// Tells the note that is held back, if there is one.
    pub(super) async fn say_held(&self, live: &Live) -> Result<(), ExternalError> {
        let note = live.pace().take(live.epoch());
        match note {
            Some(note) => self.say_progress(note).await,
            None => Ok(()),
        }
    }

    async fn say_progress(&self, note: Payload) -> Result<(), ExternalError> {
        self.say(ExternalWord::Note(Note::Progress(note))).await
    }
}
