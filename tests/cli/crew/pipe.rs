//! What a run writes to one of its streams, read as it comes and kept until it is asked for.

use std::io::Read;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// One stream of a run.
pub(super) struct Pipe<R> {
    /// Until its end was read, or nobody wants to know any more.
    reader: Option<R>,
    bytes: Vec<u8>,
    /// How many of them were given out.
    given: usize,
}

impl<R: Read + AsFd> Pipe<R> {
    /// One without a reader has nothing to read.
    pub(super) fn of(reader: Option<R>) -> Self {
        Self {
            reader,
            bytes: Vec::new(),
            given: 0,
        }
    }

    /// Goes away as its reader.
    pub(super) fn close(&mut self) {
        self.reader = None;
    }

    /// The next line, if all of it was read.
    pub(super) fn line(&mut self) -> Option<String> {
        let left = &self.bytes[self.given..];
        let end = left.iter().position(|byte| *byte == b'\n');
        let count = match end {
            Some(end) => end + 1,
            // The last one may end without.
            None if self.reader.is_none() && !left.is_empty() => left.len(),
            None => return None,
        };
        let line = String::from_utf8_lossy(&left[..count]);
        let line = line.trim_end().to_owned();
        self.given += count;
        Some(line)
    }

    /// All that was read and not given out.
    pub(super) fn rest(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.bytes[self.given..]).into_owned();
        self.given = self.bytes.len();
        rest
    }

    fn read(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let start = self.bytes.len();
        self.bytes.resize(start + CHUNK_BYTES, 0);
        let count = reader.read(&mut self.bytes[start..]).expect("it is open");
        self.bytes.truncate(start + count);
        if count == 0 {
            self.reader = None;
        }
    }
}

/// Waits until one of the two has something to read, and reads it; not when both have ended.
pub(super) fn read_either(
    one: &mut Pipe<impl Read + AsFd>,
    other: &mut Pipe<impl Read + AsFd>,
) -> bool {
    let mut ends = Vec::new();
    ends.extend(one.reader.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
    ends.extend(
        other
            .reader
            .as_ref()
            .map(|it| PollFd::new(it, PollFlags::IN)),
    );
    if ends.is_empty() {
        return false;
    }
    let mut wait = || rustix::event::poll(&mut ends, None);
    rustix::io::retry_on_intr(&mut wait).expect("they are open");
    let mut ready = ends.iter().map(|end| !end.revents().is_empty());
    let is_one_ready = one.reader.is_some() && ready.next() == Some(true);
    let is_other_ready = other.reader.is_some() && ready.next() == Some(true);
    if is_one_ready {
        one.read();
    }
    if is_other_ready {
        other.read();
    }
    true
}
