//! The bodies of the world: they run, say things, park, spawn, obey or not, and end as they like.

use super::super::bed::{fault, json};
use super::World;
use super::dice::Dice;
use super::rates::Rates;
use super::rates::counter;
use crate::kernel::{
    Control, End, Epoch, Fault, FaultKind, Input, Note, Seq, TaskId, Ticket, Timestamp, Wait,
};

/// How a body takes being told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obeys {
    /// It ends soon after the signal.
    Signal,
    /// It does not hear the signal, and is dropped by force.
    Force,
    /// It blocks its thread: it stops when it likes.
    Nothing,
}

#[derive(Clone, Debug)]
pub(in crate::kernel_tests) struct Body {
    pub(in crate::kernel_tests) id: TaskId,
    pub(in crate::kernel_tests) epoch: Epoch,
    obeys: Obeys,
    signalled: bool,
    aborted: bool,
    parked: bool,
    turn: u64,
    active: Timestamp,
}

impl Body {
    /// Whether it stops when it is told to.
    pub(in crate::kernel_tests) fn is_cooperative(&self) -> bool {
        self.obeys != Obeys::Nothing
    }
}

impl World {
    pub(in crate::kernel_tests) fn body_starts(&mut self, id: TaskId, epoch: Epoch) {
        if self.is_held_elsewhere(id, epoch) {
            return;
        }
        let obeys = if self.dice.percent(self.rates.hangs) {
            Obeys::Nothing
        } else if self.dice.percent(self.rates.deaf) {
            Obeys::Force
        } else {
            Obeys::Signal
        };
        self.bodies.push(Body {
            id,
            epoch,
            obeys,
            signalled: false,
            aborted: false,
            parked: false,
            turn: 0,
            active: self.now,
        });
    }

    fn body(&mut self, id: TaskId, epoch: Epoch) -> Option<&mut Body> {
        let is_it = |body: &&mut Body| body.id == id && body.epoch == epoch;
        self.bodies.iter_mut().find(is_it)
    }

    pub(in crate::kernel_tests) fn body_is_signalled(&mut self, id: TaskId, epoch: Epoch) {
        if let Some(body) = self.body(id, epoch) {
            body.signalled = true;
        }
    }

    pub(in crate::kernel_tests) fn body_is_aborted(&mut self, id: TaskId, epoch: Epoch) {
        if let Some(body) = self.body(id, epoch) {
            body.aborted = true;
        }
    }

    pub(in crate::kernel_tests) fn body_is_checked(&mut self, id: TaskId, epoch: Epoch) {
        if let Some(body) = self.body(id, epoch) {
            let at = body.active;
            if self.dice.percent(10) {
                let reason = "it is stuck".into();
                self.wire.push(Input::Stuck { id, epoch, reason });
            }
            self.wire.push(Input::Active { id, epoch, at });
        }
    }

    /// One body does one thing.
    pub(in crate::kernel_tests) fn body_turn(&mut self) -> Result<(), String> {
        if self.bodies.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.bodies.len());
        let body = self.bodies[at].clone();
        if body.aborted && body.is_cooperative() {
            let end = if self.dice.percent(90) {
                End::Aborted
            } else {
                any_end(&mut self.dice, &self.rates)
            };
            self.body_ends(at, end);
            return Ok(());
        }
        if body.signalled && body.obeys == Obeys::Signal && self.dice.percent(60) {
            let end = any_end(&mut self.dice, &self.rates);
            self.body_ends(at, end);
            return Ok(());
        }
        if body.parked {
            if self.dice.percent(40) {
                self.body_parks(at, None);
            }
            return Ok(());
        }
        match self.dice.below(10) {
            0 | 1 if body.obeys != Obeys::Nothing || self.dice.percent(5) => {
                let end = any_end(&mut self.dice, &self.rates);
                self.body_ends(at, end);
            }
            2 | 3 if self.dice.percent(self.rates.parks) => {
                let on = match self.dice.below(2) {
                    0 => Wait::Parked,
                    _ => Wait::Task(TaskId::from_u128(1)),
                };
                self.body_parks(at, Some(on));
            }
            4 => self.body_says(at),
            5 => self.bodies[at].active = self.now,
            9 => return self.ask_by(body.id, body.epoch),
            6 | 7 if self.dice.percent(self.rates.parented) => {
                return self.spawn_by(body.id, body.epoch);
            }
            8 if self.dice.percent(self.rates.limited) => {
                return self.charge(body.id, body.epoch);
            }
            _ => {}
        }
        Ok(())
    }

    /// The body stops now; its report is on the way.
    pub(in crate::kernel_tests) fn body_ends(&mut self, at: usize, end: End) {
        let body = self.bodies.swap_remove(at);
        let undelivered = u32::try_from(self.dice.below(3)).expect("a small number");
        self.wire.push(Input::Report {
            id: body.id,
            epoch: body.epoch,
            end,
            undelivered,
        });
    }

    /// Every body that still runs ends, whatever it obeys.
    pub(in crate::kernel_tests) fn bodies_end(&mut self) {
        for at in (0..self.bodies.len()).rev() {
            let end = any_end(&mut self.dice, &self.rates);
            self.body_ends(at, end);
        }
    }

    /// Hooks end sooner or later, or never.
    pub(in crate::kernel_tests) fn hooks_run(&mut self, id: TaskId, turn: Seq) {
        self.wire.push(Input::HooksBegun { id, turn });
        if self.dice.percent(20) {
            return;
        }
        let failures = match self.dice.below(4) {
            0 => vec!["it went wrong".into()],
            _ => Vec::new(),
        };
        self.wire.push(Input::HooksOver { id, turn, failures });
    }

    fn body_parks(&mut self, at: usize, on: Option<Wait>) {
        let body = &mut self.bodies[at];
        body.parked = on.is_some();
        body.turn += 1;
        body.active = self.now;
        let (id, epoch, turn) = (body.id, body.epoch, body.turn);
        self.wire.push(Input::Parked {
            id,
            epoch,
            turn,
            on,
        });
    }

    fn body_says(&mut self, at: usize) {
        let body = &mut self.bodies[at];
        body.active = self.now;
        let (id, epoch) = (body.id, body.epoch);
        let is_large = self.rarely(self.rates.rarer.large);
        let note = match self.dice.below(3) {
            1 if is_large => Note::OutputKept {
                bytes: 1_000_000,
                head: "\"much".into(),
                ticket: u64::from(epoch.0),
            },
            0 => Note::Progress(json("\"half\"")),
            1 => Note::Output(json("\"line\"")),
            _ => Note::Emitted("found".into(), json("1")),
        };
        self.wire.push(Input::Said { id, epoch, note });
    }

    fn charge(&mut self, id: TaskId, epoch: Epoch) -> Result<(), String> {
        let (ticket, counter) = (self.next_ticket(), counter());
        let ask = Control::Charge {
            id,
            epoch,
            counter,
            amount: self.dice.below(12) as u64,
        };
        self.feed(Input::Control { ticket, ask })
    }

    /// The body asks something, perhaps once more.
    fn ask_by(&mut self, id: TaskId, epoch: Epoch) -> Result<(), String> {
        if self.dice.percent(30) {
            let kept = self.checks.unacknowledged(id);
            if let Some(message) = self.dice.pick(&kept).copied() {
                let ticket = self.next_ticket();
                return self.feed(Input::Acknowledge {
                    ticket,
                    id,
                    epoch,
                    message,
                });
            }
        }
        let key = self.any_question();
        let (ticket, question) = (self.next_ticket(), json("\"why\""));
        let input = Input::Ask {
            ticket,
            id,
            epoch,
            key,
            question,
        };
        if self.dice.percent(10) {
            // It may arrive after the end of the body that made it.
            self.wire.push(input);
            return Ok(());
        }
        self.feed(input)
    }

    fn spawn_by(&mut self, id: TaskId, epoch: Epoch) -> Result<(), String> {
        let mut spec = self.any_spec(Some(id));
        if self.dice.percent(10) {
            spec.parent = self.any_known();
        }
        self.ask_spawn(spec.into(), Some((id, epoch)))
    }

    pub(in crate::kernel_tests) fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

fn any_end(dice: &mut Dice, rates: &Rates) -> End {
    if dice.percent(rates.suspends) {
        return End::Suspended(json("\"later\""));
    }
    if !dice.percent(rates.fails) {
        return End::Done(json("\"value\""));
    }
    match dice.below(8) {
        0 => fault(FaultKind::Permanent),
        1 => fault(FaultKind::Panic),
        2 => End::Failed(Fault {
            kind: FaultKind::Lost,
            message: "gone".into(),
        }),
        3 => End::Aborted,
        _ => fault(FaultKind::Error),
    }
}
