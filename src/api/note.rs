//! What a body says of itself: progress, output, events of its own, signs of life.

use serde::Serialize;

use super::context::Context;
use super::spawn::PAYLOAD_BYTES_MAX;
use crate::kernel::{Note, Payload};

/// Largest progress note, in bytes of JSON.
const PROGRESS_BYTES_MAX: usize = 4 * 1_024;

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
    /// The attempt is over, or the manager is gone.
    #[error("the attempt is over")]
    Over,
}

impl Context {
    /// Reports how far the body is. The newest note stays in the record.
    ///
    /// # Errors
    /// [`NoteError`]: nothing was reported.
    ///
    /// # Cancel safety
    /// When it is dropped, the note may or may not be reported.
    pub async fn progress(&self, note: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&note, PROGRESS_BYTES_MAX)?;
        self.say(Note::Progress(payload)).await
    }

    /// Writes a piece of output, as an event.
    ///
    /// # Errors
    /// [`NoteError`]: nothing was written.
    ///
    /// # Cancel safety
    /// When it is dropped, the piece may or may not be written.
    pub async fn output(&self, piece: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&piece, PAYLOAD_BYTES_MAX)?;
        self.say(Note::Output(payload)).await
    }

    /// Emits an event of the body's own type.
    ///
    /// # Errors
    /// [`NoteError`]: nothing was emitted.
    ///
    /// # Cancel safety
    /// When it is dropped, the event may or may not be emitted.
    pub async fn emit(&self, label: &str, data: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&data, PAYLOAD_BYTES_MAX)?;
        self.say(Note::Emitted(label.into(), payload)).await
    }

    /// Gives a sign of life, which postpones the idle timeout.
    pub fn touch(&self) {
        self.core.hub.touch(&self.attempt.live);
    }

    async fn say(&self, note: Note) -> Result<(), NoteError> {
        self.touch();
        if !self.is_current() || self.attempt.live.done.get().is_some() {
            return Err(NoteError::Over);
        }
        let said = self.core.hub.gate.say(self.id(), self.epoch(), note).await;
        said.map_err(|_| NoteError::Over)
    }
}

fn payload(value: &impl Serialize, bytes_max: usize) -> Result<Payload, NoteError> {
    let json = serde_json::to_string(value)?;
    if json.len() > bytes_max {
        return Err(NoteError::TooLarge {
            bytes: json.len(),
            bytes_max,
        });
    }
    Ok(Payload::from_json(json))
}
