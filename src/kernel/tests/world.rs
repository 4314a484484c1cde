//! A small world around the kernel, drawn from a seed: disk, bodies, wire, timers, callers,
//! crashes.
//!
//! The world does to the kernel what its shell may do and what machines do: batches become durable
//! late and in order, effects are carried out only after that, reports come late, twice and in any
//! order, timers are late, and a crash keeps any prefix of what was in flight. After every step the
//! checkers look at it.
//!
//! *Not here*: what must hold (`checks`).

mod asks;
mod bodies;
mod control;
mod dice;
mod disk;
mod elsewhere;
mod ends;
mod rarer;
mod rates;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::checks::{Checks, Released};
use super::drawn;
use crate::kernel::{Bounds, Bug, Effect, Input, Record, Seq, Spec, Step, Supervisor, Timestamp};
pub(super) use bodies::Body;
pub(super) use dice::Dice;
use disk::Disk;
use elsewhere::Holder;
use rarer::Rarer;
use rates::{Action, Rates};

/// A mistake of the shell, planted to see that the world notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShellBug {
    /// Effects leave before their batch is durable.
    AnswerBeforeDurable,
    /// Events are published before their batch is durable.
    EventBeforeRecord,
    /// A batch overtakes the one before it.
    BatchesReordered,
}

/// What a world may do beside running.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is asked for by itself, by name"
)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// A bug of the kernel.
    pub(super) bug: Option<Bug>,
    /// A bug of the shell.
    pub(super) shell_bug: Option<ShellBug>,
    /// Whether the kernel is audited from within.
    pub(super) audit: bool,
    /// Whether what happens is written down, for people.
    pub(super) trace: bool,
    /// Whether inputs and steps are kept, for replay.
    pub(super) record: bool,
    /// Whether it is counted what goes in and comes out.
    pub(super) count: bool,
}

/// One life of a process: what it started from, what went in and what came out.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) bounds: Bounds,
    pub(super) dice: u64,
    pub(super) start: Option<Start>,
    pub(super) steps: Vec<(Timestamp, Input, String)>,
}

/// What a later life recovered from, and the step of that, in words.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) now: Timestamp,
    pub(super) seq: Seq,
    pub(super) records: Vec<Arc<Record>>,
    pub(super) step: String,
}

pub(super) struct World {
    dice: Dice,
    rates: Rates,
    bounds: Bounds,
    options: Options,
    now: Timestamp,
    kernel: Supervisor,
    disk: Disk,
    bodies: Vec<Body>,
    /// Who tells of the tasks whose bodies are elsewhere.
    holders: Vec<Holder>,
    /// Reports and requests on their way to the kernel.
    wire: Vec<Input>,
    /// Copies of delivered ones, which may come again.
    copies: Vec<Input>,
    keyed: Vec<Arc<Spec>>,
    ids: u32,
    tickets: u64,
    checks: Checks,
    pub(super) steps: u64,
    pub(super) trace: Vec<String>,
    pub(super) lives: Vec<Life>,
    /// How often what went in and came out, by its name.
    pub(super) drawn: BTreeMap<String, u64>,
}

impl World {
    pub(super) fn new(seed: u64, options: Options) -> Self {
        let mut dice = Dice::new(seed);
        let mut bounds = rates::bounds(&mut dice);
        let rarer = Rarer::draw(seed);
        rarer.bound(seed, &mut bounds);
        let rates = Rates::draw(&mut dice, rarer);
        let mut kernel = Supervisor::new(bounds.clone(), seed);
        kernel.bug = options.bug;
        let life = Life {
            bounds: bounds.clone(),
            dice: seed,
            start: None,
            steps: Vec::new(),
        };
        Self {
            checks: Checks::new(&bounds),
            dice,
            rates,
            bounds,
            options,
            now: Timestamp::from_micros(1_000_000_000),
            kernel,
            disk: Disk::default(),
            bodies: Vec::new(),
            holders: Vec::new(),
            wire: Vec::new(),
            copies: Vec::new(),
            keyed: Vec::new(),
            ids: 0,
            tickets: 0,
            steps: 0,
            trace: Vec::new(),
            lives: vec![life],
            drawn: BTreeMap::new(),
        }
    }

    /// Lives through all its turns and is drained. The error says which promise was broken.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.note(|world| format!("{:?}\n{:?}", world.bounds, world.rates));
        for _ in 0..self.rates.turns {
            self.turn()?;
        }
        self.drain()
    }

    fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.options.trace {
            // Ids in the world are small numbers; their zeros tell nothing.
            let text = text(self).replace("00000000-0000-0000-0000-00000", "#");
            self.trace.push(text);
        }
    }

    fn turn(&mut self) -> Result<(), String> {
        match self.rates.action(&mut self.dice) {
            Action::Spawn => self.spawn(),
            Action::Body => self.body_turn(),
            Action::Deliver => self.deliver(),
            Action::Repeat => self.repeat(),
            Action::Commit => self.commit(),
            Action::Tick => self.tick(),
            Action::Pass => {
                let time = self.dice.time(Duration::from_millis(20));
                self.now = self.now.after(time);
                Ok(())
            }
            Action::Cancel => self.cancel(),
            Action::Resume if self.dice.percent(30) => self.talk(),
            Action::Resume => self.resume(),
            Action::Crash => self.crash(),
            Action::Scopes => self.change_scopes(),
            Action::Records => self.see_to_records(),
            Action::Holder => self.holder_speaks(),
            Action::Hosts => self.change_hosts(),
        }
    }

    /// One input: the kernel steps, the checkers look, the batch goes on its way.
    fn feed(&mut self, input: Input) -> Result<(), String> {
        self.steps += 1;
        self.checks.before(self.now, &input);
        let step = self.kernel.step(self.now, input.clone());
        self.note(|world| {
            format!(
                "{} {}{}",
                world.now,
                trace::input(&input),
                trace::step(&step)
            )
        });
        self.checks.after(self.now, Some(&input), &step)?;
        self.look_within()?;
        if self.options.count {
            drawn::count(&mut self.drawn, &input, &step);
        }
        if self.options.record {
            let life = self.lives.last_mut().expect("there is a life");
            life.steps.push((self.now, input, format!("{step:?}")));
        }
        self.kernel.audit_written(&step)?;
        self.send(step)
    }

    /// The kernel from within: always in the drain, now and then before.
    fn look_within(&mut self) -> Result<(), String> {
        if !self.options.audit || !self.steps.is_multiple_of(8) {
            return Ok(());
        }
        self.kernel.audit()?;
        self.checks.compare_slots(&self.kernel.slots())
    }

    fn send(&mut self, mut step: Step) -> Result<(), String> {
        match self.options.shell_bug {
            None => {}
            Some(ShellBug::AnswerBeforeDurable) => {
                let effects = std::mem::take(&mut step.effects);
                self.carry_out(effects)?;
            }
            Some(ShellBug::EventBeforeRecord) => {
                self.checks.published(&step, &self.disk.records)?;
            }
            Some(ShellBug::BatchesReordered) => self.disk.reorder(),
        }
        let joins = self.dice.percent(self.rates.groups);
        self.disk.write(step, joins);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), String> {
        let Some(step) = self.disk.commit() else {
            return Ok(());
        };
        self.checks.durable(&step)?;
        if self.options.shell_bug != Some(ShellBug::EventBeforeRecord) {
            self.checks.published(&step, &self.disk.records)?;
        }
        self.carry_out(step.effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            self.checks.released(&Released {
                effect: &effect,
                durable: &self.disk.records,
                bodies: &self.bodies,
            })?;
            match effect {
                Effect::Start { id, epoch, .. } => self.body_starts(id, epoch),
                Effect::Signal { id, epoch, .. } => {
                    self.body_is_signalled(id, epoch);
                    self.callback_runs(id, epoch);
                }
                Effect::Abort { id, epoch } => self.body_is_aborted(id, epoch),
                Effect::CheckIdle { id, epoch } => self.body_is_checked(id, epoch),
                Effect::Close(id) => {
                    if let Some(record) = self.disk.records.get(&id).cloned()
                        && self.dice.percent(20)
                    {
                        let count = 1;
                        self.wire.push(Input::Undelivered { record, count });
                    }
                }
                Effect::BeforeSettle(call) => self.hooks_run(call.id, call.turn),
                Effect::Answer { .. }
                | Effect::Answered(_)
                | Effect::Interrupt { .. }
                | Effect::Deliver { .. }
                | Effect::Forget(_) => {}
            }
        }
        Ok(())
    }

    /// Something on the wire arrives, in any order.
    fn deliver(&mut self) -> Result<(), String> {
        if self.wire.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.wire.len());
        let input = self.wire.swap_remove(at);
        let is_report = !matches!(
            input,
            Input::Spawn { .. } | Input::Ask { .. } | Input::Undelivered { .. }
        );
        if is_report && self.dice.percent(self.rates.duplicates) {
            self.copies.push(input.clone());
            if self.copies.len() > 16 {
                let at = self.dice.below(16);
                self.copies.swap_remove(at);
            }
        }
        self.feed(input)
    }

    /// A report that was delivered before arrives again.
    fn repeat(&mut self) -> Result<(), String> {
        match self.dice.pick(&self.copies).cloned() {
            Some(input) => self.feed(input),
            None => Ok(()),
        }
    }

    fn tick(&mut self) -> Result<(), String> {
        if let Some(due) = self.kernel.next_tick() {
            let late = self.dice.time(Duration::from_millis(5));
            let is_late = self.dice.percent(50);
            let at = if is_late { due.after(late) } else { due };
            self.now = self.now.max(at);
        }
        self.feed(Input::Tick)
    }
}
