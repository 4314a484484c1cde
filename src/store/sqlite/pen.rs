//! Writes batches as rows, and reads rows as records and events.
//!
//! # Invariants
//! 1. A batch is one transaction: records, removals, events and the end of the history.
//! 2. What is known of the file (its newest number, the specs) changes after the transaction.
//! 3. What is not by the holder of the lease is refused in the transaction that would write it, and
//!    what is known here is of the file as its holder found it.
//! 4. A settled row is overwritten only by one with the same end, or by the next life of its id.
//!
//! *Not here*: when (the writer of `actors`), the place of the file (`place`).

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use super::codec::{self, Damage, EventRow, LeaseRow, TaskRow};
use super::database::{Database, Rows, Trouble};
#[cfg(any(test, feature = "testing"))]
use super::fail;
use super::load::{self, Specs};
use crate::kernel::{Event, IdHash, Record, Scope, Seq, Spec, State, TaskId, Timestamp, What};
use crate::store::{
    Batch, EVENTS_PAGE_MAX, Lease, LeaseAsk, Loaded, StoreError, check_order, check_settled,
};

/// Most events that one commit removes beside those that it adds.
const FORGET_AT_ONCE: u64 = 1_000;

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(transparent)]
    Damage(#[from] Damage),
}

impl ReadError {
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Trouble(trouble) => trouble.is_damage(),
            Self::Damage(_) => true,
        }
    }

    pub(super) fn is_newer(&self) -> bool {
        match self {
            Self::Trouble(_) => false,
            Self::Damage(damage) => damage.is_newer(),
        }
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        let (is_newer, is_damage) = (error.is_newer(), error.is_damage());
        let source = Box::new(error);
        if is_newer {
            Self::Newer { source }
        } else if is_damage {
            Self::Damaged { source }
        } else {
            Self::Unavailable { source }
        }
    }
}

/// The one writer of a file.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) database: Database,
    history_max: u64,
    /// The numbers of the oldest and the newest event.
    oldest: u64,
    newest: Seq,
    /// Changes when somebody else writes: as it was when everything was read.
    version: i64,
    specs: Known,
    /// The scopes that are closed in the file; only what differs from them is written.
    closed: BTreeSet<Scope>,
}

/// What the file has of tasks that have not settled.
type Known = HashMap<TaskId, Kept, IdHash>;

/// The newest spec of a task with its number, and its row if it has one.
#[derive(Debug)]
struct Kept {
    number: i64,
    spec: Arc<Spec>,
    row: Option<Columns>,
}

/// The columns of a task's row that say more than its body does: what an index is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    spec: i64,
    parent: Option<TaskId>,
    created: Timestamp,
    state: State,
}

impl Columns {
    fn of(record: &Record, spec: i64) -> Self {
        Self {
            spec,
            parent: record.parent,
            created: record.created_at,
            state: record.state,
        }
    }

    /// Whether nothing but the state differs.
    fn is_like(&self, other: &Self) -> bool {
        let state = other.state;
        Self { state, ..*self } == *other
    }
}

impl Pen {
    pub(super) fn new(mut database: Database, history_max: u64) -> Result<Self, Trouble> {
        let (oldest, newest) = database.read(log_ends)?;
        Ok(Self {
            version: database.data_version()?,
            database,
            history_max: history_max.max(1),
            oldest,
            newest,
            specs: Known::default(),
            closed: BTreeSet::new(),
        })
    }

    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let order = check_order(self.newest, &batch.events);
        let newest = *order.as_ref().unwrap_or(&self.newest);
        let keep_from = self.keep_from(newest);
        let (known, closed) = (&self.specs, &self.closed);
        let found = self.database.atomically(|rows| {
            // Before all else: who was fenced may be wrong about everything.
            lease(rows)?.check(batch.by)?;
            order?;
            let mut sheet = Sheet {
                rows,
                known,
                closed,
                found: Known::default(),
            };
            sheet.write(batch)?;
            if let Some(first) = keep_from {
                sheet.forget_events_before(first)?;
            }
            #[cfg(any(test, feature = "testing"))]
            fail::pass(fail::Point::Written);
            Ok::<_, StoreError>(sheet.found)
        })?;
        self.newest = newest;
        self.oldest = keep_from.unwrap_or(self.oldest);
        self.specs.extend(found);
        for record in batch.records.iter().filter(|record| !record.is_held()) {
            self.specs.remove(&record.id);
        }
        for id in &batch.removed {
            self.specs.remove(id);
        }
        if let Some(closed) = &batch.closed {
            self.closed.clone_from(closed);
        }
        Ok(())
    }

    /// The first event to be kept, if older ones are to go.
    fn keep_from(&self, newest: Seq) -> Option<u64> {
        let first = (newest.0 + 1).saturating_sub(self.history_max);
        let added = newest.0 - self.newest.0;
        let limit = self.oldest + 2 * added + FORGET_AT_ONCE;
        // In slices, as each one costs a search of what else tells of its tasks.
        let is_worth_it = first >= self.oldest + FORGET_AT_ONCE.min(self.history_max / 4 + 1);
        is_worth_it.then(|| first.min(limit).min(newest.0))
    }

    /// Does what is asked of the lease.
    pub(super) fn lease(&mut self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        if *ask == LeaseAsk::Look {
            return Ok(self.database.read(lease)?);
        }
        let (lease, (oldest, newest)) = self.database.atomically(|rows| {
            let lease = lease(rows)?.after(ask)?;
            rows.set_lease(&LeaseRow::write(&lease))?;
            Ok::<_, StoreError>((lease, log_ends(rows)?))
        })?;
        // Until now another one may have written; from now on nobody else does.
        (self.oldest, self.newest) = (oldest, newest);
        Ok(lease)
    }

    /// Whether somebody else has written since everything was read.
    pub(super) fn is_stale(&self) -> Result<bool, Trouble> {
        Ok(self.database.data_version()? != self.version)
    }

    pub(super) fn load(&mut self) -> Result<Loaded, ReadError> {
        self.version = self.database.data_version()?;
        let (loaded, specs) = self.database.read(|rows| {
            let mut specs = Known::default();
            let loaded = load(rows, |record, number| {
                if record.is_held() {
                    let kept = Kept {
                        number,
                        spec: Arc::clone(&record.spec),
                        row: Some(Columns::of(record, number)),
                    };
                    specs.insert(record.id, kept);
                }
            })?;
            Ok::<_, ReadError>((loaded, specs))
        })?;
        self.specs = specs;
        self.closed.clone_from(&loaded.closed);
        Ok(loaded)
    }

    pub(super) fn events(
        &mut self,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        let specs = &self.specs;
        let known = |task: &str, number| {
            let known = specs.get(&TaskId::from_str(task).ok()?)?;
            (known.number == number).then(|| Arc::clone(&known.spec))
        };
        self.database.read(|rows| events(rows, after, limit, known))
    }
}

/// What a transaction writes.
struct Sheet<'a> {
    rows: &'a Rows<'a>,
    known: &'a Known,
    closed: &'a BTreeSet<Scope>,
    found: Known,
}

impl Sheet<'_> {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        // Events first: they know each spec in the order in which tasks had them.
        for event in &batch.events {
            // A task that is new has no spec yet, for which nobody has to look.
            let is_new = matches!(event.what, What::Accepted(_)) && event.incarnation == 1;
            let spec = self.spec_of(event.task, &event.spec, is_new)?;
            self.rows.put_event(&EventRow::write(event, spec))?;
        }
        for record in &batch.records {
            let spec = self.spec_of(record.id, &record.spec, false)?;
            self.put_record(record, spec)?;
        }
        for id in &batch.removed {
            let id = id.to_string();
            self.rows.remove_task(&id)?;
            self.rows.forget_specs(&id)?;
        }
        if let Some(closed) = &batch.closed {
            for scope in closed.difference(self.closed) {
                let checksum = codec::scope_checksum(scope.as_str());
                self.rows.close(scope.as_str(), checksum)?;
            }
            for scope in self.closed.difference(closed) {
                self.rows.reopen(scope.as_str())?;
            }
        }
        Ok(())
    }

    fn put_record(&mut self, record: &Record, spec: i64) -> Result<(), StoreError> {
        let row = TaskRow::write(record, spec);
        let columns = Columns::of(record, spec);
        let is_written = match self.row_of(record.id) {
            Some(before) if before.is_like(&columns) => {
                self.rows.change_task(&row, before != columns)?
            }
            Some(_) | None => false,
        };
        if !is_written && !self.rows.put_task(&row)? {
            self.put_settled(record, &row)?;
        }
        if let Some(kept) = self.found.get_mut(&record.id) {
            kept.row = Some(columns);
        } else if let Some(Kept { number, spec, .. }) = self.known.get(&record.id) {
            let (number, spec) = (*number, Arc::clone(spec));
            let row = Some(columns);
            self.found.insert(record.id, Kept { number, spec, row });
        }
        Ok(())
    }

    /// Invariant 4.
    fn put_settled(&self, record: &Record, row: &TaskRow) -> Result<(), StoreError> {
        if let Some((kept, kept_spec)) = self.rows.task(&row.id)? {
            let kept = load::record(&kept, kept_spec, &mut Specs::default());
            check_settled(&kept.map_err(ReadError::from)?, record)?;
            self.rows.remove_task(&row.id)?;
        }
        self.rows.put_task(row)?;
        Ok(())
    }

    fn row_of(&self, task: TaskId) -> Option<Columns> {
        let newest = self.found.get(&task).or_else(|| self.known.get(&task));
        newest.and_then(|kept| kept.row)
    }

    /// The number of a task's spec, which is written once.
    fn spec_of(&mut self, task: TaskId, spec: &Arc<Spec>, is_new: bool) -> Result<i64, StoreError> {
        let newest = self.found.get(&task).or_else(|| self.known.get(&task));
        if let Some(Kept {
            number,
            spec: newest,
            ..
        }) = newest
            && (Arc::ptr_eq(newest, spec) || newest == spec)
        {
            return Ok(*number);
        }
        let before = newest.and_then(|kept| kept.row);
        let (id, body) = (task.to_string(), codec::spec_body(spec));
        let written = if newest.is_none() && !is_new {
            let newest = self.rows.newest_spec(&id)?;
            newest.filter(|row| row.body == body)
        } else {
            None
        };
        let number = if let Some(row) = written {
            row.id
        } else {
            let checksum = codec::spec_checksum(&id, &body);
            self.rows.put_spec(&id, &body, checksum)?
        };
        let spec = Arc::clone(spec);
        let kept = Kept {
            number,
            spec,
            row: before,
        };
        self.found.insert(task, kept);
        Ok(number)
    }

    fn forget_events_before(&self, first: u64) -> Result<(), Trouble> {
        for task in self.rows.forget_events(first.cast_signed() - 1)? {
            self.rows.forget_specs(&task)?;
        }
        Ok(())
    }
}

/// Everything, as of one point in time.
pub(super) fn load(
    rows: &Rows<'_>,
    mut look: impl FnMut(&Record, i64),
) -> Result<Loaded, ReadError> {
    let found = load::records(rows)?;
    let records: Vec<_> = (found.into_iter())
        .map(|(record, spec)| {
            look(&record, spec);
            record
        })
        .collect();
    let seq = newest_event(rows)?;
    if let Some(record) = records.iter().find(|record| record.seq > seq) {
        let why = format!("event {} of it is missing", record.seq);
        return Err(Damage::new("task", &record.id, &why).into());
    }
    for (table, key) in [("task", "id"), ("closed", "scope"), ("meta", "key")] {
        let (by_index, by_table) = rows.counts(table, key)?;
        check_count(table, by_table, by_index)?;
    }
    lease(rows)?;
    Ok(Loaded {
        seq,
        records,
        closed: closed_scopes(rows)?,
    })
}

/// A page that lost rows looks like a smaller one; what else counts them tells.
fn check_count(table: &'static str, found: i64, in_index: i64) -> Result<(), Damage> {
    if found == in_index {
        return Ok(());
    }
    let why = format!("{found} rows, but {in_index} in its index");
    Err(Damage::new(table, &"(all)", &why))
}

/// The number of the newest event, of a log that has lost none at its ends. What is missing between
/// them is seen when it is read.
fn newest_event(rows: &Rows<'_>) -> Result<Seq, ReadError> {
    let (oldest, newest) = rows.log_ends()?.unwrap_or((1, 0));
    check_count("event", newest - oldest + 1, rows.count_events()?)?;
    Ok(Seq(newest.cast_unsigned()))
}

fn closed_scopes(rows: &Rows<'_>) -> Result<BTreeSet<Scope>, ReadError> {
    let scopes = rows.closed()?.into_iter().map(|(name, checksum)| {
        if checksum != codec::scope_checksum(&name) {
            return Err(Damage::new("closed", &name, &codec::CHECKSUM));
        }
        Scope::new(name.as_str()).map_err(|why| Damage::new("closed", &name, &why))
    });
    Ok(scopes.collect::<Result<_, _>>()?)
}

/// The oldest events after a number, at most [`EVENTS_PAGE_MAX`].
pub(super) fn events(
    rows: &Rows<'_>,
    after: Seq,
    limit: usize,
    known: impl Fn(&str, i64) -> Option<Arc<Spec>>,
) -> Result<Vec<Arc<Event>>, ReadError> {
    // Numbers beyond those of SQLite have no events.
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let events = load::events(rows, rows.events_after(after, page(limit))?, known)?;
    let (oldest, _) = rows.log_ends()?.unwrap_or((1, 0));
    // Only what is before the oldest one may be missing.
    let mut wanted = Seq(after.cast_unsigned().max(oldest.cast_unsigned() - 1)).next();
    for event in &events {
        if event.seq != wanted {
            return Err(Damage::new("event", &wanted, &"it is missing").into());
        }
        wanted = wanted.next();
    }
    Ok(events)
}

/// How many rows a page of events has.
pub(super) fn page(limit: usize) -> i64 {
    i64::try_from(limit.min(EVENTS_PAGE_MAX)).expect("the bound is small")
}

/// The numbers of the oldest and the newest event.
fn log_ends(rows: &Rows<'_>) -> Result<(u64, Seq), Trouble> {
    let (oldest, newest) = rows.log_ends()?.unwrap_or((1, 0));
    Ok((oldest.cast_unsigned(), Seq(newest.cast_unsigned())))
}

fn lease(rows: &Rows<'_>) -> Result<Lease, ReadError> {
    let row = rows.lease()?;
    let row = row.ok_or_else(|| Damage::new("lease", &1, &"it is missing"))?;
    Ok(row.read()?)
}
