//! Figures for the `metrics` facade: nothing is recorded until the program installs a recorder.
//!
//! # Invariants
//! 1. No label has as many values as there are tasks: only kinds, outcomes and reasons.
//! 2. Figures are of what is durable.
//!
//! *Not here*: where they go, which is the recorder's business.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::kernel::{Accepted, Event, Record, Refusal, Spec, State, Timestamp, What};

fn kind(spec: &Spec) -> String {
    let kind = spec.kind.as_ref();
    kind.map_or_else(|| "none".to_owned(), |kind| kind.as_str().to_owned())
}

/// A spawn was answered.
pub(crate) fn answered(result: &Result<Accepted, Refusal>, spec: &Spec) {
    let name = match result {
        Ok(Accepted::Existing(_)) => "tasks_duplicate_total",
        Ok(_) => "tasks_accepted_total",
        Err(_) => "tasks_refused_total",
    };
    counter!(name, "kind" => kind(spec)).increment(1);
}

/// A record takes the place of an older one.
pub(crate) fn moved(old: Option<&Record>, new: &Record) {
    let gauge_of = |state: State| {
        let queued = (state == State::Pending).then_some("tasks_queued");
        queued.or((state == State::Running).then_some("tasks_running"))
    };
    let before = old.and_then(|old| gauge_of(old.state));
    let now = gauge_of(new.state);
    if before == now {
        return;
    }
    if let Some(name) = before {
        gauge!(name, "kind" => kind(&new.spec)).decrement(1.0);
    }
    if let Some(name) = now {
        gauge!(name, "kind" => kind(&new.spec)).increment(1.0);
    }
}

/// Something happened to a task whose record is this.
pub(crate) fn happened(event: &Event, record: &Record) {
    let kind = kind(&event.spec);
    if matches!(event.what, What::Started) {
        counter!("tasks_started_total", "kind" => kind.clone()).increment(1);
        if event.attempt == 1 {
            seconds("task_queue_seconds", kind, event.at, record.created_at);
        }
    } else if matches!(event.what, What::Settled { .. }) {
        let outcome = event.state.as_str();
        counter!("tasks_finished_total", "kind" => kind.clone(), "outcome" => outcome).increment(1);
        if let Some(started) = record.started_at {
            seconds("task_run_seconds", kind.clone(), event.at, started);
        }
        if let Some(stop) = &record.stop {
            seconds("cancel_latency_seconds", kind, event.at, stop.at);
        }
    }
}

fn seconds(name: &'static str, kind: String, now: Timestamp, then: Timestamp) {
    histogram!(name, "kind" => kind).record(now.since(then).as_secs_f64());
}

/// A subscriber missed so many events.
pub(crate) fn lagged(missed: u64) {
    counter!("events_lagged_total").increment(missed);
}

/// A message was placed, and so many wait there now.
pub(crate) fn placed(waiting: u32) {
    histogram!("inbox_depth").record(f64::from(waiting));
}

/// A message became a dead letter.
pub(crate) fn buried(why: &'static str) {
    counter!("dead_letters_total", "reason" => why).increment(1);
}

/// The lease of the store is somebody else's, or may be by now.
pub(crate) fn lease_lost() {
    counter!("leases_lost_total").increment(1);
}

/// A batch became durable in this time.
pub(crate) fn stored(took: Duration) {
    histogram!("store_write_seconds").record(took.as_secs_f64());
}

/// The store failed to take a batch.
pub(crate) fn store_failed() {
    counter!("store_failures_total").increment(1);
}
