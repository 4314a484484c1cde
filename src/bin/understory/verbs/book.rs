//! The records in a file, as a run would tell of them, whether or not somebody writes it.
//!
//! # Invariants
//! 1. It changes nothing, and never stands in the way of the run.
//! 2. What is told has the shape that a run gives it.
//!
//! *Not here*: which file (`records`), how it is printed (`print`).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use understory::store::sqlite::Reader;
use understory::store::{EVENTS_PAGE_MAX, StoreError};
use understory::{Filter, Record, Seq, TaskId};

use crate::records::{RecordsError, beside, with_causes};
use crate::run::filter;
use crate::run::input::Input;
use crate::socket::client::ClientError;
use crate::socket::{ListAsk, Shape};

/// What a file holds, as of one point in time.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    reader: Reader,
    records: HashMap<TaskId, Arc<Record>>,
    /// The number of the newest event.
    seq: Seq,
}

impl Book {
    pub(super) fn open(path: &Path) -> Result<Self, RecordsError> {
        if !path.exists() {
            let path = path.display();
            return Err(RecordsError::Asked(format!("there is no file {path}")));
        }
        let reader = Reader::open(path)?;
        let loaded = reader.load().map_err(|error| unreadable(&error))?;
        let records = loaded.records.into_iter();
        Ok(Self {
            path: path.to_owned(),
            reader,
            records: records.map(|record| (record.id, record)).collect(),
            seq: loaded.seq,
        })
    }

    /// What is to be known of the file as a whole, if anything: that its run was interrupted.
    pub(super) fn remark(&self) -> Option<String> {
        let mut records = self.records.values();
        let is_live = records.any(|record| !record.state.is_terminal());
        (is_live && !self.is_written()).then(|| {
            let file = self.path.display();
            format!(
                "the run of {file} was interrupted, nothing of it runs; \
                 `understory run --resume --db {file} PLAN.toml` lets it go on"
            )
        })
    }

    /// Whether a process writes the file: the lock beside it says which.
    fn is_written(&self) -> bool {
        let holder = std::fs::read_to_string(beside(&self.path, ".lock")).unwrap_or_default();
        let holder = holder.lines().next().and_then(|line| line.parse().ok());
        let holder = holder.and_then(Pid::from_raw);
        holder.is_some_and(|pid| match test_kill_process(pid) {
            Ok(()) => true,
            // It is there, and somebody else's.
            Err(error) => error == rustix::io::Errno::PERM,
        })
    }

    /// The tasks that match, the oldest first; in a tree also what is above them.
    pub(super) fn list(&self, ask: &ListAsk) -> Result<Vec<Value>, ClientError> {
        let filter = filter(ask).map_err(ClientError::Invalid)?;
        let ids = match ask.shape {
            Shape::Rows => self.matching(&filter).collect(),
            Shape::Tree => self.with_those_above(&filter),
        };
        let ids: BTreeSet<TaskId> = ids;
        let records = ids.iter().filter_map(|id| self.records.get(id));
        Ok(records.map(|record| self.shown(record)).collect())
    }

    fn matching(&self, filter: &Filter) -> impl Iterator<Item = TaskId> {
        let records = self.records.values();
        let matching = records.filter(|record| filter.matches(record));
        matching.map(|record| record.id)
    }

    fn with_those_above(&self, filter: &Filter) -> BTreeSet<TaskId> {
        let mut ids = BTreeSet::new();
        for id in self.matching(filter) {
            ids.extend(self.upwards(id).map(|record| record.id));
        }
        ids
    }

    /// A task and those above it, the nearest first.
    fn upwards(&self, id: TaskId) -> impl Iterator<Item = &Arc<Record>> {
        std::iter::successors(self.records.get(&id), |record| {
            self.records.get(&record.parent?)
        })
    }

    /// The task that is meant by an id or by the end of a path.
    pub(super) fn show(&self, target: &str) -> Result<Value, ClientError> {
        let found = match target.parse() {
            Ok(id) => self.records.get(&id),
            Err(_) => self.named(target),
        };
        found.map(|record| self.shown(record)).ok_or_else(|| {
            let file = self.path.display();
            ClientError::Refused(format!(
                "no task in {file} is {target:?}; `understory ls --db {file}` tells which there are"
            ))
        })
    }

    /// Of those that had a name, the one that has it now, else the last one.
    fn named(&self, target: &str) -> Option<&Arc<Record>> {
        let fits = |record: &&Arc<Record>| {
            let path = self.path_of(record.id);
            let rest = path.strip_suffix(target);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let bearers = self.records.values().filter(fits);
        bearers.max_by_key(|record| (record.is_held(), record.id))
    }

    /// Tells of the events after a number, one by one.
    pub(super) fn events(
        &self,
        since: Option<u64>,
        mut take: impl FnMut(Value) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let mut seq = Seq(since.unwrap_or_default());
        while seq < self.seq {
            let page = self.reader.events(seq, EVENTS_PAGE_MAX);
            let page = page.map_err(|error| unreadable(&error))?;
            let Some(first) = page.first() else { break };
            let missed = first.seq.0.saturating_sub(seq.0 + 1);
            if missed > 0 {
                let lagged = json!({ "event": "lagged", "missed": missed });
                take(lagged).map_err(ClientError::of_print)?;
            }
            for event in page.iter().take_while(|event| event.seq <= self.seq) {
                let mut shown = event.to_json();
                shown["path"] = json!(self.path_of(event.task));
                take(shown).map_err(ClientError::of_print)?;
            }
            seq = page.last().map_or(self.seq, |last| last.seq);
        }
        Ok(())
    }

    fn shown(&self, record: &Record) -> Value {
        let mut shown = record.to_json();
        shown["path"] = json!(self.path_of(record.id));
        if let Some(input) = Input::of(record) {
            shown["command"] = json!(input.task.command);
        }
        shown
    }

    /// The names from the root down; of a task that is not kept any more, what is left of its id.
    fn path_of(&self, id: TaskId) -> String {
        let mut segments: Vec<String> = self
            .upwards(id)
            .map(|record| record.spec.segment(record.id))
            .collect();
        if segments.is_empty() {
            segments.push(id.short());
        }
        segments.reverse();
        segments.join("/")
    }
}

fn unreadable(error: &StoreError) -> RecordsError {
    RecordsError::Store(with_causes(error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use understory::store::sqlite::Options;
    use understory::{Manager, State};

    use super::*;
    use crate::records::tests::private_folder;

    #[tokio::test]
    async fn events_that_are_no_longer_kept_are_counted() {
        let folder = private_folder();
        let path = folder.path().join("run.db");
        let options = Options::default().history_max(8);
        let manager = Manager::builder().open_with(&path, options).await;
        let manager = manager.expect("the file is new");
        for _ in 0..10 {
            let task = manager.scope("run").task("a").spawn(|_| async { Ok(()) });
            let ended = task.await.expect("it is taken").settled().await;
            assert_eq!(ended.expect("it ends").state, State::Completed);
        }
        manager
            .shutdown(Duration::ZERO)
            .await
            .expect("nothing runs");

        let book = Book::open(&path).expect("it is there");
        let mut told = Vec::new();
        let take = |event| {
            told.push(event);
            Ok(())
        };
        book.events(None, take).expect("they are read");

        let missed = told[0]["missed"].as_u64().expect("some are gone");
        let numbers = told[1..].iter().map(|event| event["seq"].as_u64());
        assert!(numbers.eq((missed + 1..=30).map(Some)), "{told:?}");
        assert_eq!(book.remark(), None, "all has settled");
    }
}
