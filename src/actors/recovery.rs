//! From what the store has to a manager that goes on from it: everything is shown, and the kernel
//! decides what became of it.
//!
//! # Invariants
//! 1. What is durable is shown before the manager begins.
//! 2. Events that were durable and not yet published are published before any that recovery makes.
//! 3. What was durable and not carried out is shown as it would have been (`uncarried`), before
//!    anything that recovery decides.
//!
//! *Not here*: what recovery decides (`kernel`), when it is needed (`guard`).

use std::sync::{Arc, PoisonError};

use super::blocking::{Blocking, Undone};
use super::clock::Clock;
use super::guard::GOODBYE_MAX;
use super::hub::Hub;
use crate::kernel::{Bounds, Conclusion, Seq, Step, Supervisor};
use crate::store::Loaded;

/// Most records on which the kernel decides without a thread of its own: some milliseconds.
const DECIDED_AT_ONCE: usize = 1_000;
/// Events read at once when unpublished ones are fetched from the store: few, as each may have a
/// mebibyte, and enough to make a read cheap per event.
const EVENTS_PER_READ: usize = 256;

/// Shows what was loaded, and lets the kernel decide what it means for this process.
///
/// The error is a panic of the kernel, on a thread of its own.
pub(super) async fn recover(hub: &Arc<Hub>, loaded: Loaded) -> Result<(Supervisor, Step), Undone> {
    hub.next_incarnation();
    let closed = hub.closed_at_start(&loaded.closed);
    let is_news = closed != loaded.closed;
    // Its next commit tells how the store is now.
    hub.set_sickness(None);
    let bounds = Bounds {
        closed_scopes: closed.clone(),
        ..hub.bounds_now()
    };
    let (decided, ()) = tokio::join!(decide(hub, bounds, &loaded), show(hub, &loaded));
    let (supervisor, mut step) = decided?;
    step.closed = is_news.then_some(closed);
    Ok((supervisor, step))
}

/// Many records are decided on while they are shown.
async fn decide(hub: &Hub, bounds: Bounds, loaded: &Loaded) -> Result<(Supervisor, Step), Undone> {
    let (now, seq, records) = (hub.clock.now(), loaded.seq, loaded.records.clone());
    let is_long = records.len() > DECIDED_AT_ONCE;
    let decide = move || Supervisor::recover(bounds, Clock::dice(), now, seq, records);
    if is_long {
        Blocking::default().run(decide).await
    } else {
        Ok(decide())
    }
}

async fn show(hub: &Arc<Hub>, loaded: &Loaded) {
    let caught_up = hub.show_uncarried(loaded.seq);
    #[cfg(feature = "metrics")]
    for record in &loaded.records {
        let old = hub.index.get(record.id);
        crate::meter::moved(old.as_deref(), record);
    }
    // What was removed by those who left no draft behind is still shown.
    let removed = hub.index.missing_from(&loaded.records);
    // Whoever finds a task in the index finds what the process holds of it.
    hub.revive(&loaded.records);
    hub.index.apply(&loaded.records, &removed, loaded.seq);
    hub.shelf.forget(&removed);
    settle_lives(hub);
    hub.tell_host(loaded.seq);
    for rest in caught_up {
        rest.wake(hub);
    }
    if hub.incarnation() == 1 {
        hub.wake_at_start(&loaded.records);
    }
    republish(hub, loaded.seq).await;
}

/// What the process holds of tasks that have ended, or that run again.
fn settle_lives(hub: &Arc<Hub>) {
    hub.lives.retain(|id, live| {
        let record = hub.index.get(*id);
        if let Some(record) = &record {
            live.move_to(record.scope());
        }
        match &record {
            Some(record) if record.state.is_terminal() => {
                live.done.set(record);
                let left = live.close_inbox();
                if left > 0 {
                    hub.gate.undelivered(Arc::clone(record), left);
                }
            }
            // Its end is written, and comes when its children have ended.
            Some(record) if matches!(record.conclusion, Some(Conclusion::Settle(_))) => {}
            // Its body may have said its last word, which nobody has heard.
            Some(_) => live.inbox.open_again(),
            // It settled and went, and who could say how has gone, too.
            None => {
                live.done.lose();
                live.close_inbox();
            }
        }
        if live.done.is_set() {
            hub.acknowledge_wake(*id);
        }
        let is_held = record.is_some_and(|record| record.is_held());
        if !is_held {
            hub.shelf.settle(*id);
            hub.call_back_unstarted(live);
            live.discard_work();
        }
        is_held
    });
}

/// Publishes the events that are durable and not in the feed yet, by page, so that no more of them
/// is held than the feed keeps. None of before waits in the outbox, and of those that follow none
/// is there yet.
async fn republish(hub: &Hub, newest: Seq) {
    let oldest = newest
        .0
        .saturating_sub(u64::try_from(hub.queues.feed_events).unwrap_or(u64::MAX));
    // What subscribers could not see any more is not read.
    let mut newest = hub.feed.newest().max(Seq(oldest));
    loop {
        let read = hub.storage.events(newest, EVENTS_PER_READ);
        let read = tokio::select! {
            biased;
            read = read => read,
            () = hub.leaving_for(GOODBYE_MAX) => return,
        };
        match read {
            Ok(events) => {
                let Some(last) = events.last() else { return };
                newest = last.seq;
                let _press = hub.press.lock().unwrap_or_else(PoisonError::into_inner);
                hub.feed.publish(&events);
            }
            Err(error) => {
                tracing::error!(%error, "events before the restart cannot be read");
                return;
            }
        }
    }
}
