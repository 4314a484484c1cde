//! Following a run to its end and showing it.
//!
//! # Invariants
//! 1. The run is over when every task of the plan has settled, and every other one that joined.
//! 2. Of the tasks that joined later, at most [`OVER_MAX`] are shown and known after their end.
//!
//! *Not here*: how it looks (`draw`), events in words (`news`).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval};
use understory::{
    Event, FeedItem, Filter, Manager, Page, Record, State, Subscription, TaskId, What,
};

use super::crew::Crew;
use super::news;
use super::past::Past;
use super::stop::StopRequests;
use super::throttle::Throttle;
use crate::draw::{DRAW_PERIOD, Screen, Sight};

/// Tasks that joined later and are over, and are still shown.
const OVER_MAX: usize = 1_000;

pub(super) struct Show {
    /// Tasks that have not settled.
    pending: HashSet<TaskId>,
    /// How those of the plan ended that have.
    ends: HashMap<TaskId, State>,
    /// How many ended so, those of the plan and the others.
    counts: BTreeMap<State, usize>,
    /// Those that were spawned later and are over, the first one first.
    over: VecDeque<TaskId>,
    manager: Manager,
    crew: Arc<Crew>,
    throttle: Throttle,
    screen: Screen,
    started: Instant,
    /// Whether it was told that the records cannot be written.
    is_stuck: bool,
}

impl Show {
    /// The run as it stands after what was before it.
    pub(super) fn new(
        manager: &Manager,
        (crew, past): (&Arc<Crew>, &Past),
        throttle: Throttle,
        screen: Screen,
    ) -> Self {
        let mut show = Self {
            pending: crew.ids().collect(),
            ends: HashMap::new(),
            counts: BTreeMap::new(),
            over: VecDeque::new(),
            manager: manager.clone(),
            crew: Arc::clone(crew),
            throttle,
            screen,
            started: Instant::now(),
            is_stuck: false,
        };
        for (record, _) in past.joined() {
            show.welcome(record.id);
        }
        for record in past.settled() {
            show.recall(record);
        }
        show
    }

    /// A task of the plan has settled before this run went on.
    fn recall(&mut self, record: &Record) {
        if let Some(member) = self.crew.by_id(record.id) {
            self.screen.show(Sight::State {
                task: member.place,
                state: record.state,
                note: "before".to_owned(),
            });
        }
        self.note_end(record.id, record.state);
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
                _ = ticks.tick() => {
                    self.look_at_records();
                    self.screen.tick();
                }
                item = feed.next() => {
                    // The manager has failed for good; what is known is what was told.
                    let Some(item) = item else {
                        self.say_why_it_ends();
                        break;
                    };
                    self.take(item);
                }
            }
        }
    }

    /// Tells when the records cannot be written, as nothing goes on meanwhile.
    fn look_at_records(&mut self) {
        let trouble = self.manager.store_trouble();
        if trouble.is_some() == self.is_stuck {
            return;
        }
        self.is_stuck = trouble.is_some();
        self.screen.warn(&trouble.map_or_else(
            || "the records are written again".to_owned(),
            |why| format!("the records cannot be written, and without them nothing goes on: {why}"),
        ));
    }

    fn say_why_it_ends(&mut self) {
        let why = self.manager.store_trouble();
        let why = why.unwrap_or_else(|| "it failed".to_owned());
        self.screen.warn(&format!(
            "the manager has ended, and the run with it: {why}"
        ));
    }

    /// Tells the person at the keyboard what goes wrong.
    pub(super) fn warn(&mut self, text: &str) {
        self.screen.warn(text);
    }

    /// Shows the end of the run, and tells whether all tasks of the plan completed.
    pub(super) fn finish(&mut self, file: Option<&Path>) -> bool {
        let took = self.started.elapsed();
        let mut summary = news::summary(&self.counts, took);
        if let Some(file) = file {
            summary = format!("{summary}; records in {}", file.display());
        }
        self.screen.finish(&summary);
        let is_completed = |id| self.ends.get(&id) == Some(&State::Completed);
        self.crew.ids().all(is_completed)
    }

    fn take(&mut self, item: FeedItem) {
        match item {
            FeedItem::Event(event) => self.take_event(&event),
            FeedItem::Snapshot { .. } | FeedItem::Stopped => {}
            FeedItem::Lagged { missed, .. } => self.take_gap(missed),
        }
    }

    fn take_event(&mut self, event: &Event) {
        let is_piece = matches!(event.what, What::Output(_) | What::OutputKept { .. });
        if is_piece || matches!(event.what, What::Emitted { .. }) {
            self.throttle.release();
        }
        if matches!(event.what, What::Accepted(_)) {
            self.welcome(event.task);
        }
        if self.screen.is_json() {
            self.screen.show_json(&event.to_json());
        } else if let Some(sight) = news::sight(event, &self.crew, &self.manager) {
            self.screen.show(sight);
        }
        if matches!(event.what, What::Settled { .. }) {
            self.note_end(event.task, event.state);
        }
    }

    /// A task that was not in the plan has joined.
    fn welcome(&mut self, id: TaskId) {
        let member = self.crew.by_id(id);
        if let Some(member) = member.filter(|member| !self.crew.is_planned(member)) {
            self.pending.insert(id);
            self.screen.add(member.place, &member.shown());
        }
    }

    fn note_end(&mut self, id: TaskId, state: State) {
        if !self.pending.remove(&id) {
            return;
        }
        *self.counts.entry(state).or_default() += 1;
        let member = self.crew.by_id(id);
        if member.is_some_and(|member| self.crew.is_planned(&member)) {
            self.ends.insert(id, state);
            return;
        }
        self.over.push_back(id);
        if self.over.len() > OVER_MAX
            && let Some(oldest) = self.over.pop_front()
        {
            if let Some(member) = self.crew.by_id(oldest) {
                self.screen.forget(member.place);
            }
            self.crew.forget(oldest);
        }
    }

    /// Events are missing, perhaps the end of a task: the records tell.
    fn take_gap(&mut self, missed: u64) {
        self.throttle.release_all();
        self.screen.say(&format!("{missed} events were missed"));
        let line = serde_json::json!({ "event": "lagged", "missed": missed });
        self.screen.show_json(&line);
        let mut page = Some(Page::default());
        let unsettled = Filter::all().live();
        while let Some(listing) = page.take().map(|page| self.manager.list(&unsettled, &page)) {
            listing
                .records
                .iter()
                .for_each(|record| self.welcome(record.id));
            page = listing.next.map(|next| Page::default().after(next));
        }
        let known: Vec<TaskId> = self.pending.iter().copied().collect();
        for id in known {
            let state = self.manager.get(id).map(|record| record.state);
            // One that is not even kept has ended long ago, nobody knows how.
            let state = state.unwrap_or(State::Interrupted);
            if state.is_terminal() {
                self.note_end(id, state);
            }
        }
    }
}
