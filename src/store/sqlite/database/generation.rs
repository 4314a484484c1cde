//! Generations of the file: how often it was opened for writing.
//!
//! # Invariants
//! 1. The generation is in the file itself, not only in its log, before it is noted anywhere else.
//!
//! *Not here*: where it is noted, and what follows from a difference (`place`, and the room).

use std::path::Path;

use super::{Connection, Database, OpenFlags, Rows, Trouble};

/// The fact that says which one it is.
const GENERATION: &str = "generation";

impl Database {
    /// The generation that is in the file itself, whatever its log says; the one of a file that
    /// cannot be read without its log is not known.
    pub(in crate::store::sqlite) fn generation_without_log(path: &Path) -> Option<u64> {
        let escaped = path.to_str()?.replace('%', "%25");
        let escaped = escaped.replace('?', "%3f").replace('#', "%23");
        let uri = format!("file:{escaped}?immutable=1");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let alone = Self(Connection::open_with_flags(uri, flags).ok()?);
        let generation = Rows(&alone.0).fact(GENERATION);
        generation.ok()??.parse().ok()
    }

    /// The generation of the file and its log together.
    pub(in crate::store::sqlite) fn generation(&self) -> Result<u64, Trouble> {
        Ok(parsed(Rows(&self.0).fact(GENERATION)?))
    }

    /// Begins the next generation of the file: it tells a copy of before from the file that its
    /// log belongs to. `None` means that it is not in the file itself yet.
    pub(in crate::store::sqlite) fn next_generation(&mut self) -> Result<Option<u64>, Trouble> {
        let next = self.atomically(|rows| {
            let next = parsed(rows.fact(GENERATION)?) + 1;
            rows.set_fact(GENERATION, &next.to_string())?;
            Ok::<_, Trouble>(next)
        })?;
        Ok(self.checkpoint()?.then_some(next))
    }
}

fn parsed(fact: Option<String>) -> u64 {
    fact.and_then(|text| text.parse().ok()).unwrap_or(0)
}
