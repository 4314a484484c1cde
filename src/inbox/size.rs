//! How large a message is, as JSON.
//!
//! *Not here*: how large one may be (the public face), what is kept of them (`dead`).

use std::io;

use serde_json::Value;

/// The bytes of a value as JSON, if they are at most `max`; nothing is written anywhere.
pub(crate) fn size_of(value: &Value, max: usize) -> Option<usize> {
    let mut room = Room(max);
    serde_json::to_writer(&mut room, value).ok()?;
    Some(max - room.0)
}

/// Counts bytes and keeps none; full, it refuses.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.checked_sub(bytes.len());
        self.0 = left.ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
