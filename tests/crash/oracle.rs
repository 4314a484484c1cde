//! Who remembers what the processes that died had acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use understory::store::sqlite::Reader;
use understory::{Event, Record, Seq, State, TaskId, What};

/// What was heard, over all lives of a file.
pub(crate) struct Oracle {
    folder: PathBuf,
    /// Each task by what it was asked for with: its key, or its own id.
    accepted: BTreeMap<String, TaskId>,
    /// The ends that were told, by a cancel or by the handle.
    ended: BTreeMap<TaskId, Option<String>>,
    /// Tasks that were resumed once, and only once.
    resumed: BTreeSet<TaskId>,
    events: BTreeMap<u64, (TaskId, String)>,
    /// The newest number that was in the file after any life.
    newest: u64,
    operations: u64,
}

impl Oracle {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            accepted: BTreeMap::new(),
            ended: BTreeMap::new(),
            resumed: BTreeSet::new(),
            events: BTreeMap::new(),
            newest: 0,
            operations: 0,
        }
    }

    pub(crate) const fn operations(&self) -> u64 {
        self.operations
    }

    /// Takes a line of a child. Those of the test harness are not for us.
    pub(crate) fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let id = |at: usize| words[at].parse::<TaskId>().unwrap();
        match words[0] {
            "event" => {
                let event = (id(2), words[3].to_owned());
                let seq = words[1].parse().unwrap();
                let before = self.events.insert(seq, event.clone());
                assert!(
                    before.is_none_or(|told| told == event),
                    "event {seq} was told twice"
                );
                return;
            }
            "spawned" => {
                let first = self.accepted.entry(words[2].to_owned()).or_insert(id(1));
                assert_eq!(*first, id(1), "a key means one task");
            }
            "ended" => {
                self.ended.insert(id(1), Some(words[2].to_owned()));
            }
            "cancelled" => {
                self.ended.entry(id(1)).or_insert(None);
            }
            "resumed" => {
                self.resumed.insert(id(1));
            }
            "suspended" | "sent" => {}
            _ => return,
        }
        self.operations += 1;
    }

    /// Compares what the dead process left behind with what it had acknowledged.
    pub(crate) fn check(&mut self) {
        let path = self.folder.join("tasks.db");
        if !path.exists() && self.accepted.is_empty() {
            return;
        }
        let reader = match Reader::open(&path) {
            Ok(reader) => reader,
            // Killed before it had made its tables.
            Err(error) => {
                assert!(self.accepted.is_empty(), "{error}");
                return;
            }
        };
        let loaded = reader.load().unwrap();
        let records: BTreeMap<_, _> = loaded.records.iter().map(|it| (it.id, &**it)).collect();
        let log = read_log(&reader, loaded.seq);
        self.check_acknowledged(&records);
        self.check_log(&records, &log);
        self.check_traces(&records);
        assert!(self.newest <= loaded.seq.0, "numbers went back");
        self.newest = loaded.seq.0;
    }

    fn check_acknowledged(&self, records: &BTreeMap<TaskId, &Record>) {
        for id in self.accepted.values() {
            assert!(records.contains_key(id), "{id} was accepted and is lost");
        }
        for (id, state) in &self.ended {
            let record = records[id];
            assert!(
                record.state.is_terminal(),
                "{id} had ended and is {}",
                record.state
            );
            if let Some(state) = state {
                assert_eq!(record.state.as_str(), state, "{id} has another end now");
            }
        }
        for id in &self.resumed {
            let state = records[id].state;
            assert_ne!(
                state,
                State::Suspended,
                "{id} was resumed, and that is lost"
            );
        }
    }

    fn check_log(&self, records: &BTreeMap<TaskId, &Record>, log: &[Event]) {
        let mut ends: BTreeMap<TaskId, &Event> = BTreeMap::new();
        for (event, seq) in log.iter().zip(1..) {
            assert_eq!(event.seq, Seq(seq), "the log has a gap");
            assert!(
                records.contains_key(&event.task),
                "event {seq} has no record"
            );
            if matches!(event.what, What::Settled { .. }) {
                let first = ends.insert(event.task, event);
                assert!(first.is_none(), "{} has two ends", event.task);
            }
        }
        for (seq, (task, name)) in &self.events {
            let kept = usize::try_from(seq - 1).ok().and_then(|at| log.get(at));
            let kept = kept.unwrap_or_else(|| panic!("event {seq} was told and is lost"));
            assert_eq!(
                (kept.task, kept.what.name()),
                (*task, &**name),
                "event {seq}"
            );
        }
        for (id, record) in records {
            let end = ends.get(id).map(|end| end.state);
            let kept = record.state.is_terminal().then_some(record.state);
            assert_eq!(end, kept, "record and log of {id} differ");
        }
    }

    /// What bodies did to the world.
    fn check_traces(&self, records: &BTreeMap<TaskId, &Record>) {
        for (id, record) in records {
            if record
                .spec
                .kind
                .as_ref()
                .is_none_or(|kind| kind.as_str() != "leaf")
            {
                continue;
            }
            let trace = fs::read(self.folder.join("traces").join(id.to_string()));
            let runs = trace.map_or(0, |trace| trace.len());
            let most = usize::try_from(record.spec.retry.attempts_max()).unwrap();
            assert!(runs <= most, "{id} ran {runs} times, and may {most} times");
            let is_done = record.state == State::Completed;
            assert!(!is_done || runs > 0, "{id} is completed and never ran");
        }
    }
}

fn read_log(reader: &Reader, newest: Seq) -> Vec<Event> {
    let mut log: Vec<Event> = Vec::new();
    while log.last().map_or(Seq(0), |event| event.seq) < newest {
        let after = log.last().map_or(Seq(0), |event| event.seq);
        let page = reader.events(after, 4_096).unwrap();
        assert!(!page.is_empty(), "the log ends before {newest}");
        log.extend(page.iter().map(|event| Event::clone(event)));
    }
    log
}
