//! Reads rows as records and events: one thread fetches those of a whole file, and several check
//! them.
//!
//! # Invariants
//! 1. Records come in the order of their rows; of several rows that are wrong, the first one is
//!    told.
//! 2. No more than some hundreds of rows wait to be checked.
//! 3. Specs that were written alike are one in memory, as far as they are short and found near each
//!    other; that of a task's events is read once a page.
//!
//! *Not here*: what else is compared at an opening (`pen`), what a row means (`codec`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ScopedJoinHandle};

use super::codec::{Damage, EventRow, SpecRow, TaskRow};
use super::database::Rows;
use super::lock;
use super::pen::ReadError;
use crate::kernel::{Event, Record, Spec, State};

/// Rows that are checked together.
const ROWS_AT_ONCE: usize = 256;
/// Most threads beside the one that fetches.
const CHECKERS_MAX: usize = 3;
/// Specs that are remembered, and the longest of them.
const SPECS_KEPT: usize = 1_024;
const SPEC_BYTES_MAX: usize = 4_096;

/// A record and the number of its spec.
pub(super) type Found = (Arc<Record>, i64);

/// Rows with their place in the file, and what is in them.
type Fetched = (usize, Vec<(TaskRow, SpecRow)>);
type Checked = Vec<(usize, Result<Vec<Found>, Damage>)>;

/// Every record of a file, in the order of their ids.
pub(super) fn records(rows: &Rows<'_>) -> Result<Vec<Found>, ReadError> {
    let (sender, receiver) = sync_channel(CHECKERS_MAX);
    let receiver = Mutex::new(receiver);
    let (fetched, mut checked) = thread::scope(|scope| {
        let mut crew = Crew {
            checkers: Vec::new(),
            sender,
            own: Checker::default(),
        };
        let mut full = Vec::new();
        let mut next = 0;
        let fetched = rows.each_task(|row, spec| {
            full.push((row, spec));
            if full.len() == ROWS_AT_ONCE {
                if next == 0 {
                    crew.checkers = hire(scope, &receiver);
                }
                crew.hand((next, std::mem::take(&mut full)));
                next += 1;
            }
        });
        crew.own.check((next, full));
        (fetched, crew.end())
    });
    checked.sort_unstable_by_key(|(place, _)| *place);
    let mut found = Vec::new();
    for (_, records) in checked {
        found.append(&mut records?);
    }
    fetched?;
    Ok(found)
}

/// Threads that check, as many as there are processors beside this one; none is needed.
fn hire<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    receiver: &'scope Mutex<Receiver<Fetched>>,
) -> Vec<ScopedJoinHandle<'scope, Checked>> {
    let others = thread::available_parallelism().map_or(0, |all| all.get() - 1);
    let hired = (0..others.min(CHECKERS_MAX)).map_while(|_| {
        let work = || {
            let mut checker = Checker::default();
            loop {
                // Apart from the check, so that the next one waits only for rows.
                let fetched = lock(receiver).recv();
                let Ok(fetched) = fetched else {
                    return checker.checked;
                };
                checker.check(fetched);
            }
        };
        let thread = thread::Builder::new().name("understory-load".to_owned());
        thread.spawn_scoped(scope, work).ok()
    });
    hired.collect()
}

struct Crew<'scope> {
    checkers: Vec<ScopedJoinHandle<'scope, Checked>>,
    sender: SyncSender<Fetched>,
    own: Checker,
}

impl Crew<'_> {
    /// Gives rows to a thread that is free; else this one checks them itself.
    fn hand(&mut self, fetched: Fetched) {
        if self.checkers.is_empty() {
            self.own.check(fetched);
            return;
        }
        match self.sender.try_send(fetched) {
            Ok(()) => {}
            Err(TrySendError::Full(fetched) | TrySendError::Disconnected(fetched)) => {
                self.own.check(fetched);
            }
        }
    }

    /// Waits for what the others have found.
    fn end(self) -> Checked {
        drop(self.sender);
        let mut checked = self.own.checked;
        for checker in self.checkers {
            match checker.join() {
                Ok(theirs) => checked.extend(theirs),
                Err(panic) => resume_unwind(panic),
            }
        }
        checked
    }
}

/// What one thread has checked.
#[derive(Default)]
struct Checker {
    specs: Specs,
    checked: Checked,
}

impl Checker {
    fn check(&mut self, (place, rows): Fetched) {
        let found = rows.into_iter().map(|(row, spec)| {
            let number = spec.id;
            let record = record(&row, spec, &mut self.specs)?;
            Ok((Arc::new(record), number))
        });
        let found = found.collect();
        self.checked.push((place, found));
    }
}

/// The records of some rows.
pub(super) fn all(rows: Vec<(TaskRow, SpecRow)>) -> Result<Vec<Arc<Record>>, Damage> {
    let mut specs = Specs::default();
    let records = rows.into_iter();
    let records = records.map(|(row, spec)| Ok(Arc::new(record(&row, spec, &mut specs)?)));
    records.collect()
}

/// The record of a row.
pub(super) fn record(row: &TaskRow, spec: SpecRow, specs: &mut Specs) -> Result<Record, Damage> {
    let is_its = row.id == spec.task;
    let record = row.read(specs.read(spec)?)?;
    let same = State::parse(&row.state) == Some(record.state)
        && row.scope == record.spec.scope.as_str()
        && is_its;
    if same {
        Ok(record)
    } else {
        Err(Damage::new(
            "task",
            &row.id,
            &"its columns contradict its body",
        ))
    }
}

/// The events of rows; those of one task share their spec, with what is `known` of the task, too.
pub(super) fn events(
    rows: &Rows<'_>,
    found: Vec<EventRow>,
    known: impl Fn(&str, i64) -> Option<Arc<Spec>>,
) -> Result<Vec<Arc<Event>>, ReadError> {
    let mut specs = Specs::default();
    // However long they are: a task has many events, and one or two specs.
    let mut by_number = HashMap::new();
    let mut events = Vec::with_capacity(found.len());
    for row in found {
        let spec = match by_number.entry(row.spec) {
            Entry::Occupied(read) => {
                let (task, spec): &(String, Arc<Spec>) = read.into_mut();
                check_owner(&row, task)?;
                Arc::clone(spec)
            }
            Entry::Vacant(unread) => {
                let spec = match known(&row.task, row.spec) {
                    Some(known) => known,
                    None => its_spec(rows, &row, &mut specs)?,
                };
                let (_, spec) = unread.insert((row.task.clone(), spec));
                Arc::clone(spec)
            }
        };
        events.push(Arc::new(row.read(spec)?));
    }
    Ok(events)
}

fn its_spec(rows: &Rows<'_>, row: &EventRow, specs: &mut Specs) -> Result<Arc<Spec>, ReadError> {
    let Some(spec) = rows.spec(row.spec)? else {
        return Err(Damage::new("event", &row.seq, &"its spec is missing").into());
    };
    check_owner(row, &spec.task)?;
    Ok(specs.read(spec)?)
}

fn check_owner(row: &EventRow, task: &str) -> Result<(), Damage> {
    if row.task == task {
        return Ok(());
    }
    let why = format!("its spec is one of {task}");
    Err(Damage::new("event", &row.seq, &why))
}

/// Specs that were read, by their texts: those of one program are often the same.
#[derive(Default)]
pub(super) struct Specs(HashMap<String, Arc<Spec>>);

impl Specs {
    /// Checks a row and reads its spec, unless one with the same text was read before.
    pub(super) fn read(&mut self, row: SpecRow) -> Result<Arc<Spec>, Damage> {
        row.check()?;
        if let Some(spec) = self.0.get(&row.body) {
            return Ok(Arc::clone(spec));
        }
        let spec = row.parse()?;
        if row.body.len() <= SPEC_BYTES_MAX {
            if self.0.len() == SPECS_KEPT {
                self.0.clear();
            }
            self.0.insert(row.body, Arc::clone(&spec));
        }
        Ok(spec)
    }
}
