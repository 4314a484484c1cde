//! Records, specs and events as rows, and back.
//!
//! A row has plain columns for what a person or an index asks, and one column of JSON for the rest.
//! Its checksum covers every column, so that a byte that changed on the disk is told from data.
//!
//! # Invariants
//! 1. What was written is read back equal, for every value that the kernel can make.
//! 2. A field is listed here or the build fails: the patterns below have no `..`.
//! 3. A field with a default is left out while it has that, and may be missing when read: so a file
//!    that was written before the field existed can be read for ever.
//!
//! *Not here*: the columns' names (`schema`), reading and writing them (`database`).

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kernel::{
    AbandonRequest, Body, Budgets, ClassName, Conclusion, Counter, Disposition, Epoch, Event,
    Facts, Flight, Grants, Key, Kind, Labels, LateSuccess, Messages, Name, OnParentEnd,
    OnScopeClose, Options, Origin, Outcome, Overflow, Payload, Questions, Reach, Record,
    RestartPolicy, Retry, Scope, Seq, Spec, State, Stop, StopPolicy, TaskId, Timestamp, Trace,
    Visibility, Wait, What,
};
use crate::store::Lease;

/// A row that cannot be what was written.
#[derive(Debug, thiserror::Error)]
#[error(
    "{table} {key} {}: {why}",
    if *is_newer { "is of a newer version" } else { "is damaged" }
)]
pub(super) struct Damage {
    table: &'static str,
    key: String,
    why: String,
    is_newer: bool,
}

impl Damage {
    pub(super) fn new(table: &'static str, key: &dyn ToString, why: &dyn ToString) -> Self {
        let (key, why) = (key.to_string(), why.to_string());
        Self {
            table,
            key,
            why,
            is_newer: false,
        }
    }

    /// Of a row that is as it was written: what is not known in it is of a newer program.
    fn of_json(table: &'static str, key: &dyn ToString, error: &serde_json::Error) -> Self {
        let mut damage = Self::new(table, key, error);
        // serde tells these from other mistakes by their texts only.
        let unknown = ["unknown field", "unknown variant"];
        damage.is_newer = unknown.iter().any(|text| damage.why.starts_with(text));
        damage
    }

    /// Whether nothing is wrong with it, but that a newer program wrote it.
    pub(super) fn is_newer(&self) -> bool {
        self.is_newer
    }
}

/// A row of the table `spec`.
#[derive(Debug)]
pub(super) struct SpecRow {
    pub(super) id: i64,
    pub(super) task: String,
    pub(super) body: String,
    pub(super) checksum: u32,
}

/// A row of the table `task`.
#[derive(Debug)]
pub(super) struct TaskRow {
    pub(super) id: String,
    pub(super) spec: i64,
    pub(super) scope: String,
    pub(super) state: String,
    pub(super) parent: Option<String>,
    pub(super) created: i64,
    pub(super) body: String,
    pub(super) checksum: u32,
}

/// A row of the table `event`.
#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) seq: i64,
    pub(super) at: i64,
    pub(super) task: String,
    pub(super) spec: i64,
    pub(super) kind: String,
    pub(super) body: String,
    pub(super) checksum: u32,
}

/// The row of the table `lease`.
#[derive(Debug)]
pub(super) struct LeaseRow {
    pub(super) owner: Option<String>,
    pub(super) epoch: i64,
    pub(super) renewal: i64,
    pub(super) ttl: i64,
    pub(super) checksum: u32,
}

macro_rules! written {
    (
        $(#[$doc:meta])*
        $borrowed:ident, $owned:ident of $of:ident beside { $($beside:ident)* }
        itself { $($own:ident)* }
        $(rarely $rare:ident: $rarely:ident { $($few:ident)* })?
        always { $($field:ident: $type:ty,)* }
        unless_default { $($opt:ident: $opt_type:ty,)* }
    ) => {
        $(#[$doc])*
        #[derive(Serialize)]
        pub(super) struct $borrowed<'a> {
            $($field: &'a $type,)*
            $(#[serde(skip_serializing_if = "is_default")] $opt: &'a $opt_type,)*
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $owned {
            $($field: $type,)*
            $(#[serde(default)] $opt: $opt_type,)*
        }

        impl<'a> From<&'a $of> for $borrowed<'a> {
            fn from(it: &'a $of) -> Self {
                let $of { $($own: _,)* $($beside: _,)* $($rare: _,)? } = it;
                $(let $rarely { $($few: _,)* } = &*it.$rare;)?
                Self { $($field: &it.$field,)* $($opt: &it.$opt,)* }
            }
        }

        impl $owned {
            fn beside(self, $($beside: beside!($of $beside),)*) -> $of {
                let Self { $($field,)* $($opt,)* } = self;
                $(let $rare = $rarely { $($few,)* }.into();)?
                $of { $($own,)* $($beside,)* $($rare,)? }
            }
        }
    };
}

/// The types of the fields that are columns.
macro_rules! beside {
    (Record spec) => { Arc<Spec> };
    (Event seq) => { Seq };
    (Event at) => { Timestamp };
    (Event task) => { TaskId };
    (Event spec) => { Arc<Spec> };
}

written! {
    SpecFields, OwnedSpec of Spec beside {}
    itself {
        scope origin name kind parent labels input
    }
    rarely options: Options {
        retry restart description visibility after limits budgets priority timeout idle_timeout
        heartbeat_timeout lifetime queue_timeout suspend_timeout grace on_parent_end
        on_scope_close stop_policy late_success key key_window flight flight_reach
        inbox_capacity inbox_overflow progress_interval disposition before_settle trace
    }
    always {
        scope: Scope,
        origin: Origin,
        retry: Retry,
    }
    unless_default {
        restart: Option<RestartPolicy>,
        name: Option<Name>,
        kind: Option<Kind>,
        parent: Option<TaskId>,
        description: Option<Arc<str>>,
        labels: Labels,
        visibility: Visibility,
        after: Vec<TaskId>,
        limits: Vec<ClassName>,
        budgets: BTreeMap<Counter, u64>,
        priority: i16,
        timeout: Option<Duration>,
        idle_timeout: Option<Duration>,
        heartbeat_timeout: Option<Duration>,
        lifetime: Option<Duration>,
        queue_timeout: Option<Duration>,
        suspend_timeout: Option<Duration>,
        grace: Option<Duration>,
        on_parent_end: Option<OnParentEnd>,
        on_scope_close: Option<OnScopeClose>,
        stop_policy: StopPolicy,
        late_success: LateSuccess,
        key: Option<Key>,
        key_window: Option<Duration>,
        flight: Option<Flight>,
        flight_reach: Reach,
        inbox_capacity: Option<u32>,
        inbox_overflow: Overflow,
        progress_interval: Option<Duration>,
        input: Option<Payload>,
        disposition: Disposition,
        before_settle: bool,
        trace: Option<Trace>,
    }
}

written! {
    RecordFields, OwnedRecord of Record beside { spec }
    itself {
        id root state body incarnation created_at seq parent spawned_by depth wait epoch
        attempt inline stop conclusion outcome progress undelivered restarts started_at
        waits_since ended_at events
    }
    rarely facts: Facts {
        budgets resume questions messages restarted_at external_ref abandon suspension grants
        suspended_at
    }
    always {
        id: TaskId,
        root: TaskId,
        state: State,
        body: Body,
        incarnation: u32,
        created_at: Timestamp,
        seq: Seq,
    }
    unless_default {
        parent: Option<TaskId>,
        spawned_by: Option<TaskId>,
        depth: u32,
        wait: Option<Wait>,
        epoch: Epoch,
        attempt: u32,
        budgets: Budgets,
        inline: bool,
        stop: Option<Arc<Stop>>,
        conclusion: Option<Conclusion>,
        outcome: Option<Arc<Outcome>>,
        resume: Option<Payload>,
        questions: Option<Arc<Questions>>,
        messages: Option<Arc<Messages>>,
        progress: Option<Payload>,
        undelivered: u32,
        restarts: u32,
        restarted_at: Vec<Timestamp>,
        external_ref: Option<Arc<str>>,
        abandon: Option<Arc<AbandonRequest>>,
        suspension: Option<Payload>,
        grants: Option<Arc<Grants>>,
        started_at: Option<Timestamp>,
        suspended_at: Option<Timestamp>,
        waits_since: Option<Timestamp>,
        ended_at: Option<Timestamp>,
        events: u64,
    }
}

written! {
    EventFields, OwnedEvent of Event beside { seq at task spec }
    itself {
        state root incarnation task_seq what attempt
    }
    always {
        state: State,
        root: TaskId,
        incarnation: u32,
        task_seq: u64,
        what: What,
    }
    unless_default {
        attempt: u32,
    }
}

/// What serde asks of a field, which is a reference here.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_default<T: Default + PartialEq>(value: &&T) -> bool {
    **value == T::default()
}

/// The body of a spec's row, which also tells whether two specs are the same.
pub(super) fn spec_body(spec: &Spec) -> String {
    json(&SpecFields::from(spec))
}

impl SpecRow {
    /// Whether it is as it was written.
    pub(super) fn check(&self) -> Result<(), Damage> {
        if self.checksum == spec_checksum(&self.task, &self.body) {
            Ok(())
        } else {
            Err(Damage::new("spec", &self.id, &CHECKSUM))
        }
    }

    /// Reads the spec of a row that was checked.
    pub(super) fn parse(&self) -> Result<Arc<Spec>, Damage> {
        let owned: OwnedSpec =
            parse(&self.body).map_err(|why| Damage::of_json("spec", &self.id, &why))?;
        Ok(Arc::new(owned.beside()))
    }
}

/// The checksum of a spec's row; its number, which the file gives, is checked by those that name
/// it.
pub(super) fn spec_checksum(task: &str, body: &str) -> u32 {
    Checksum::default().text(task).text(body).end()
}

/// The checksum of the row of a closed scope.
pub(super) fn scope_checksum(scope: &str) -> u32 {
    Checksum::default().text(scope).end()
}

impl TaskRow {
    /// The row of a record whose spec has that number.
    pub(super) fn write(record: &Record, spec: i64) -> Self {
        let mut row = Self {
            id: record.id.to_string(),
            spec,
            scope: record.spec.scope.to_string(),
            state: record.state.to_string(),
            parent: record.parent.map(|parent| parent.to_string()),
            created: micros(record.created_at),
            body: json(&RecordFields::from(record)),
            checksum: 0,
        };
        row.checksum = row.sum();
        row
    }

    /// Checks a row and reads the record of it.
    pub(super) fn read(&self, spec: Arc<Spec>) -> Result<Record, Damage> {
        let damage = |why: &dyn ToString| Damage::new("task", &self.id, why);
        if self.checksum != self.sum() {
            return Err(damage(&CHECKSUM));
        }
        let owned: OwnedRecord =
            parse(&self.body).map_err(|why| Damage::of_json("task", &self.id, &why))?;
        Ok(owned.beside(spec))
    }

    /// A row that was changed, with the checksum of what it is now.
    #[cfg(test)]
    pub(super) fn sealed(mut self) -> Self {
        self.checksum = self.sum();
        self
    }

    fn sum(&self) -> u32 {
        let sum = Checksum::default().text(&self.id).number(self.spec);
        let sum = sum.text(&self.scope).text(&self.state);
        let sum = sum.text(self.parent.as_deref().unwrap_or_default());
        sum.number(self.created).text(&self.body).end()
    }
}

impl EventRow {
    /// The row of an event whose spec has that number.
    pub(super) fn write(event: &Event, spec: i64) -> Self {
        let mut row = Self {
            seq: event.seq.0.cast_signed(),
            at: micros(event.at),
            task: event.task.to_string(),
            spec,
            kind: event.what.name().to_owned(),
            body: json(&EventFields::from(event)),
            checksum: 0,
        };
        row.checksum = row.sum();
        row
    }

    /// Checks a row and reads the event of it.
    pub(super) fn read(&self, spec: Arc<Spec>) -> Result<Event, Damage> {
        let damage = |why: &dyn ToString| Damage::new("event", &self.seq, why);
        if self.checksum != self.sum() {
            return Err(damage(&CHECKSUM));
        }
        let owned: OwnedEvent =
            parse(&self.body).map_err(|why| Damage::of_json("event", &self.seq, &why))?;
        let seq = Seq(self.seq.cast_unsigned());
        let at = Timestamp::from_micros(self.at.cast_unsigned());
        let task = TaskId::from_str(&self.task).map_err(|why| damage(&why))?;
        Ok(owned.beside(seq, at, task, spec))
    }

    /// A row that was changed, with the checksum of what it is now.
    #[cfg(test)]
    pub(super) fn sealed(mut self) -> Self {
        self.checksum = self.sum();
        self
    }

    fn sum(&self) -> u32 {
        let sum = Checksum::default().number(self.seq).number(self.at);
        let sum = sum.text(&self.task).number(self.spec);
        sum.text(&self.kind).text(&self.body).end()
    }
}

impl LeaseRow {
    pub(super) fn write(lease: &Lease) -> Self {
        let ttl = i64::try_from(lease.ttl.as_micros()).unwrap_or(i64::MAX);
        let mut row = Self {
            owner: lease.owner.map(|owner| owner.to_string()),
            epoch: lease.epoch.cast_signed(),
            renewal: lease.renewal.cast_signed(),
            ttl,
            checksum: 0,
        };
        row.checksum = row.sum();
        row
    }

    /// Checks the row and reads the lease of it.
    pub(super) fn read(&self) -> Result<Lease, Damage> {
        let damage = |why: &dyn ToString| Damage::new("lease", &1, why);
        if self.checksum != self.sum() {
            return Err(damage(&CHECKSUM));
        }
        let owner = self.owner.as_deref().map(str::parse).transpose();
        Ok(Lease {
            owner: owner.map_err(|why| damage(&why))?,
            epoch: self.epoch.cast_unsigned(),
            renewal: self.renewal.cast_unsigned(),
            ttl: Duration::from_micros(self.ttl.cast_unsigned()),
        })
    }

    fn sum(&self) -> u32 {
        let sum = Checksum::default().text(self.owner.as_deref().unwrap_or_default());
        let sum = sum.number(self.epoch).number(self.renewal);
        sum.number(self.ttl).end()
    }
}

pub(super) const CHECKSUM: &str = "its checksum does not match";

/// As SQLite has no unsigned numbers, the bits are kept.
const fn micros(at: Timestamp) -> i64 {
    at.as_micros().cast_signed()
}

pub(super) fn json(value: &impl Serialize) -> String {
    // Maps have text keys, and nothing here fails to write itself.
    serde_json::to_string(value).expect("the kernel's types can be written as JSON")
}

pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

/// CRC-32 over fields, each with its length, so that bytes cannot move from one to the next.
#[derive(Default)]
struct Checksum(crc32fast::Hasher);

impl Checksum {
    fn number(mut self, number: i64) -> Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        // As long on every machine.
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    fn end(self) -> u32 {
        self.0.finalize()
    }
}
