//! A kernel on the bench: a clock, numbers for ids and tickets, and one verb for each input.
//!
//! After every step the kernel is audited from within and checked from without; its disk is durable
//! at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::checks::{Checks, Released};
use crate::kernel::{
    Bounds, Control, Disposition, Effect, End, Epoch, Event, Fault, FaultKind, Hosts, Input,
    KeptMessage, Key, MessageId, Name, Note, Origin, Payload, Record, Reply, Requester, Reuse,
    Scope, Seq, Spec, State, Step, StopAsk, Supervisor, Target, TaskId, Ticket, Timestamp, Wait,
};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn id(number: u32) -> TaskId {
    TaskId::from_u128(u128::from(number))
}

pub(super) fn scope(text: &str) -> Scope {
    Scope::new(text).expect("the test wrote a scope")
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("the test wrote a name")
}

pub(super) fn key(text: &str) -> Key {
    Key::new(text).expect("the test wrote a key")
}

pub(super) fn json(text: &str) -> Payload {
    Payload::from_json(text)
}

pub(super) fn fault(kind: FaultKind) -> End {
    let message = "it went wrong".into();
    End::Failed(Fault { kind, message })
}

pub(super) fn done() -> End {
    End::Done(json("1"))
}

pub(super) fn ask(grace: Option<Duration>) -> StopAsk {
    StopAsk {
        reason: "the test asks".into(),
        by: Requester::Host,
        grace,
        now: false,
    }
}

/// A kernel, the time, and everything that it made durable so far.
#[derive(Clone)]
pub(super) struct Bed {
    pub(super) kernel: Supervisor,
    pub(super) bounds: Bounds,
    pub(super) now: Timestamp,
    pub(super) tickets: u64,
    pub(super) checks: Checks,
    pub(super) records: BTreeMap<TaskId, Arc<Record>>,
    pub(super) events: Vec<Arc<Event>>,
    /// Whether hooks are not called although they should be.
    pub(super) holds_hooks: bool,
    /// Of the tasks that are spawned.
    pub(super) disposition: Disposition,
}

impl Bed {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            kernel: Supervisor::new(bounds.clone(), 1),
            checks: Checks::new(&bounds),
            bounds,
            now: Timestamp::from_micros(1_000_000),
            tickets: 0,
            records: BTreeMap::new(),
            events: Vec::new(),
            holds_hooks: false,
            disposition: Disposition::default(),
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        self.checks.before(self.now, &input);
        let kept = Some(input.clone());
        let step = self.kernel.step(self.now, input);
        let effects = self.keep(kept.as_ref(), step);
        self.begin_hooks(&effects);
        effects
    }

    /// Hooks are called as soon as they are to be, unless their calls are held.
    fn begin_hooks(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let (Effect::BeforeSettle(call), false) = (effect, self.holds_hooks) {
                let (id, turn) = (call.id, call.turn);
                self.step(Input::HooksBegun { id, turn });
            }
        }
    }

    fn keep(&mut self, input: Option<&Input>, step: Step) -> Vec<Effect> {
        self.try_keep(input, &step).expect("every promise is kept");
        self.events.extend(step.events);
        step.effects
    }

    fn try_keep(&mut self, input: Option<&Input>, step: &Step) -> Result<(), String> {
        self.checks.after(self.now, input, step)?;
        self.kernel.audit()?;
        self.kernel.audit_written(step)?;
        for record in &step.records {
            self.records.insert(record.id, Arc::clone(record));
        }
        for id in &step.removed {
            self.records.remove(id);
        }
        self.checks.durable(step)?;
        self.checks.published(step, &self.records)?;
        for effect in &step.effects {
            self.checks.released(&Released {
                effect,
                durable: &self.records,
                bodies: &[],
            })?;
        }
        Ok(())
    }

    /// Kills the process and goes on from what is durable.
    pub(super) fn crash(&mut self) -> Vec<Effect> {
        let records: Vec<_> = self.records.values().cloned().collect();
        let seq = self.events.last().map_or(Seq(0), |event| event.seq);
        let crashed = self.checks.crashed(self.now, &records, seq);
        crashed.expect("nothing that was promised is lost");
        self.checks.recovers_with(&self.bounds);
        let (kernel, step) = Supervisor::recover(self.bounds.clone(), 1, self.now, seq, records);
        self.kernel = kernel;
        let effects = self.keep(None, step);
        self.begin_hooks(&effects);
        effects
    }

    /// Spawns an executor's task of scope `s`; `edit` says what is special about it.
    pub(super) fn spawn(&mut self, number: u32, edit: impl FnOnce(&mut Spec)) -> Vec<Effect> {
        let mut spec = Spec::new(scope("s"));
        spec.origin = Origin::Executor;
        spec.disposition = self.disposition;
        edit(&mut spec);
        let (ticket, spec) = (self.ticket(), Arc::new(spec));
        let (id, by) = (id(number), None);
        self.step(Input::Spawn {
            ticket,
            id,
            spec,
            by,
            reuse: Reuse::Refused,
        })
    }

    /// A task as one would choose it now, to remove its record.
    pub(super) fn chosen(&self, number: u32) -> (TaskId, Seq) {
        (id(number), self.records[&id(number)].seq)
    }

    /// Spawns an executor's task in the place of a settled one.
    pub(super) fn reuse(&mut self, number: u32) -> Vec<Effect> {
        let mut spec = Spec::new(scope("s"));
        spec.origin = Origin::Executor;
        let (ticket, spec) = (self.ticket(), Arc::new(spec));
        self.step(Input::Spawn {
            ticket,
            id: id(number),
            spec,
            by: None,
            reuse: Reuse::Allowed,
        })
    }

    pub(super) fn host(&mut self, hosts: Hosts) -> Vec<Effect> {
        self.bounds.hosts = hosts.clone();
        self.step(Input::Hosts(hosts))
    }

    /// The body of the newest epoch ends.
    pub(super) fn end(&mut self, number: u32, end: End) -> Vec<Effect> {
        let (id, undelivered) = (id(number), 0);
        let epoch = self.epoch(number);
        self.step(Input::Report {
            id,
            epoch,
            end,
            undelivered,
        })
    }

    /// The hooks that a task waits for are over.
    pub(super) fn hooks_over(&mut self, number: u32, failures: &[&str]) -> Vec<Effect> {
        let (id, turn) = (id(number), self.hook_turn(number));
        let failures = failures.iter().map(|why| (*why).into()).collect();
        self.step(Input::HooksOver { id, turn, failures })
    }

    /// The call of the hooks that a task waits for.
    pub(super) fn hook_turn(&self, number: u32) -> Seq {
        self.checks.hook_turn(id(number)).unwrap_or_default()
    }

    /// The body of a task ends, if there is such a task.
    pub(super) fn end_if(&mut self, number: u32, end: End) {
        if self.records.contains_key(&id(number)) {
            self.end(number, end);
        }
    }

    pub(super) fn park(&mut self, number: u32, turn: u64, on: Option<Wait>) -> Vec<Effect> {
        let (id, epoch) = (id(number), self.epoch(number));
        self.step(Input::Parked {
            id,
            epoch,
            turn,
            on,
        })
    }

    pub(super) fn say(&mut self, number: u32, text: &str) -> Vec<Effect> {
        let (id, epoch) = (id(number), self.epoch(number));
        let note = Note::Progress(json(text));
        self.step(Input::Said { id, epoch, note })
    }

    pub(super) fn cancel(&mut self, target: Target, grace: Option<Duration>) -> Vec<Effect> {
        let (ticket, ask) = (self.ticket(), ask(grace));
        self.step(Input::Cancel {
            ticket,
            target,
            ask,
        })
    }

    pub(super) fn cancel_one(&mut self, number: u32) -> Vec<Effect> {
        self.cancel(Target::One(id(number)), None)
    }

    pub(super) fn cancel_tree(&mut self, number: u32) -> Vec<Effect> {
        self.cancel(Target::Tree(id(number)), None)
    }

    pub(super) fn resume(&mut self, number: u32, text: &str) -> Vec<Effect> {
        let (ticket, id, data) = (self.ticket(), id(number), json(text));
        self.step(Input::Resume {
            ticket,
            id,
            data,
            may_wait: true,
        })
    }

    /// Resumes it only if it can start at once.
    pub(super) fn try_resume(&mut self, number: u32, text: &str) -> Vec<Effect> {
        let (ticket, id, data) = (self.ticket(), id(number), json(text));
        self.step(Input::Resume {
            ticket,
            id,
            data,
            may_wait: false,
        })
    }

    /// The newest body of a task asks a question.
    pub(super) fn ask(&mut self, number: u32, text: &str) -> Vec<Effect> {
        let (ticket, id, epoch) = (self.ticket(), id(number), self.epoch(number));
        let (key, question) = (key(text), json("1"));
        self.step(Input::Ask {
            ticket,
            id,
            epoch,
            key,
            question,
        })
    }

    pub(super) fn respond(&mut self, number: u32, text: &str, value: &str) -> Vec<Effect> {
        let (ticket, id, by) = (self.ticket(), id(number), Requester::Host);
        let (key, value) = (key(text), json(value));
        self.step(Input::Respond {
            ticket,
            id,
            key,
            value,
            by,
        })
    }

    /// Gives up on a task.
    pub(super) fn abandon(&mut self, number: u32) -> Vec<Effect> {
        let (ticket, id, by) = (self.ticket(), id(number), Requester::Host);
        let ask = Control::Abandon {
            id,
            reason: "the test gives up".into(),
            by,
        };
        self.step(Input::Control { ticket, ask })
    }

    pub(super) fn interrupt(&mut self, number: u32) -> Vec<Effect> {
        let (ticket, id, by) = (self.ticket(), id(number), Requester::Host);
        let reason = "look".into();
        self.step(Input::Interrupt {
            ticket,
            id,
            reason,
            by,
        })
    }

    /// Somebody sends this durable message.
    pub(super) fn message(&mut self, number: u32, message: u32) -> Vec<Effect> {
        let (ticket, to) = (self.ticket(), id(number));
        let message = KeptMessage {
            id: MessageId::new(id(message)),
            from: None,
            body: json("\"word\""),
            at: self.now,
        };
        let id = to;
        self.step(Input::Message {
            ticket,
            id,
            message,
        })
    }

    /// Its newest body is done with this durable message.
    pub(super) fn acknowledge(&mut self, number: u32, message: u32) -> Vec<Effect> {
        let (ticket, to, epoch) = (self.ticket(), id(number), self.epoch(number));
        let (id, message) = (to, MessageId::new(id(message)));
        self.step(Input::Acknowledge {
            ticket,
            id,
            epoch,
            message,
        })
    }

    /// The host finds its newest body stuck.
    pub(super) fn stuck(&mut self, number: u32) -> Vec<Effect> {
        let (id, epoch) = (id(number), self.epoch(number));
        let reason = "it does not answer".into();
        self.step(Input::Stuck { id, epoch, reason })
    }

    pub(super) fn shutdown(&mut self) -> Vec<Effect> {
        let (ticket, ask) = (self.ticket(), ask(None));
        self.step(Input::Shutdown { ticket, ask })
    }

    /// Lets that much time pass and tells the kernel.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now.after(time);
        self.step(Input::Tick)
    }

    pub(super) fn record(&self, number: u32) -> &Record {
        &self.records[&id(number)]
    }

    pub(super) fn state(&self, number: u32) -> State {
        self.record(number).state
    }

    pub(super) fn epoch(&self, number: u32) -> Epoch {
        self.record(number).epoch
    }

    /// The names of the events of a task, in order.
    pub(super) fn told(&self, number: u32) -> Vec<&'static str> {
        let of_task = self.events.iter().filter(|event| event.task == id(number));
        of_task.map(|event| event.what.name()).collect()
    }
}

/// Which tasks the effects start, in order.
pub(super) fn starts(effects: &[Effect]) -> Vec<TaskId> {
    let start = |effect: &Effect| {
        let Effect::Start { id, .. } = effect else {
            return None;
        };
        Some(*id)
    };
    effects.iter().filter_map(start).collect()
}

/// The answers among the effects, in order.
pub(super) fn answers(effects: &[Effect]) -> Vec<(Ticket, Reply)> {
    let answer = |effect: &Effect| match effect {
        Effect::Answer { ticket, reply } => Some((*ticket, reply.clone())),
        Effect::Start { .. }
        | Effect::Signal { .. }
        | Effect::Abort { .. }
        | Effect::CheckIdle { .. }
        | Effect::Answered(_)
        | Effect::Interrupt { .. }
        | Effect::Deliver { .. }
        | Effect::BeforeSettle(_)
        | Effect::Close(_)
        | Effect::Forget(_) => None,
    };
    effects.iter().filter_map(answer).collect()
}
