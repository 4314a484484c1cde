//! What only tests ask of a file.
//!
//! *Not here*: anything that a manager does.

#[cfg(test)]
use super::Value;
use super::{Database, Trouble};
#[cfg(test)]
use super::{Rows, params};

impl Database {
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::store::sqlite) fn set_pages_max(&self, pages: u32) -> Result<(), Trouble> {
        let sql = format!("PRAGMA max_page_count = {pages}");
        Ok(self.0.query_row(&sql, [], |_| Ok(()))?)
    }

    /// What a pragma is set to.
    #[cfg(test)]
    pub(in crate::store::sqlite) fn pragma(&self, name: &str) -> String {
        let value = self
            .0
            .query_row(&format!("SELECT * FROM pragma_{name}"), [], |row| {
                row.get::<_, Value>(0)
            });
        match value.expect("it is whole") {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            other @ (Value::Null | Value::Real(_) | Value::Blob(_)) => {
                panic!("{other:?} is no setting")
            }
        }
    }

    /// Changes rows behind the back of everybody.
    #[cfg(test)]
    pub(in crate::store::sqlite) fn change(&self, sql: &str) {
        self.0.execute(sql, []).expect("it can be changed");
    }

    /// How many rows were changed so far.
    #[cfg(test)]
    pub(in crate::store::sqlite) fn changes(&self) -> u64 {
        self.0.total_changes()
    }

    /// What a person would see who asks this.
    #[cfg(test)]
    pub(in crate::store::sqlite) fn ask(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let mut statement = self.0.prepare(sql).expect("it can be asked");
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let text = |column| {
                let value: Value = row.get(column)?;
                Ok(match value {
                    Value::Null => None,
                    Value::Integer(number) => Some(number.to_string()),
                    Value::Text(text) => Some(text),
                    other @ (Value::Real(_) | Value::Blob(_)) => {
                        panic!("{other:?} is not for people")
                    }
                })
            };
            (0..columns).map(text).collect()
        });
        let rows = rows.expect("it can be asked").collect::<Result<_, _>>();
        rows.expect("it is whole")
    }

    #[cfg(test)]
    pub(in crate::store::sqlite) fn set_identity(&self, application: i32, version: i64) {
        let set = |name, value| self.0.pragma_update(None, name, value);
        set("application_id", i64::from(application)).expect("it is ours");
        set("user_version", version).expect("it is ours");
    }
}

#[cfg(test)]
impl Rows<'_> {
    pub(in crate::store::sqlite) fn change_spec(
        &self,
        id: i64,
        body: &str,
        checksum: u32,
    ) -> Result<(), Trouble> {
        let sql = "UPDATE spec SET body = ?, checksum = ? WHERE id = ?";
        self.run(sql, params![body, checksum, id]).map(drop)
    }
}
