//! Who remembers what the processes that died had acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use understory::store::sqlite::Reader;
use understory::{Event, MessageId, Record, Seq, State, TaskId, What};

use crate::total::Total;

/// What was heard, over all lives of a file.
pub(crate) struct Oracle {
    folder: PathBuf,
    /// Each task by what it was asked for with: its key, or its own id.
    accepted: BTreeMap<String, TaskId>,
    /// Tasks whose records may be removed when they have ended.
    chaff: BTreeSet<TaskId>,
    /// The ends that were told, by a cancel or by the handle.
    ended: BTreeMap<TaskId, String>,
    /// Durable messages that were accepted, by task; those that bodies began to acknowledge, and
    /// those that they have acknowledged.
    sent: BTreeSet<(TaskId, MessageId)>,
    taking: BTreeSet<MessageId>,
    taken: BTreeSet<MessageId>,
    /// Tasks that were seen suspended; those that somebody began to resume, and those that were
    /// resumed, once and only once.
    suspended: BTreeSet<TaskId>,
    resuming: BTreeSet<TaskId>,
    resumed: BTreeSet<TaskId>,
    events: BTreeMap<u64, (TaskId, String)>,
    /// The newest number that was in the file after any life.
    newest: u64,
    total: Total,
    /// Since when the life that is heard has worked.
    working: Option<Instant>,
}

type Records<'a> = BTreeMap<TaskId, &'a Record>;

impl Oracle {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            accepted: BTreeMap::new(),
            chaff: BTreeSet::new(),
            ended: BTreeMap::new(),
            sent: BTreeSet::new(),
            taking: BTreeSet::new(),
            taken: BTreeSet::new(),
            suspended: BTreeSet::new(),
            resuming: BTreeSet::new(),
            resumed: BTreeSet::new(),
            events: BTreeMap::new(),
            newest: 0,
            total: Total::default(),
            working: None,
        }
    }

    pub(crate) fn total(&self) -> Total {
        Total {
            tasks: self.accepted.len() + self.chaff.len(),
            ends: self.ended.len(),
            messages: self.sent.len(),
            events: self.events.len(),
            ..self.total
        }
    }

    /// The life that was heard is over.
    pub(crate) fn bury(&mut self) {
        if let Some(began) = self.working.take() {
            self.total.worked += began.elapsed();
        }
    }

    /// Takes a line of a child. Those of the test harness are not for us.
    pub(crate) fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let id = |at: usize| words[at].parse::<TaskId>().unwrap();
        let message = || words[2].parse::<MessageId>().unwrap();
        match words[0] {
            "event" => return self.hear_event(words[1].parse().unwrap(), id(2), words[3]),
            "spawned" => {
                let first = self.accepted.entry(words[2].to_owned()).or_insert(id(1));
                assert_eq!(*first, id(1), "a key means one task");
                // Only work is counted, and a life that has none takes no time.
                self.working.get_or_insert_with(Instant::now);
            }
            "chaff" => drop(self.chaff.insert(id(1))),
            "ended" => self.hear_end(id(1), words[2]),
            "cancelled" => self.hear_end(id(1), State::Cancelled.as_str()),
            "sent" => drop(self.sent.insert((id(1), message()))),
            "taken" => drop(self.taken.insert(message())),
            "suspended" => drop(self.suspended.insert(id(1))),
            "resumed" => drop(self.resumed.insert(id(1))),
            "pruned" => {}
            "taking" => {
                self.taking.insert(message());
                return;
            }
            "resuming" => {
                self.resuming.insert(id(1));
                return;
            }
            _ => return,
        }
        self.total.operations += 1;
    }

    fn hear_event(&mut self, seq: u64, task: TaskId, name: &str) {
        let event = (task, name.to_owned());
        let before = self.events.insert(seq, event.clone());
        let is_same = before.is_none_or(|told| told == event);
        assert!(is_same, "event {seq} was told twice");
    }

    fn hear_end(&mut self, id: TaskId, state: &str) {
        let first = self.ended.entry(id).or_insert_with(|| state.to_owned());
        assert_eq!(first, state, "{id} had another end");
    }

    /// What the file has, unless the process died before it had made its tables.
    fn read(&self) -> Option<(Vec<Event>, Vec<Record>)> {
        let path = self.folder.join("tasks.db");
        let reader = match Reader::open(&path) {
            Ok(reader) => reader,
            Err(error) => {
                let is_new = self.accepted.is_empty() && self.chaff.is_empty();
                assert!(is_new, "{error}");
                return None;
            }
        };
        let loaded = reader.load().unwrap();
        let records = loaded.records.iter().map(|it| Record::clone(it)).collect();
        Some((read_log(&reader, loaded.seq), records))
    }

    /// Whether nothing is left to do but what waits for somebody.
    pub(crate) fn is_idle(&self) -> bool {
        let path = self.folder.join("tasks.db");
        let loaded = Reader::open(path)
            .ok()
            .and_then(|reader| reader.load().ok());
        loaded.is_some_and(|loaded| loaded.records.iter().all(|it| is_at_rest(it)))
    }

    /// Compares what the dead process left behind with what it had acknowledged.
    pub(crate) fn check(&mut self) {
        let Some((log, records)) = self.read() else {
            return;
        };
        let records: Records<'_> = records.iter().map(|it| (it.id, it)).collect();
        self.check_accepted(&records);
        self.check_ends(&records);
        self.check_messages(&records);
        self.check_log(&records, &log);
        self.check_traces(&records, &log);
        let newest = u64::try_from(log.len()).unwrap();
        assert!(self.newest <= newest, "numbers went back");
        self.newest = newest;
    }

    fn check_accepted(&self, records: &Records<'_>) {
        for (key, id) in &self.accepted {
            let record = records.get(id);
            let record = record.unwrap_or_else(|| panic!("{id} was accepted and is lost"));
            if *key != id.to_string() {
                let kept = record.spec.key.as_ref().map(understory::Key::as_str);
                assert_eq!(kept, Some(&**key), "{id} has another key");
            }
        }
    }

    fn check_ends(&self, records: &Records<'_>) {
        for (id, state) in &self.ended {
            assert_eq!(records[id].state.as_str(), state, "{id} has another end");
        }
        for id in self.suspended.difference(&self.resuming) {
            let state = records[id].state;
            assert_eq!(state, State::Suspended, "{id} was not resumed by anybody");
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

    fn check_messages(&self, records: &Records<'_>) {
        for (task, message) in &self.sent {
            let kept = records[task].unacknowledged();
            let is_kept = kept.iter().any(|it| it.id == *message);
            assert!(
                is_kept || self.taking.contains(message),
                "{message} to {task} was accepted and is lost"
            );
        }
        for record in records.values() {
            for kept in record.unacknowledged() {
                let is_taken = self.taken.contains(&kept.id);
                assert!(!is_taken, "{} was acknowledged and is there", kept.id);
            }
        }
    }

    fn check_log(&self, records: &Records<'_>, log: &[Event]) {
        let mut ends: BTreeMap<TaskId, &Event> = BTreeMap::new();
        let mut named = BTreeSet::new();
        for (event, seq) in log.iter().zip(1..) {
            assert_eq!(event.seq, Seq(seq), "the log has a gap");
            named.insert((event.task, event.spec.scope.as_str()));
            if matches!(event.what, What::Settled { .. }) {
                let first = ends.insert(event.task, event);
                assert!(first.is_none(), "{} has two ends", event.task);
            }
        }
        for (task, scope) in &named {
            let is_removed = *scope == "chaff" && ends.contains_key(task);
            let is_there = records.contains_key(task);
            assert!(is_there || is_removed, "events of {task} without a record");
        }
        for id in &self.chaff {
            let is_told = named.contains(&(*id, "chaff"));
            assert!(is_told, "{id} was accepted and is lost");
        }
        for (seq, (task, name)) in &self.events {
            let kept = usize::try_from(seq - 1).ok().and_then(|at| log.get(at));
            let kept = kept.unwrap_or_else(|| panic!("event {seq} was told and is lost"));
            let kept = (kept.task, kept.what.name());
            assert_eq!(kept, (*task, &**name), "event {seq}");
        }
        for (id, record) in records {
            let end = ends.get(id).map(|end| end.state);
            let kept = record.state.is_terminal().then_some(record.state);
            assert_eq!(end, kept, "record and log of {id} differ");
        }
    }

    /// How often the body of each task has changed the world.
    fn traces(&self) -> BTreeMap<TaskId, u32> {
        let Ok(files) = fs::read_dir(self.folder.join("traces")) else {
            return BTreeMap::new();
        };
        let trace = |file: fs::DirEntry| {
            let id = file.file_name().to_str().unwrap().parse().unwrap();
            let runs = file.metadata().unwrap().len();
            (id, u32::try_from(runs).unwrap())
        };
        files.map(|file| trace(file.unwrap())).collect()
    }

    /// What bodies did to the world.
    fn check_traces(&mut self, records: &Records<'_>, log: &[Event]) {
        let traces = self.traces();
        let told: BTreeMap<_, _> = log.iter().map(|event| (event.task, &event.spec)).collect();
        for (id, runs) in &traces {
            let spec = told.get(id);
            let spec = spec.unwrap_or_else(|| panic!("{id} ran, and nobody accepted it"));
            let most = spec.retry.attempts_max();
            assert!(*runs <= most, "{id} ran {runs} times, and may {most} times");
        }
        for record in records.values().filter(|it| is_of(it, &["leaf", "lead"])) {
            let (id, runs) = (record.id, traces.get(&record.id).copied().unwrap_or(0));
            assert!(runs <= record.attempt, "{id} ran, and its record says not");
            let is_done = record.state == State::Completed;
            assert!(!is_done || runs > 0, "{id} is completed and never ran");
        }
        let once = traces
            .keys()
            .filter(|id| told[id].retry.attempts_max() == 1);
        (self.total.traces, self.total.once) = (traces.len(), once.count());
    }

    /// When everything is done: what may be run again was run.
    pub(crate) fn check_done(&self) {
        let (_, records) = self.read().expect("somebody has worked with it");
        let unrest = records.iter().find(|it| !is_at_rest(it));
        assert!(unrest.is_none(), "something never ended: {unrest:?}");
        let traces = self.traces();
        for record in records.iter().filter(|it| is_of(it, &["leaf"])) {
            let most = record.spec.retry.attempts_max();
            // Unless a crash came between the beginning of each attempt and its first effect.
            let is_spent = record.state == State::Interrupted && record.attempt >= most;
            let is_excused = record.state == State::Cancelled || is_spent;
            let has_run = traces.contains_key(&record.id);
            assert!(most < 2 || has_run || is_excused, "{} never ran", record.id);
        }
    }
}

fn is_at_rest(record: &Record) -> bool {
    record.state.is_terminal() || record.state == State::Suspended
}

fn is_of(record: &Record, kinds: &[&str]) -> bool {
    let kind = record.spec.kind.as_ref();
    kind.is_some_and(|kind| kinds.contains(&kind.as_str()))
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
