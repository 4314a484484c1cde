//! Following a run to its end and showing it.
//!
//! # Invariants
//! 1. The run is over when every task of the plan has settled, and every other one that joined:
//!    before it says so, it takes no more of them and looks whether one has just been accepted.
//! 2. Of the tasks that joined later, at most [`OVER_MAX`] are shown and known after their end.
//!
//! *Not here*: how it looks (`draw`), events in words (`news`).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::{Interval, MissedTickBehavior, interval};
use understory::{Event, FeedItem, Manager, Record, State, TaskId, What};

use super::crew::Crew;
use super::doors::Doors;
use super::history::Story;
use super::news;
use super::past::Past;
use super::stop::StopRequests;
use super::throttle::Throttle;
use crate::draw::{DRAW_PERIOD, Screen, Sight};

/// Tasks that joined later and are over, and are still shown.
const OVER_MAX: usize = 1_000;

/// What is to be shown, as it comes.
pub(super) struct News {
    feed: Story,
    pub(super) stops: StopRequests,
    ticks: Interval,
}

impl News {
    pub(super) fn new(feed: Story, stops: StopRequests) -> Self {
        let mut ticks = interval(DRAW_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { feed, stops, ticks }
    }
}

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
        self.show_end(record.id, record.state, "before");
        self.note_end(record.id, record.state);
    }

    /// Shows an end that no event tells.
    fn show_end(&mut self, id: TaskId, state: State, note: &str) {
        if let Some(member) = self.crew.by_id(id) {
            self.screen.show(Sight::State {
                task: member.place,
                state,
                note: note.to_owned(),
            });
        }
    }

    /// Shows what happens until this work is done; `None` if the manager has failed for good.
    pub(super) async fn meanwhile<T>(
        &mut self,
        news: &mut News,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                goes_on = self.take_next(news) => if !goes_on {
                    return None;
                }
            }
        }
    }

    /// Shows what happens until every task has settled.
    pub(super) async fn follow(&mut self, news: &mut News, doors: &Doors) {
        loop {
            tokio::select! {
                biased;
                mut are_open = doors.hold(), if self.pending.is_empty() => {
                    self.welcome_all();
                    if self.pending.is_empty() {
                        *are_open = false;
                        return;
                    }
                }
                goes_on = self.take_next(news) => if !goes_on {
                    return;
                }
            }
        }
    }

    /// Shows the next of what happens; `false` when there will be nothing more.
    async fn take_next(&mut self, news: &mut News) -> bool {
        // What is rare goes first: there may always be another event.
        tokio::select! {
            biased;
            Some(word) = news.stops.words.recv() => self.screen.say(word),
            _ = news.ticks.tick() => {
                self.look_at_records();
                self.screen.tick();
            }
            item = news.feed.next() => {
                // The manager has failed for good; what is known is what was told.
                let Some(item) = item else {
                    self.say_why_it_ends();
                    return false;
                };
                self.take(item);
            }
        }
        true
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

    /// Whether something could not be shown, though nobody went away.
    pub(super) fn has_lost(&mut self) -> bool {
        self.screen.has_lost()
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

    /// A task that was not in the plan has joined, which may be known already.
    fn welcome(&mut self, id: TaskId) {
        let member = self.crew.by_id(id);
        if let Some(member) = member.filter(|member| !self.crew.is_planned(member))
            && !self.over.contains(&id)
            && self.pending.insert(id)
        {
            self.screen.add(member.place, &member.shown());
        }
    }

    /// Welcomes all that have joined, also those whose events are still to come or were missed.
    fn welcome_all(&mut self) {
        for id in self.crew.joined() {
            // One that was not accepted yet will be welcomed by its event.
            if self.manager.get(id).is_some() {
                self.welcome(id);
            }
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
        self.welcome_all();
        let known: Vec<TaskId> = self.pending.iter().copied().collect();
        for id in known {
            let state = self.manager.get(id).map(|record| record.state);
            // One that is not even kept has ended long ago, nobody knows how.
            let state = state.unwrap_or(State::Interrupted);
            if state.is_terminal() {
                self.show_end(id, state, "");
                self.note_end(id, state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::run::crew::Recruit;

    #[tokio::test]
    async fn what_came_and_went_in_a_gap_is_counted_once_and_known_as_over() {
        let plan = "[[task]]\nname = \"planned\"\ncommand = [\"true\"]\n";
        let plan = Plan::parse("PLAN.toml", plan).expect("it is right");
        let past = Past::default();
        let crew = Arc::new(Crew::new(&plan, &past, DRAW_PERIOD));
        let planned = crew.planned("planned").expect("it is in the plan");
        let joined = crew.take_in(Recruit {
            task: plan.tasks[0].clone(),
            unset: Vec::new(),
            parent: None,
            listener: None,
        });
        let manager = Manager::in_memory();
        let screen = Screen::for_people(&crew.places());
        let mut show = Show::new(&manager, (&crew, &past), Throttle::new(), screen);

        let run = async |id| {
            let task = manager.scope("run").unnamed().id(id);
            let task = task.spawn(|_| async { Ok(()) });
            task.await.expect("it completes");
        };
        run(planned.id).await;
        show.take_gap(1);
        assert!(show.over.is_empty(), "it is not accepted yet");
        run(joined.id).await;
        show.take_gap(1);
        show.take_gap(1);
        show.welcome(joined.id);
        assert!(show.pending.is_empty());
        assert_eq!(show.counts, BTreeMap::from([(State::Completed, 2)]));
        assert_eq!(show.over, [joined.id]);
    }
}
