//! The row of the lease, and what else tells that somebody else writes the file.
//!
//! *Not here*: what may become of the lease (`store/lease.rs`), when (`pen`).

use super::{Database, Rows, Trouble, params};
use crate::store::sqlite::codec::LeaseRow;

impl Database {
    /// A number that changes when another connection has written.
    pub(in crate::store::sqlite) fn data_version(&self) -> Result<i64, Trouble> {
        let sql = "PRAGMA data_version";
        Ok(self.0.query_row(sql, [], |row| row.get(0))?)
    }
}

impl Rows<'_> {
    pub(in crate::store::sqlite) fn lease(&self) -> Result<Option<LeaseRow>, Trouble> {
        let sql = "SELECT owner, epoch, renewal, ttl, checksum FROM lease WHERE id = 1";
        self.first(sql, [], |row| {
            Ok(LeaseRow {
                owner: row.get(0)?,
                epoch: row.get(1)?,
                renewal: row.get(2)?,
                ttl: row.get(3)?,
                checksum: row.get(4)?,
            })
        })
    }

    pub(in crate::store::sqlite) fn set_lease(&self, row: &LeaseRow) -> Result<(), Trouble> {
        let sql = "UPDATE lease SET owner = ?, epoch = ?, renewal = ?, ttl = ?, checksum = ?
            WHERE id = 1";
        let values = params![row.owner, row.epoch, row.renewal, row.ttl, row.checksum];
        self.run(sql, values).map(drop)
    }
}
