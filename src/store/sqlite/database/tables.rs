//! The tables of a file: which ones it has, and how it gets those of the newest version.
//!
//! # Invariants
//! 1. A file that is not as it should be in the newest version keeps its own.
//!
//! *Not here*: their texts (`schema`), whose file it is (`database`).

use std::collections::BTreeSet;

use super::{Connection, Database, Rows, Trouble};
use crate::store::sqlite::schema;

impl Database {
    /// Brings the tables from a version to the newest one, all of it or nothing, and nothing if
    /// they are not as they should be then.
    pub(in crate::store::sqlite) fn migrate<E: From<Trouble>>(
        &mut self,
        from: usize,
        check: impl FnOnce(&Rows<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.atomically(|rows| {
            for step in schema::STEPS.iter().skip(from) {
                rows.0.execute_batch(step).map_err(Trouble)?;
            }
            let newest = i64::try_from(schema::STEPS.len()).expect("there are few versions");
            let set = |name, value| rows.0.pragma_update(None, name, value).map_err(Trouble);
            set("user_version", newest)?;
            set("application_id", i64::from(schema::APPLICATION_ID))?;
            check(rows)
        })
    }

    /// What a file of the newest version has as its schema.
    pub(in crate::store::sqlite) fn schema_of_newest() -> Result<BTreeSet<String>, Trouble> {
        let mut fresh = Self(Connection::open_in_memory()?);
        fresh.migrate(0, |_| Ok::<_, Trouble>(()))?;
        fresh.read(tables)
    }
}

/// The texts of all tables, indices and views.
pub(in crate::store::sqlite) fn tables(rows: &Rows<'_>) -> Result<BTreeSet<String>, Trouble> {
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL";
    rows.all(sql, [], |row| row.get(0)).map(BTreeSet::from_iter)
}
