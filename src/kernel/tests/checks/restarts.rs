//! P14: the restarts of long-lived tasks, counted for each life of an id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Checks;
use super::replies::ensure;
use crate::kernel::{Record, RestartPolicy, TaskId, Timestamp};

type Verdict = Result<(), String>;

impl Checks {
    /// P14: each restart is counted, and there are no more of them than the policy allows.
    pub(super) fn restarting(&mut self, id: TaskId, restarts: u32) -> Verdict {
        let now = self.now;
        let seen = &self.view.tasks[&id];
        let policy = seen.spec().restarts();
        let (most, period) = policy.map_or((0, Duration::ZERO), RestartPolicy::most);
        let times = self.restarts.entry(life_of(&seen.record)).or_default();
        times.push(now);
        ensure(times.len() == restarts as usize, || {
            format!("P14: restart {restarts} of {id} follows {times:?}")
        })?;
        let recent = times.iter().filter(|at| at.after(period) > now).count();
        ensure(recent <= most as usize || self.clock_went_back, || {
            format!("P14: {id} is restarted {recent} times within {period:?}, {most} are allowed")
        })
    }

    /// Of the restarts of a process that died only those count that were written.
    pub(super) fn recall_restarts(&mut self, durable: &[Arc<Record>]) {
        let written = |record: &Arc<Record>| (life_of(record), record.restarts);
        let written: BTreeMap<_, _> = durable.iter().map(written).collect();
        self.restarts.retain(|life, times| {
            let count = written.get(life).copied().unwrap_or_default();
            times.truncate(count as usize);
            !times.is_empty()
        });
    }
}

/// What tells the lives of an id apart, also when earlier ones are no longer kept.
fn life_of(record: &Record) -> (TaskId, u32, Timestamp) {
    (record.id, record.incarnation, record.created_at)
}
