//! The standard input of the command: what was sent and not yet read, in order.
//!
//! # Invariants
//! 1. Every byte pushed is reported once: as taken when the pipe took it, or with all the rest as
//!    gone when the command does not read any more.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ChildStdin;

use tokio::net::unix::pipe;

use crate::wire::Report;

#[derive(Debug)]
pub(super) struct Input {
    pipe: Option<pipe::Sender>,
    pending: VecDeque<u8>,
    is_closing: bool,
}

impl Input {
    pub(super) fn new(stdin: Option<ChildStdin>) -> io::Result<Self> {
        let pipe = stdin
            .map(|stdin| pipe::Sender::from_owned_fd(OwnedFd::from(stdin)))
            .transpose()?;
        Ok(Self {
            pipe,
            pending: VecDeque::new(),
            is_closing: false,
        })
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
    }

    /// Closes the pipe once everything pushed so far is in it.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        self.close_if_done();
    }

    /// Returns when [`feed`](Self::feed) has something to do.
    pub(super) async fn ready(&self) {
        match &self.pipe {
            _ if self.pending.is_empty() => std::future::pending().await,
            // An error shows again, and is handled, when the bytes are written.
            Some(pipe) => drop(pipe.writable().await),
            None => {}
        }
    }

    /// Writes what the pipe takes now.
    pub(super) fn feed(&mut self) -> Report {
        let (bytes, _) = self.pending.as_slices();
        let written = self.pipe.as_ref().map(|pipe| pipe.try_write(bytes));
        match written {
            Some(Ok(count)) => {
                self.pending.drain(..count);
                self.close_if_done();
                Report::Taken(u32::try_from(count).unwrap_or(u32::MAX))
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Report::Taken(0),
            Some(Err(_)) | None => {
                self.pipe = None;
                self.pending.clear();
                Report::InputGone
            }
        }
    }

    fn close_if_done(&mut self) {
        if self.is_closing && self.pending.is_empty() {
            self.pipe = None;
        }
    }
}
