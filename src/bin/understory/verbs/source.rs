//! Where the verbs look that only look: a run that goes on, or the records of one.
//!
//! # Invariants
//! 1. What was named is what answers. Only when nothing was, and no run goes on, the newest records
//!    do, and this is told.
//!
//! *Not here*: reading records (`book`), finding runs (`socket::client`).

use std::io;
use std::path::Path;

use serde_json::Value;

use super::book::Book;
use crate::cli;
use crate::records;
use crate::socket::client::{ClientError, Peer};
use crate::socket::{ListAsk, Verb};

/// Where to look.
pub(super) enum Source {
    Run(Peer),
    File(Box<Book>),
}

impl Source {
    pub(super) fn list(
        &self,
        ask: ListAsk,
        take: impl FnMut(Value) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        match self {
            Self::Run(peer) => peer.ask(Verb::List(ask), take).map(drop),
            Self::File(book) => {
                let mut records = book.list(&ask)?.into_iter();
                let told = records.try_for_each(take);
                told.map_err(ClientError::of_print)
            }
        }
    }
}

/// The file that was named, else a run, else the records of the newest run.
pub(super) fn source(wish: &cli::Source) -> Result<Source, ClientError> {
    let book = |file: &Path| {
        let book = Book::open(file)?;
        if let Some(remark) = book.remark() {
            crate::complain(&remark);
        }
        Ok(Source::File(Box::new(book)))
    };
    if let Some(file) = &wish.db {
        return book(file);
    }
    match Peer::find(wish.choice.run.as_deref()) {
        Err(ClientError::NoRun(why)) => match records::newest() {
            Some(file) => {
                crate::complain(&format!(
                    "no run is found; these are the records in {}",
                    file.display()
                ));
                book(&file)
            }
            None => Err(ClientError::NoRun(why)),
        },
        found => Ok(Source::Run(found?)),
    }
}
