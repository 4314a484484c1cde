//! Plain specs, records and events for the suites of the rooms.
//!
//! *Not here*: worlds in which tasks really run, which are the kernel's proofs.

use std::sync::Arc;

use crate::kernel::{
    Body, Cause, Epoch, Event, Facts, Fault, FaultKind, Limit, Outcome, Payload, Rarely, Record,
    Requester, Scope, Seq, Spec, State, Stop, TaskId, Timestamp, What,
};

/// The id with this number; ids of higher numbers are newer.
pub(crate) const fn id(number: u128) -> TaskId {
    TaskId::from_u128(number)
}

/// An unnamed root of the scope of that name.
pub(crate) fn spec(scope: &str) -> Spec {
    Spec::new(Scope::new(scope).expect("the samples are valid scopes"))
}

/// A task in that state, with all that goes with the state.
pub(crate) fn record(id: TaskId, spec: &Arc<Spec>, state: State, seq: u64) -> Arc<Record> {
    let (at, is_over) = (Timestamp::from_micros(seq), state.is_terminal());
    let runs = matches!(
        state,
        State::Running | State::Waiting | State::CancelRequested
    );
    let started_at = (state != State::Pending).then_some(at);
    let mut facts = Rarely::<Facts>::not();
    if state == State::Suspended {
        facts.suspended_at = Some(at);
    }
    Arc::new(Record {
        id,
        spec: Arc::clone(spec),
        parent: spec.parent,
        spawned_by: spec.parent,
        root: spec.parent.unwrap_or(id),
        depth: u32::from(spec.parent.is_some()),
        state,
        wait: None,
        incarnation: 1,
        epoch: Epoch(u32::from(started_at.is_some())),
        attempt: u32::from(started_at.is_some()),
        restarts: 0,
        body: if runs { Body::Live } else { Body::Absent },
        inline: false,
        stop: (state == State::CancelRequested).then(|| stop(at)),
        conclusion: None,
        outcome: outcome(state).map(Arc::new),
        progress: None,
        undelivered: 0,
        created_at: at,
        started_at,
        waits_since: None,
        ended_at: is_over.then_some(at),
        events: 1,
        seq: Seq(seq),
        facts,
    })
}

/// The event of that number about the record.
pub(crate) fn event(seq: u64, record: &Record) -> Arc<Event> {
    let what = match &record.outcome {
        Some(outcome) => What::Settled {
            outcome: Arc::clone(outcome),
            undelivered: record.undelivered,
            abandoned: record.is_abandoned(),
        },
        None => What::Progress(Payload::from_json(seq.to_string())),
    };
    Arc::new(Event {
        seq: Seq(seq),
        at: Timestamp::from_micros(seq),
        task: record.id,
        incarnation: record.incarnation,
        task_seq: record.events,
        root: record.root,
        spec: Arc::clone(&record.spec),
        attempt: record.attempt,
        state: record.state,
        what,
    })
}

fn stop(at: Timestamp) -> Arc<Stop> {
    Arc::new(Stop {
        cause: Cause::Asked,
        reason: "a sample".into(),
        by: Requester::Host,
        at,
        grace_until: at,
    })
}

fn outcome(state: State) -> Option<Outcome> {
    let late_result = None;
    match state {
        State::Pending
        | State::Running
        | State::Waiting
        | State::Suspended
        | State::CancelRequested => None,
        State::Completed => Some(Outcome::Completed(Payload::from_json("7"))),
        State::Failed => Some(Outcome::Failed(Fault {
            kind: FaultKind::Error,
            message: "a sample".into(),
        })),
        State::TimedOut => Some(Outcome::TimedOut {
            limit: Limit::Attempt,
            late_result,
        }),
        State::Cancelled => Some(Outcome::Cancelled { late_result }),
        State::Interrupted => Some(Outcome::Interrupted("a sample".into())),
    }
}
