//! SQLite: the only file that names `rusqlite`.
//!
//! # Invariants
//! 1. What is written happens in a transaction that was opened as a writing one, so that it does
//!    not fail half way because another process writes.
//! 2. Statements are prepared once and kept.
//!
//! *Not here*: what the rows mean (`codec`), which are written (`pen`), their tables (`schema`).

#[cfg(any(test, feature = "testing"))]
mod aside;
mod generation;
mod lease;
mod tables;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
#[cfg(test)]
use rusqlite::types::Value;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row, TransactionBehavior, params,
};

use super::codec::{EventRow, SpecRow, TaskRow};
use super::keeper::LOG_BYTES;
use crate::store::StoreError;
pub(super) use tables::tables;

/// How long a statement waits for another process that checkpoints or begins to read.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Enough for each statement of the file.
const STATEMENTS_KEPT: usize = 64;

/// What SQLite says is wrong.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Trouble(#[from] rusqlite::Error);

impl Trouble {
    /// Whether the file is not what SQLite wrote, so that trying again cannot help.
    pub(super) fn is_damage(&self) -> bool {
        let Self(error) = self;
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    // What we write keeps every constraint when what is there is what we wrote.
                    | ErrorCode::ConstraintViolation
            )
        ) || error.sqlite_error_code().is_none()
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        let is_damage = trouble.is_damage();
        let source: Box<dyn Error + Send + Sync> = Box::new(trouble);
        if is_damage {
            Self::Damaged { source }
        } else {
            Self::Unavailable { source }
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    /// The one writer.
    Write,
    /// It reads what others write.
    Read,
}

/// Whose file it is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) application: i32,
    pub(super) version: i64,
    /// How many tables, indices and views it has.
    pub(super) objects: i64,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Database(Connection);

impl Database {
    /// Opens a file that is there; an empty one is a new one. Its log stays as it is when this
    /// connection ends, unless [`Database::tidies_up`].
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, Trouble> {
        let flags = match access {
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        if let Access::Write = access {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            // Where a sync leaves it in a cache of the disk, the disk is told as well.
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        }
        Ok(Self(connection))
    }

    /// From now on, the last connection that ends moves the log into the file.
    pub(super) fn tidies_up(&self) -> Result<(), Trouble> {
        let option = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        Ok(self.0.set_db_config(option, false).map(drop)?)
    }

    /// Reads whose file it is. Nothing was changed yet.
    pub(super) fn identity(&self) -> Result<Identity, Trouble> {
        let number = |sql| self.0.query_row(sql, [], |row| row.get(0));
        Ok(Identity {
            application: self
                .0
                .query_row("PRAGMA application_id", [], |row| row.get(0))?,
            version: number("PRAGMA user_version")?,
            objects: number("SELECT count(*) FROM sqlite_schema")?,
        })
    }

    /// Says how the writer works. Nothing was changed yet.
    pub(super) fn prepare(&self, is_synced: bool) -> Result<(), Trouble> {
        let synchronous = if is_synced { "full" } else { "normal" };
        self.0.pragma_update(None, "synchronous", synchronous)?;
        // A checkpoint stands in the way of the commit that begins it, so that is for a keeper that
        // failed; else the keeper makes it before that, beside the commits, also after a large one.
        self.0.pragma_update(None, "wal_autocheckpoint", 131_072)?;
        // A page that is written before the end of its transaction, and again at that, makes the
        // log be read and summed anew.
        self.0.pragma_update(None, "cache_spill", 65_536)?;
        self.0
            .pragma_update(None, "journal_size_limit", LOG_BYTES.cast_signed())?;
        self.0.pragma_update(None, "cache_size", -65_536)?;
        // A mapped file that shrinks is a bus error.
        self.0.pragma_update(None, "mmap_size", 0)?;
        Ok(())
    }

    /// Has the file written with a log (`wal`); tells how it is written.
    pub(super) fn write_ahead(&self, is_new: bool) -> Result<String, Trouble> {
        if is_new {
            // It counts before the first table only.
            self.0.pragma_update(None, "auto_vacuum", "incremental")?;
        }
        let mode = "PRAGMA journal_mode = wal";
        Ok(self.0.query_row(mode, [], |row| row.get(0))?)
    }

    /// Does all of `work` or nothing, and waits for the disk as this connection does.
    pub(super) fn atomically<T, E: From<Trouble>>(
        &mut self,
        work: impl FnOnce(&Rows<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.0.transaction_with_behavior(behavior);
        let transaction = transaction.map_err(Trouble)?;
        let done = work(&Rows(&transaction))?;
        transaction.commit().map_err(Trouble)?;
        Ok(done)
    }

    /// Reads from one point in time.
    pub(super) fn read<T, E: From<Trouble>>(
        &mut self,
        work: impl FnOnce(&Rows<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let behavior = TransactionBehavior::Deferred;
        let transaction = self.0.transaction_with_behavior(behavior);
        let transaction = transaction.map_err(Trouble)?;
        work(&Rows(&transaction))
    }

    /// Moves what is in the log to the file, as far as no reader is in the way; tells whether that
    /// was all of it.
    pub(super) fn checkpoint(&self) -> Result<bool, Trouble> {
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        let moved = self.0.query_row(sql, [], |row| {
            let [is_busy, all, moved]: [i64; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok::<_, rusqlite::Error>(is_busy == 0 && all == moved)
        });
        Ok(moved?)
    }

    /// How many pages the file has, and how many of them are not used.
    pub(super) fn pages(&self) -> Result<(i64, i64), Trouble> {
        let number = |sql| self.0.query_row(sql, [], |row| row.get(0));
        Ok((
            number("PRAGMA page_count")?,
            number("PRAGMA freelist_count")?,
        ))
    }

    /// Gives up to so many unused pages back to the disk.
    pub(super) fn shrink(&self, pages: u32) -> Result<(), Trouble> {
        // The statement frees one page a step.
        let sql = format!("PRAGMA incremental_vacuum({pages})");
        let mut statement = self.0.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// The rows, within a transaction.
pub(super) struct Rows<'a>(&'a Connection);

impl Rows<'_> {
    fn run(&self, sql: &str, values: impl Params) -> Result<usize, Trouble> {
        Ok(self.0.prepare_cached(sql)?.execute(values)?)
    }

    fn first<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Trouble> {
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row(values, read).optional()?)
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Trouble> {
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn put_spec(&self, task: &str, body: &str, checksum: u32) -> Result<i64, Trouble> {
        let sql = "INSERT INTO spec (task, body, checksum) VALUES (?, ?, ?)";
        self.run(sql, params![task, body, checksum])?;
        Ok(self.0.last_insert_rowid())
    }

    pub(super) fn spec(&self, id: i64) -> Result<Option<SpecRow>, Trouble> {
        let sql = "SELECT id, task, body, checksum FROM spec WHERE id = ?";
        self.first(sql, params![id], |row| spec_row(row, 0))
    }

    /// The newest spec of a task.
    pub(super) fn newest_spec(&self, task: &str) -> Result<Option<SpecRow>, Trouble> {
        let sql = "SELECT id, task, body, checksum FROM spec
            WHERE task = ? ORDER BY id DESC LIMIT 1";
        self.first(sql, params![task], |row| spec_row(row, 0))
    }

    /// Forgets the specs of a task of which nothing tells any more: those that are older than the
    /// one of its oldest event, as a task and its events go from one spec to a later one.
    pub(super) fn forget_specs(&self, task: &str) -> Result<(), Trouble> {
        let sql = "WITH used AS (
                SELECT spec FROM (SELECT spec FROM event WHERE task = ?1 ORDER BY seq LIMIT 1)
                UNION ALL SELECT spec FROM task WHERE id = ?1
            )
            DELETE FROM spec WHERE task = ?1
                AND id < coalesce((SELECT min(spec) FROM used), 9223372036854775807)";
        self.run(sql, params![task]).map(drop)
    }

    /// Writes a task, unless there is one that has settled.
    pub(super) fn put_task(&self, row: &TaskRow) -> Result<bool, Trouble> {
        let sql = "INSERT INTO task (id, spec, scope, state, parent, created, body, checksum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET
                spec = excluded.spec, scope = excluded.scope, state = excluded.state,
                parent = excluded.parent, created = excluded.created, body = excluded.body,
                checksum = excluded.checksum
            WHERE task.state NOT IN
                ('completed', 'failed', 'timed_out', 'cancelled', 'interrupted')";
        let changed = self.run(
            sql,
            params![
                row.id,
                row.spec,
                row.scope,
                row.state,
                row.parent,
                row.created,
                row.body,
                row.checksum
            ],
        )?;
        Ok(changed > 0)
    }

    /// Writes a task whose columns are as they were, but for its state if `is_moved`; not one that
    /// is not there or has settled.
    pub(super) fn change_task(&self, row: &TaskRow, is_moved: bool) -> Result<bool, Trouble> {
        // An index over a column that is named here is written, whether that changes or not.
        let sql = if is_moved {
            "UPDATE task SET body = ?1, checksum = ?2, state = ?4 WHERE id = ?3 AND state NOT IN
                ('completed', 'failed', 'timed_out', 'cancelled', 'interrupted')"
        } else {
            "UPDATE task SET body = ?1, checksum = ?2 WHERE id = ?3 AND state = ?4 AND ?4 NOT IN
                ('completed', 'failed', 'timed_out', 'cancelled', 'interrupted')"
        };
        let values = params![row.body, row.checksum, row.id, row.state];
        Ok(self.run(sql, values)? > 0)
    }

    pub(super) fn remove_task(&self, id: &str) -> Result<(), Trouble> {
        self.run("DELETE FROM task WHERE id = ?", params![id])
            .map(drop)
    }

    pub(super) fn task(&self, id: &str) -> Result<Option<(TaskRow, SpecRow)>, Trouble> {
        let sql = format!("{TASKS} WHERE t.id = ?");
        self.first(&sql, params![id], task_row)
    }

    /// Every task, in the order of their ids.
    pub(super) fn each_task(&self, mut take: impl FnMut(TaskRow, SpecRow)) -> Result<(), Trouble> {
        let sql = format!("{TASKS} ORDER BY t.id");
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (task, spec) = task_row(row)?;
            take(task, spec);
        }
        Ok(())
    }

    /// How many rows a table with a text as its key has: in the index of that, and in itself.
    pub(super) fn counts(&self, table: &str, key: &str) -> Result<(i64, i64), Trouble> {
        let number = |sql: &str| self.0.query_row(sql, [], |row| row.get(0));
        let index = format!("sqlite_autoindex_{table}_1");
        let by_index = format!("SELECT count(*) FROM {table} INDEXED BY {index} WHERE {key} > ''");
        let by_table = format!("SELECT count(*) FROM {table} NOT INDEXED");
        Ok((number(&by_index)?, number(&by_table)?))
    }

    /// How many events there are, as the index of their tasks has it.
    pub(super) fn count_events(&self) -> Result<i64, Trouble> {
        let sql = "SELECT count(*) FROM event INDEXED BY event_by_task WHERE task > ''";
        Ok(self.0.query_row(sql, [], |row| row.get(0))?)
    }

    /// A page of tasks, the newest first: of a scope, in a state, older than `before`.
    pub(super) fn page(
        &self,
        (scope, state): (Option<&str>, Option<&str>),
        before: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<Vec<(TaskRow, SpecRow)>, Trouble> {
        let mut sql = format!("{TASKS} WHERE 1");
        let (created, id) = before.unwrap_or((i64::MAX, ""));
        sql.push_str(if scope.is_some() {
            " AND t.scope = ?1"
        } else {
            " AND ?1 IS NULL"
        });
        sql.push_str(if state.is_some() {
            " AND t.state = ?2"
        } else {
            " AND ?2 IS NULL"
        });
        if before.is_some() {
            sql.push_str(" AND (t.created, t.id) < (?3, ?4)");
        } else {
            sql.push_str(" AND ?3 IS NOT NULL AND ?4 IS NOT NULL");
        }
        sql.push_str(" ORDER BY t.created DESC, t.id DESC LIMIT ?5");
        self.all(&sql, params![scope, state, created, id, limit], task_row)
    }

    /// The tasks below one, in the order of their ids.
    pub(super) fn children(&self, parent: &str) -> Result<Vec<(TaskRow, SpecRow)>, Trouble> {
        let sql = format!("{TASKS} WHERE t.parent = ? ORDER BY t.id");
        self.all(&sql, params![parent], task_row)
    }

    pub(super) fn put_event(&self, row: &EventRow) -> Result<(), Trouble> {
        let sql = "INSERT INTO event (seq, at, task, spec, type, body, checksum)
            VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            row.seq,
            row.at,
            row.task,
            row.spec,
            row.kind,
            row.body,
            row.checksum
        ];
        self.run(sql, values).map(drop)
    }

    /// The numbers of the oldest and the newest event.
    pub(super) fn log_ends(&self) -> Result<Option<(i64, i64)>, Trouble> {
        let end = |sql| {
            self.0
                .query_row(sql, [], |row| row.get::<_, Option<i64>>(0))
        };
        let oldest = end("SELECT min(seq) FROM event")?;
        let newest = end("SELECT max(seq) FROM event")?;
        Ok(oldest.zip(newest))
    }

    pub(super) fn events_after(&self, after: i64, limit: i64) -> Result<Vec<EventRow>, Trouble> {
        let sql = format!("{EVENTS} WHERE seq > ? ORDER BY seq LIMIT ?");
        self.all(&sql, params![after, limit], event_row)
    }

    pub(super) fn events_of(
        &self,
        task: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EventRow>, Trouble> {
        let sql = format!("{EVENTS} WHERE task = ? AND seq > ? ORDER BY seq LIMIT ?");
        self.all(&sql, params![task, after, limit], event_row)
    }

    /// Removes the events up to a number; gives the tasks that they were about.
    pub(super) fn forget_events(&self, up_to: i64) -> Result<Vec<String>, Trouble> {
        let sql = "SELECT DISTINCT task FROM event WHERE seq <= ?";
        let tasks = self.all(sql, params![up_to], |row| row.get(0))?;
        self.run("DELETE FROM event WHERE seq <= ?", params![up_to])?;
        Ok(tasks)
    }

    /// The scopes that are closed, each with its checksum.
    pub(super) fn closed(&self) -> Result<Vec<(String, u32)>, Trouble> {
        let sql = "SELECT scope, checksum FROM closed";
        self.all(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    pub(super) fn close(&self, scope: &str, checksum: u32) -> Result<(), Trouble> {
        let sql = "INSERT OR IGNORE INTO closed (scope, checksum) VALUES (?, ?)";
        self.run(sql, params![scope, checksum]).map(drop)
    }

    pub(super) fn reopen(&self, scope: &str) -> Result<(), Trouble> {
        let sql = "DELETE FROM closed WHERE scope = ?";
        self.run(sql, params![scope]).map(drop)
    }

    pub(super) fn fact(&self, key: &str) -> Result<Option<String>, Trouble> {
        let sql = "SELECT value FROM meta WHERE key = ?";
        self.first(sql, params![key], |row| row.get(0))
    }

    pub(super) fn set_fact(&self, key: &str, value: &str) -> Result<(), Trouble> {
        let sql = "INSERT INTO meta (key, value) VALUES (?, ?)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.run(sql, params![key, value]).map(drop)
    }
}

const TASKS: &str = "SELECT t.id, t.spec, t.scope, t.state, t.parent, t.created, t.body,
    t.checksum, s.id, s.task, s.body, s.checksum FROM task t LEFT JOIN spec s ON s.id = t.spec";

const EVENTS: &str = "SELECT seq, at, task, spec, type, body, checksum FROM event";

/// Reads the columns from a number on, in the order of the fields.
macro_rules! columns {
    ($row:ident from $first:expr => $of:ident { $($field:ident)* }) => {{
        let mut columns = $first..;
        let mut next = || columns.next().expect("numbers do not end");
        $of { $($field: $row.get(next())?,)* }
    }};
}

fn task_row(row: &Row<'_>) -> rusqlite::Result<(TaskRow, SpecRow)> {
    let task = columns!(row from 0_usize => TaskRow {
        id spec scope state parent created body checksum
    });
    Ok((task, spec_row(row, 8)?))
}

fn event_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(columns!(row from 0_usize => EventRow {
        seq at task spec kind body checksum
    }))
}

fn spec_row(row: &Row<'_>, first: usize) -> rusqlite::Result<SpecRow> {
    Ok(columns!(row from first => SpecRow { id task body checksum }))
}
