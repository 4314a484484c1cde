//! The checkers: what must hold after every step, at every release, after every crash and at the
//! end.
//!
//! They know the kernel by its inputs and outputs only, and keep their own books. A complaint
//! begins with the promise that was broken.
//!
//! *Not here*: the kernel seen from within (`supervisor/audit.rs`).

mod bound;
mod elsewhere;
mod events;
mod identity;
mod in_time;
mod kept;
mod moves;
mod outside;
mod replies;
mod restarts;
mod slots;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::{
    Body, Bounds, Control, Effect, Hooked, Input, MessageId, Outcome, Payload, Record, Removed,
    Reply, Scope, Seq, State, Step, Supervisor, TaskId, Ticket, Timestamp, Wait,
};
use identity::Gates;
use outside::Outside;
pub(super) use outside::Released;
use replies::{Asked, ensure};
use slots::Slots;
use view::{Seen, View};

type Verdict = Result<(), String>;

/// Everything that the checkers know.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    view: View,
    slots: Slots,
    outside: Outside,
    seq: Seq,
    now: Timestamp,
    key_window: Duration,
    abort_window: Duration,
    grace: Duration,
    hooked: Hooked,
    bounds: Bounds,
    gates: Gates,
    closing: bool,
    open: BTreeMap<Ticket, Asked>,
    resumes: BTreeMap<Ticket, (TaskId, Payload)>,
    completed: BTreeSet<TaskId>,
    /// When which task was restarted by its policy.
    /// When each life of a task was restarted.
    restarts: BTreeMap<(TaskId, u32, Timestamp), Vec<Timestamp>>,
    /// Whether a clock went back: windows tell nothing any more, but for tasks that are held.
    clock_went_back: bool,
    /// Whether the input at hand is one that must change nothing.
    stale: bool,
    /// Tasks whose bodies were of a process that is gone, and what they had concluded.
    gone: BTreeMap<TaskId, Option<Arc<Outcome>>>,
    /// What the step at hand moved, and where to.
    moved: BTreeMap<TaskId, Scope>,
    /// When those count as ended that had ended later than a process found them.
    ended_ahead: BTreeMap<(TaskId, Timestamp), Timestamp>,
    /// How many records it removed.
    removed: Removed,
    /// How many events it told.
    told: usize,
}

impl Checks {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            view: View::default(),
            slots: Slots::new(bounds, &["s", "t", "u"]),
            outside: Outside::default(),
            seq: Seq(0),
            now: Timestamp::default(),
            key_window: bounds.key_window,
            abort_window: bounds.abort_window,
            grace: bounds.grace,
            hooked: bounds.hooked.clone(),
            bounds: bounds.clone(),
            gates: Gates::new(bounds),
            closing: false,
            open: BTreeMap::new(),
            resumes: BTreeMap::new(),
            completed: BTreeSet::new(),
            restarts: BTreeMap::new(),
            clock_went_back: false,
            stale: false,
            gone: BTreeMap::new(),
            moved: BTreeMap::new(),
            ended_ahead: BTreeMap::new(),
            removed: Removed::new(),
            told: 0,
        }
    }

    pub(super) fn scope_of(&self, id: TaskId) -> Option<Scope> {
        let seen = self.view.tasks.get(&id)?;
        Some(seen.record.spec.scope.clone())
    }

    pub(super) fn suspended(&self) -> Vec<TaskId> {
        let tasks = self.view.tasks.iter();
        let suspended = tasks.filter(|(_, seen)| seen.state == State::Suspended);
        suspended.map(|(id, _)| *id).collect()
    }

    /// The call of its hooks that a task waits for.
    pub(super) fn hook_turn(&self, id: TaskId) -> Option<Seq> {
        let hook = self.view.tasks.get(&id)?.hook.as_ref();
        hook.map(|(turn, _)| *turn)
    }

    /// Tasks that have asked something and not ended.
    pub(super) fn asking(&self) -> Vec<TaskId> {
        let tasks = self.view.tasks.iter();
        let asking =
            tasks.filter(|(_, seen)| !seen.is_settled() && seen.record.questions.is_some());
        asking.map(|(id, _)| *id).collect()
    }

    /// The durable messages that a task has not acknowledged.
    pub(super) fn unacknowledged(&self, id: TaskId) -> Vec<MessageId> {
        let seen = self.view.tasks.get(&id);
        let kept = seen.map_or(&[][..], |seen| seen.record.unacknowledged());
        kept.iter().map(|message| message.id).collect()
    }

    /// Before the kernel sees an input: what it must lead to.
    pub(super) fn before(&mut self, now: Timestamp, input: &Input) {
        self.now = now;
        self.stale = self.is_stale(input);
        self.note_request(now, input);
        if let Input::Resume {
            ticket, id, data, ..
        } = input
        {
            self.resumes.insert(*ticket, (*id, data.clone()));
        }
        if self.stale {
            return;
        }
        match input {
            Input::Report { id, .. } | Input::CallbackOver { id, .. } => self.body_is_over(*id),
            Input::Parked { id, turn, on, .. } => {
                let seen = self.view.tasks.get_mut(id).expect("it is not stale");
                seen.turn = *turn;
                self.lends(*id, on.is_some());
            }
            Input::External {
                ticket, id, word, ..
            } => {
                if matches!(self.open.get(ticket), Some(Asked::External(Ok(())))) {
                    self.heard(*id, word);
                }
            }
            Input::Hosts(hosts) => self.gates.hosts = hosts.clone(),
            Input::Spawn { .. }
            | Input::Cancel { .. }
            | Input::Said { .. }
            | Input::Active { .. }
            | Input::Stuck { .. }
            | Input::Undelivered { .. }
            | Input::Resume { .. }
            | Input::Control { .. }
            | Input::Ask { .. }
            | Input::Respond { .. }
            | Input::Message { .. }
            | Input::Acknowledge { .. }
            | Input::Interrupt { .. }
            | Input::Shutdown { .. }
            | Input::HooksBegun { .. }
            | Input::HooksOver { .. }
            | Input::HookFailed { .. }
            | Input::Tick => {}
        }
    }

    /// P13: whether the input comes from a run that no longer counts.
    fn is_stale(&self, input: &Input) -> bool {
        let run = |id: &TaskId, epoch| {
            let seen = self.view.tasks.get(id);
            seen.filter(|seen| seen.is_run(epoch))
        };
        match input {
            Input::Report { id, epoch, .. } => run(id, *epoch).is_none(),
            Input::CallbackOver { id, epoch, .. } => {
                run(id, *epoch).is_none_or(|seen| !Self::awaits_callback(seen))
            }
            Input::Parked {
                id, epoch, turn, ..
            } => run(id, *epoch).is_none_or(|seen| seen.turn >= *turn),
            Input::Said { id, epoch, .. }
            | Input::Active { id, epoch, .. }
            | Input::Stuck { id, epoch, .. } => run(id, *epoch).is_none_or(Seen::is_settled),
            // What it moves is a deadline.
            Input::HooksBegun { .. } => true,
            Input::HooksOver { id, turn, .. } => {
                let seen = self.view.tasks.get(id);
                let hook = seen.and_then(|seen| seen.hook.as_ref());
                hook.is_none_or(|(current, _)| current != turn)
            }
            Input::Spawn { .. }
            | Input::Cancel { .. }
            | Input::Undelivered { .. }
            | Input::Resume { .. }
            | Input::Control { .. }
            | Input::Ask { .. }
            | Input::Respond { .. }
            | Input::Message { .. }
            | Input::Acknowledge { .. }
            | Input::Interrupt { .. }
            | Input::Shutdown { .. }
            | Input::External { .. }
            | Input::HookFailed { .. }
            | Input::Hosts(_)
            | Input::Tick => false,
        }
    }

    /// After the step; `input` is nothing when the step is that of a recovery.
    pub(super) fn after(&mut self, now: Timestamp, input: Option<&Input>, step: &Step) -> Verdict {
        self.now = now;
        let is_quiet = step.is_read_only() && step.effects.is_empty();
        ensure(!self.stale || is_quiet, || {
            format!("P13: {input:?} is stale and led to {step:?}")
        })?;
        (self.moved, self.removed) = (BTreeMap::new(), Removed::new());
        self.told = step.events.len();
        let mut told = BTreeMap::new();
        for event in &step.events {
            self.follow_external(event.task, step);
            self.event(event, step, &mut told)?;
        }
        self.starts(step)?;
        if input.is_none() {
            bound::unstarted_go_on(step)?;
        }
        for event in &step.events {
            let record = events::newest(step, event.task);
            ensure(record.is_some_and(|record| record.seq >= event.seq), || {
                format!("P3: event {} comes without its record", event.seq)
            })?;
        }
        self.records(step)?;
        self.families_stay_together()?;
        self.removals(input, step)?;
        if let Some(Input::Control { ticket, .. }) = input {
            self.scope_closed(*ticket);
        }
        for effect in &step.effects {
            if let Effect::Answer { ticket, reply } = effect {
                self.reply(*ticket, reply)?;
            }
        }
        self.forget_removed(input, step)?;
        self.closed_as_told(step)?;
        match input {
            Some(
                Input::Cancel { ticket, .. }
                | Input::Shutdown { ticket, .. }
                | Input::Control {
                    ticket,
                    ask: Control::Close { .. },
                },
            ) => {
                self.note_deadline(*ticket);
                self.is_answered_at_once(input)
            }
            Some(Input::Tick) => self.stops_in_time(),
            Some(Input::Hosts(_)) => self.hosts_changed(),
            Some(
                Input::Spawn { .. }
                | Input::Report { .. }
                | Input::Parked { .. }
                | Input::Said { .. }
                | Input::Active { .. }
                | Input::Stuck { .. }
                | Input::Undelivered { .. }
                | Input::Control { .. }
                | Input::Resume { .. }
                | Input::HooksBegun { .. }
                | Input::HooksOver { .. }
                | Input::HookFailed { .. }
                | Input::Ask { .. }
                | Input::Respond { .. }
                | Input::Message { .. }
                | Input::Acknowledge { .. }
                | Input::Interrupt { .. }
                | Input::External { .. }
                | Input::CallbackOver { .. },
            )
            | None => Ok(()),
        }
    }

    /// P14, P24: each start is a new run, of a new attempt unless it was resumed.
    fn starts(&self, step: &Step) -> Verdict {
        let mut starts = 0;
        for effect in &step.effects {
            let Effect::Start {
                id,
                epoch,
                attempt,
                is_last,
                resume,
                messages,
            } = effect
            else {
                continue;
            };
            starts += 1;
            let record = &self.view.tasks[id].record;
            let follows = *epoch == record.epoch.next()
                && *attempt == record.attempt + u32::from(resume.is_none());
            ensure(follows, || {
                format!("P24: run {epoch:?}, attempt {attempt} of {id} follows {record:?}")
            })?;
            let kept = events::newest(step, *id).and_then(|record| record.messages.as_ref());
            ensure(messages.as_ref() == kept, || {
                format!("P1: {id} starts without the messages that it has not acknowledged")
            })?;
            let most = outside::attempts_max(record);
            let is_right = *attempt <= most && *is_last == (*attempt == most);
            ensure(is_right, || {
                format!("P14: {id} starts attempt {attempt} of {most}, last: {is_last}")
            })?;
        }
        let told = step.events.iter();
        let told = told.filter(|event| event.what == crate::kernel::What::Started);
        ensure(told.count() == starts, || {
            "P3: starts and their events differ".to_owned()
        })
    }

    /// P2, P3: records say what their events said, and change for nothing else.
    fn records(&mut self, step: &Step) -> Verdict {
        for record in &step.records {
            let is_newest =
                events::newest(step, record.id).is_some_and(|newest| Arc::ptr_eq(newest, record));
            let Some(seen) = self.view.tasks.get_mut(&record.id) else {
                continue;
            };
            if !is_newest {
                continue;
            }
            let (waits, hosts) = (&record.wait, &self.gates.hosts);
            let is_here = *waits == Some(Wait::Executor) && hosts.runs(&record.spec);
            ensure(!is_here, || {
                format!("liveness: {record:?} waits for an executor that is here")
            })?;
            let is_live = record.body == Body::Live;
            let fits = (record.state, record.seq, is_live) == (seen.state, seen.last, seen.is_live);
            ensure(fits, || {
                format!("P3: {record:?} is not what its events said: {seen:?}")
            })?;
            if record.seq == seen.record.seq {
                let moved = Record {
                    root: record.root,
                    depth: record.depth,
                    ..Record::clone(&seen.record)
                };
                ensure(moved == **record, || {
                    format!("P3: without an event, {:?} became {record:?}", seen.record)
                })?;
            }
            let was = seen.record.outcome.as_ref();
            ensure(was.is_none() || was == record.outcome.as_ref(), || {
                format!("P2: the end of {} changed to {record:?}", record.id)
            })?;
            seen.parent = record.parent;
            seen.record = Arc::clone(record);
            seen.note_last_word();
        }
        Ok(())
    }

    pub(super) fn compare_slots(&self, kernel: &[(String, u32, u32, u32)]) -> Verdict {
        self.slots.compare(kernel)
    }

    pub(super) fn durable(&mut self, step: &Step) -> Verdict {
        self.outside.durable(step)
    }

    pub(super) fn published(
        &mut self,
        step: &Step,
        durable: &BTreeMap<TaskId, Arc<Record>>,
    ) -> Verdict {
        self.outside.published(step, durable)
    }

    pub(super) fn released(&mut self, released: &Released<'_>) -> Verdict {
        if let Effect::Answer { ticket, reply } = released.effect
            && let Some((id, data)) = self.resumes.remove(ticket)
            && matches!(reply, Reply::Resumed(Ok(())))
            && let Some(record) = released.durable.get(&id)
        {
            self.outside.owes(id, data, record.epoch);
        }
        let window = Some(self.key_window).filter(|_| !self.clock_went_back);
        self.outside.released(released, window)
    }

    /// The process has died and left these records.
    pub(super) fn crashed(&mut self, now: Timestamp, durable: &[Arc<Record>], seq: Seq) -> Verdict {
        self.outside.crashed(durable)?;
        self.view = View::rebuild(durable, |record| self.slots.of(record));
        self.slots.clear();
        self.recall_external(durable);
        self.gates.recall(durable);
        self.open.clear();
        self.resumes.clear();
        self.recall_restarts(durable);
        self.owners_are_gone(durable);
        self.clock_went_back |= now < self.now;
        self.recall_ended(now, durable);
        (self.now, self.seq) = (now, seq);
        (self.closing, self.stale) = (false, false);
        let (view, outside) = (&self.view, &self.outside);
        self.completed
            .retain(|id| view.may_have_completed(*id) || outside.is_removed(*id));
        Ok(())
    }

    /// The bounds that the next life begins with.
    pub(super) fn recovers_with(&mut self, bounds: &Bounds) {
        self.gates.closed.clone_from(&bounds.closed_scopes);
        self.gates.hosts.clone_from(&bounds.hosts);
    }

    /// Liveness: nobody waits for an answer.
    pub(super) fn all_answered(&self) -> Verdict {
        ensure(self.open.is_empty(), || {
            format!("liveness: never answered: {:?}", self.open)
        })
    }

    /// Liveness: nothing is left to do, so everything is over and everybody was answered.
    pub(super) fn drained(
        &mut self,
        durable: &BTreeMap<TaskId, Arc<Record>>,
        kernel: &Supervisor,
    ) -> Verdict {
        let unsettled = self.view.tasks.values().find(|seen| seen.is_held());
        ensure(unsettled.is_none(), || {
            format!("liveness: this never ends: {unsettled:?}")
        })?;
        self.all_answered()?;
        let held = durable.values().find(|record| record.is_held());
        ensure(held.is_none(), || {
            format!("liveness: never written: {held:?}")
        })?;
        ensure(kernel.live() == 0 && self.view.names.is_empty(), || {
            format!("P7: still held: {:?}", self.view.names)
        })?;
        let used = kernel.slots().into_iter().find(|(_, used, ..)| *used > 0);
        ensure(used.is_none(), || format!("P16: still in use: {used:?}"))?;
        let left: Vec<_> = durable.values().cloned().collect();
        self.outside.crashed(&left)
    }
}
