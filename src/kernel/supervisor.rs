//! `Supervisor::step`: the only writer of everything in the kernel.
//!
//! A step handles one input and then works off what follows from it (starts, stops, conclusions)
//! from explicit lists, so neither depth nor width of a tree costs stack.
//!
//! *Not here*: each verb's law is in a file of its own below `supervisor/`.

mod abandon;
mod after;
mod alarm;
#[cfg(test)]
#[allow(dead_code, reason = "used by the proofs, which the library declares")]
mod audit;
mod bug;
mod cancel;
mod charge;
mod close;
mod control;
mod external;
mod grants;
mod hook;
mod hosts;
mod mail;
mod protocol;
mod recover;
mod report;
mod restart;
mod retention;
mod run;
mod runs;
mod settle;
mod spawn;
mod stop;
mod talk;
mod target;
mod task;
mod transfer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::admission::Admission;
use super::bounds::Bounds;
use super::event::{Event, What};
use super::forest::Forest;
use super::id::{Epoch, Scope, Seq, TaskId};
use super::names::Names;
use super::record::{Body, Cause, Record, Stop, Wait};
use super::slab::Slab;
use super::state::{State, Trigger};
use super::table::Table;
use super::time::Timestamp;
pub use abandon::AbandonRefusal;
use alarm::Alarm;
pub(crate) use bug::Bug;
use cancel::Watch;
pub use close::{CloseRefusal, CloseReport};
pub use control::{Control, Controlled};
pub use external::{ExternalRefusal, ExternalWord};
use grants::Granted;
pub use grants::{GrantChange, GrantRefusal};
pub use hook::HookCall;
pub use protocol::{
    Accepted, AskRefusal, CancelReport, Effect, End, Input, InterruptRefusal, Note, Refusal, Reply,
    RespondRefusal, ResumeRefusal, Step, StopAsk, Target, Ticket,
};
pub use retention::Removed;
use runs::Runs;
use task::Task;
pub use transfer::{TransferRefusal, TransferReport};

/// Everything that is live, and the law that moves it.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Supervisor {
    bounds: Bounds,
    tasks: Slab<Task>,
    forest: Forest,
    names: Names,
    admission: Admission,
    alarms: BTreeSet<(Timestamp, TaskId, Alarm)>,
    /// The records of settled tasks that are kept, and in which order these settled. Of one whose
    /// body has not stopped, its task has the newest.
    settled: Table<Arc<Record>>,
    /// With the incarnation; an entry of an earlier one means nothing any more.
    settled_order: VecDeque<(TaskId, u32)>,
    runs: Runs,
    granted: Granted,
    /// Scopes that take no new roots.
    closed: BTreeSet<Scope>,
    /// When which settled records go.
    expiring: BTreeSet<(Timestamp, TaskId)>,
    /// When those count as ended that ended later than their records were read.
    ended_ahead: BTreeMap<TaskId, Timestamp>,
    /// Ids removed before their turn, whose places in the order are left.
    vacated: BTreeSet<TaskId>,
    watches: BTreeMap<u64, Watch>,
    watches_made: u64,
    /// The last request to stop that a task got.
    newest_stop: Option<Arc<Stop>>,
    seq: Seq,
    dice: u64,
    closing: bool,
    now: Timestamp,
    out: Step,
    dirty: Vec<TaskId>,
    /// Pending tasks that hold their slots and start before the step ends.
    starts: VecDeque<TaskId>,
    /// Pending tasks that may have become ready.
    ready: VecDeque<TaskId>,
    /// Tasks whose conclusion may be due, as a child of theirs settled.
    due: VecDeque<TaskId>,
    /// Tasks to cancel for a cause that arose in this step.
    stops: VecDeque<(TaskId, Cause)>,
    #[cfg(test)]
    pub(crate) bug: Option<Bug>,
}

impl Supervisor {
    /// An empty supervisor. `dice` seeds the jitter of retries.
    pub fn new(bounds: Bounds, dice: u64) -> Self {
        Self {
            admission: Admission::new(&bounds),
            runs: Runs::new(bounds.cancelled_runs_max),
            granted: Granted::default(),
            closed: bounds.closed_scopes.clone(),
            bounds,
            tasks: Slab::default(),
            forest: Forest::default(),
            names: Names::default(),
            alarms: BTreeSet::new(),
            settled: Table::default(),
            settled_order: VecDeque::new(),
            expiring: BTreeSet::new(),
            ended_ahead: BTreeMap::new(),
            vacated: BTreeSet::new(),
            watches: BTreeMap::new(),
            watches_made: 0,
            newest_stop: None,
            seq: Seq(0),
            dice,
            closing: false,
            now: Timestamp::default(),
            out: Step::default(),
            dirty: Vec::new(),
            starts: VecDeque::new(),
            ready: VecDeque::new(),
            due: VecDeque::new(),
            stops: VecDeque::new(),
            #[cfg(test)]
            bug: None,
        }
    }

    /// Handles one input and returns what changed and what follows.
    #[must_use]
    pub fn step(&mut self, now: Timestamp, input: Input) -> Step {
        self.feed(now, input);
        self.take()
    }

    /// Handles one input; its consequences add up until [`Self::take`].
    ///
    /// Time never goes backwards: an earlier `now` counts as the latest one seen.
    pub fn feed(&mut self, now: Timestamp, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Spawn {
                ticket,
                id,
                spec,
                by,
                reuse,
            } => self.spawn(ticket, id, spec, by, reuse),
            Input::Cancel {
                ticket,
                target,
                ask,
            } => self.cancel(ticket, &target, &ask),
            Input::Report {
                id,
                epoch,
                end,
                undelivered,
            } => {
                self.report(id, epoch, end, undelivered);
            }
            Input::Parked {
                id,
                epoch,
                turn,
                on,
            } => self.parked(id, epoch, turn, on),
            Input::Said { id, epoch, note } => self.said(id, epoch, note),
            Input::Active { id, epoch, at } => self.active(id, epoch, at),
            Input::Stuck { id, epoch, reason } => self.stuck(id, epoch, reason),
            Input::Undelivered { record, count } => self.undelivered(&record, count),
            Input::Resume {
                ticket,
                id,
                data,
                may_wait,
            } => self.resume(ticket, id, data, may_wait),
            Input::Control { ticket, ask } => self.control(ticket, ask),
            Input::Ask {
                ticket,
                id,
                epoch,
                key,
                question,
            } => self.ask(ticket, (id, epoch), key, question),
            Input::Respond {
                ticket,
                id,
                key,
                value,
                by,
            } => self.respond(ticket, (id, key), value, by),
            Input::Message {
                ticket,
                id,
                message,
            } => self.message(ticket, id, message),
            Input::Acknowledge {
                ticket,
                id,
                epoch,
                message,
            } => self.acknowledge(ticket, (id, epoch), message),
            Input::Interrupt {
                ticket,
                id,
                reason,
                by,
            } => self.interrupt(ticket, id, reason, by),
            Input::Shutdown { ticket, ask } => self.shutdown(ticket, &ask),
            Input::External {
                ticket,
                id,
                incarnation,
                word,
            } => self.external(ticket, id, incarnation, word),
            Input::CallbackOver { id, epoch, failure } => self.callback_over(id, epoch, failure),
            Input::HooksBegun { id, turn } => self.hooks_begun(id, turn),
            Input::HooksOver { id, turn, failures } => self.hooks_over(id, turn, failures),
            Input::HookFailed { record, why } => self.tell_late(&record, What::HookFailed(why)),
            Input::Hosts(hosts) => self.host(hosts),
            Input::Tick => {
                self.tick();
                let _counts = self.sweep();
            }
        }
        self.work_off();
    }

    /// Takes what the inputs since the last call led to: one batch.
    #[must_use]
    pub fn take(&mut self) -> Step {
        self.take_for(Step::default())
    }

    /// The same; the next batch is put into `room`, which is an empty one that had its use.
    #[must_use]
    pub fn take_for(&mut self, room: Step) -> Step {
        debug_assert!(
            room.is_read_only() && room.effects.is_empty(),
            "it is empty"
        );
        let mut step = std::mem::replace(&mut self.out, room);
        for id in self.dirty.drain(..) {
            if let Some(task) = self.tasks.get_mut(id) {
                task.dirty = false;
                step.records.push(Arc::clone(&task.record));
            }
        }
        step
    }

    /// Whether what was not taken yet drops the record of this task. A further life of that id
    /// needs a batch of its own: within one a removal counts more.
    pub fn drops(&self, id: TaskId) -> bool {
        self.out.removed.contains(&id)
    }

    /// When the next [`Input::Tick`] is due.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let alarm = self.alarms.first().map(|(at, _, _)| *at);
        let expiry = self.expiring.first().map(|(at, _)| *at);
        [alarm, expiry].into_iter().flatten().min()
    }

    /// The number of the newest event.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// How many tasks are not settled and stopped.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }

    /// The record of a task that is not settled and stopped.
    pub fn record(&self, id: TaskId) -> Option<&Arc<Record>> {
        self.tasks.get(id).map(|task| &task.record)
    }

    /// Works off what follows, until nothing does.
    fn work_off(&mut self) {
        loop {
            self.work_off_ends();
            if let Some(id) = self.ready.pop_front() {
                self.admit(id);
            } else if let Some(id) = self.starts.pop_front() {
                self.start(id);
            } else {
                return;
            }
        }
    }

    /// Works off stops and conclusions: after it nothing is left to end, and nothing has started.
    fn work_off_ends(&mut self) {
        loop {
            if let Some((id, cause)) = self.stops.pop_front() {
                self.stop_for(id, cause);
            } else if let Some(id) = self.due.pop_front() {
                self.conclude(id);
            } else {
                return;
            }
        }
    }

    /// The live task of this id.
    fn task(&mut self, id: TaskId) -> &mut Task {
        &mut self.tasks[id]
    }

    /// The record of a live task, to be changed; it will be part of this step's batch.
    fn edit(&mut self, id: TaskId) -> &mut Record {
        let task = &mut self.tasks[id];
        if !task.dirty {
            task.dirty = true;
            self.dirty.push(id);
        }
        Arc::make_mut(&mut task.record)
    }

    fn state(&self, id: TaskId) -> Option<State> {
        self.tasks.get(id).map(|task| task.record.state)
    }

    /// The state of a task that is live, or settled and kept.
    fn known_state(&self, id: TaskId) -> Option<State> {
        let settled = || self.settled.get(id).map(|settled| settled.state);
        self.state(id).or_else(settled)
    }

    /// Whether this is the live body of a task that has not settled (K3).
    fn is_current(&self, id: TaskId, epoch: Epoch) -> bool {
        let Some(task) = self.tasks.get(id) else {
            return false;
        };
        task.record.epoch == epoch
            && task.record.body == Body::Live
            && !task.record.state.is_terminal()
    }

    /// Moves a task to its next state (K2).
    fn shift(&mut self, id: TaskId, trigger: Trigger) {
        let record = self.edit(id);
        let state = record.state;
        let next = state.next(trigger);
        record.state = next.unwrap_or_else(|| panic!("K2: {trigger:?} cannot happen in {state}"));
        if record.state == State::Suspended {
            let now = self.now;
            self.edit(id).suspended_at = Some(now);
        }
    }

    fn set_wait(&mut self, id: TaskId, wait: Option<Wait>) {
        self.edit(id).wait = wait;
    }

    /// Numbers an event and adds it to the batch (K7).
    fn emit(&mut self, id: TaskId, what: What) {
        self.seq = self.seq.next();
        if self.planted(Bug::SeqGap) && self.seq.0.is_multiple_of(64) {
            self.seq = self.seq.next();
        }
        let (seq, at) = (self.seq, self.now);
        let record = self.edit(id);
        record.seq = seq;
        record.events += 1;
        let (task_seq, root) = (record.events, record.root);
        let (spec, attempt, state) = (Arc::clone(&record.spec), record.attempt, record.state);
        let incarnation = record.incarnation;
        self.out.events.push(Arc::new(Event {
            seq,
            at,
            task: id,
            incarnation,
            task_seq,
            root,
            spec,
            attempt,
            state,
            what,
        }));
    }

    fn answer(&mut self, ticket: Ticket, reply: Reply) {
        self.out.effects.push(Effect::Answer { ticket, reply });
    }
}
