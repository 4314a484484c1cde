//! Both standard streams, whatever they lead to.
//!
//! # Invariants
//! 1. A stream that takes no more for now is waited for, also one that does not block.
//! 2. That standard output cannot be written is told once, unless its reader has gone away.
//!
//! *Not here*: what is written (`draw`).

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};

use crate::process::StreamName;

/// Both standard streams; each goes quiet when it cannot be written.
#[derive(Debug)]
pub(crate) struct Out {
    stdout: Stream,
    stderr: Stream,
    /// Where the records are, if anywhere.
    file: Option<PathBuf>,
}

#[derive(Debug)]
struct Stream {
    is_terminal: bool,
    is_gone: bool,
    /// Whether it could not be written though its reader is there.
    has_lost: bool,
}

impl Default for Out {
    fn default() -> Self {
        Self {
            stdout: Stream::new(io::stdout().is_terminal()),
            stderr: Stream::new(io::stderr().is_terminal()),
            file: None,
        }
    }
}

impl Out {
    /// Tells where all is that could be written.
    pub(super) fn keep_in(&mut self, file: &Path) {
        self.file = Some(file.to_owned());
    }

    /// Whether something could not be written, though nobody went away.
    pub(super) fn has_lost(&self) -> bool {
        self.stdout.has_lost || self.stderr.has_lost
    }

    pub(super) fn write(&mut self, stream: StreamName, text: &str) {
        match stream {
            StreamName::Stdout => self.stdout(text),
            StreamName::Stderr => self.stderr(text),
        }
    }

    pub(super) fn stdout(&mut self, text: &str) {
        let Err(why) = self.stdout.write(&io::stdout(), text) else {
            return;
        };
        let why = io::Error::from(why);
        let rest = self.file.as_ref().map_or_else(
            || "is lost".to_owned(),
            |file| format!("is in {} only", file.display()),
        );
        self.stderr(&format!(
            "standard output cannot be written: {why}; what follows {rest}\n"
        ));
    }

    pub(super) fn stderr(&mut self, text: &str) {
        // There is nobody else to tell.
        let _ = self.stderr.write(&io::stderr(), text);
    }
}

impl Stream {
    fn new(is_terminal: bool) -> Self {
        Self {
            is_terminal,
            is_gone: false,
            has_lost: false,
        }
    }

    /// Writes, unless it has failed before; a reader that goes away is no error.
    fn write(&mut self, stream: &impl AsFd, text: &str) -> Result<(), Errno> {
        if self.is_gone {
            return Ok(());
        }
        let Err(why) = write_all(stream, text.as_bytes()) else {
            return Ok(());
        };
        self.is_gone = true;
        // A terminal that was closed says that it cannot be written.
        if why == Errno::PIPE || (why == Errno::IO && self.is_terminal) {
            return Ok(());
        }
        self.has_lost = true;
        Err(why)
    }
}

/// Writes all of it, however long that takes.
pub(crate) fn write_all(stream: &impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(stream, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for_room(stream)?,
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Waits until a stream that does not block takes more, or its reader is gone.
fn wait_for_room(stream: &impl AsFd) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(stream, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(why) => Err(why),
    }
}
