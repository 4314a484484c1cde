//! Following a run to its end and showing it.
//!
//! # Invariants
//! 1. The run is over when every task of the plan has settled.
//!
//! *Not here*: how it looks (`draw`), events in words (`news`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval};
use understory::{Event, FeedItem, Manager, State, Subscription, TaskId, What};

use super::crew::Crew;
use super::news;
use super::stop::StopRequests;
use super::throttle::Throttle;
use crate::draw::{DRAW_PERIOD, Screen};

pub(super) struct Show {
    /// Tasks that have not settled.
    pending: HashSet<TaskId>,
    manager: Manager,
    crew: Arc<Crew>,
    throttle: Throttle,
    screen: Screen,
    started: Instant,
}

impl Show {
    pub(super) fn new(
        manager: &Manager,
        crew: &Arc<Crew>,
        throttle: Throttle,
        screen: Screen,
    ) -> Self {
        Self {
            pending: crew.ids().collect(),
            manager: manager.clone(),
            crew: Arc::clone(crew),
            throttle,
            screen,
            started: Instant::now(),
        }
    }

    /// Shows what happens until every task has settled.
    pub(super) async fn follow(&mut self, mut feed: Subscription, stops: &mut StopRequests) {
        let mut ticks = interval(DRAW_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.pending.is_empty() {
            // What is rare goes first: there may always be another event.
            tokio::select! {
                biased;
                Some(word) = stops.words.recv() => self.screen.say(word),
                _ = ticks.tick() => self.screen.tick(),
                item = feed.next() => match item {
                    Some(item) => self.take(item),
                    // The manager has failed for good; what is known is what was told.
                    None => break,
                },
            }
        }
    }

    /// Tells the person at the keyboard something about the run as a whole.
    pub(super) fn say(&mut self, text: &str) {
        self.screen.say(text);
    }

    /// Shows the end of the run, and tells the last states of all tasks.
    pub(super) fn finish(&mut self) -> Vec<Option<State>> {
        let state = |id| self.manager.get(id).map(|record| record.state);
        let states: Vec<_> = self.crew.ids().map(state).collect();
        self.screen
            .finish(&news::summary(&states, self.started.elapsed()));
        states
    }

    fn take(&mut self, item: FeedItem) {
        match item {
            FeedItem::Event(event) => self.take_event(&event),
            FeedItem::Snapshot { .. } => {}
            FeedItem::Lagged { missed, .. } => self.take_gap(missed),
        }
    }

    fn take_event(&mut self, event: &Event) {
        if matches!(event.what, What::Output(_) | What::Emitted { .. }) {
            self.throttle.release();
        }
        if self.screen.is_json() {
            self.screen.show_json(&event.to_json().to_string());
        } else if let Some(sight) = news::sight(event, &self.crew, &self.manager) {
            self.screen.show(sight);
        }
        if matches!(event.what, What::Settled { .. }) {
            self.pending.remove(&event.task);
        }
    }

    /// Events are missing, perhaps the end of a task: the records tell.
    fn take_gap(&mut self, missed: u64) {
        self.throttle.release_all();
        self.screen.say(&format!("{missed} events were missed"));
        let line = serde_json::json!({ "event": "lagged", "missed": missed });
        self.screen.show_json(&line.to_string());
        let manager = &self.manager;
        self.pending.retain(|id| {
            manager
                .get(*id)
                .is_none_or(|record| !record.state.is_terminal())
        });
    }
}
