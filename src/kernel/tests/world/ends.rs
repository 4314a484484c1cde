//! How lives end in the world: by a crash, with another life after it, or drained.

use std::time::Duration;

use super::super::bed::ask;
use super::{Life, Start, World, trace};
use crate::kernel::{Hosts, Input, Supervisor, Target, Timestamp};

impl World {
    /// The process dies. Any prefix of what is in flight is durable; some of it was even carried
    /// out.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        for _ in 0..self.dice.below(self.disk.in_flight() + 1) {
            if self.dice.percent(50) {
                self.commit()?;
            } else if let Some(step) = self.disk.commit() {
                // Nothing of it was carried out; subscribers read its events from the log later.
                self.checks.durable(&step)?;
                self.checks.published(&step, &self.disk.records)?;
            }
        }
        self.disk.lose();
        self.bodies.clear();
        // What the dead process had on the wire may still be heard in the next life.
        let heard =
            |input: &Input| !matches!(input, Input::Spawn { .. } | Input::Undelivered { .. });
        self.copies.extend(self.wire.drain(..).filter(heard));
        if self.dice.percent(10) {
            let back = self.dice.time(Duration::from_millis(500));
            self.now = Timestamp::from_micros(
                self.now.as_micros() - u64::try_from(back.as_micros()).expect("a short time"),
            );
        }
        self.recover()
    }

    fn recover(&mut self) -> Result<(), String> {
        let records: Vec<_> = self.disk.records.values().cloned().collect();
        let (now, seq, dice) = (self.now, self.disk.seq, self.steps);
        self.note(|_| format!("CRASH; {} records", records.len()));
        // A part of the manager failed, or its whole process died, which opens what was closed.
        if self.rates.rarer.scopes > 0 && self.dice.percent(30) {
            self.disk.closed.clear();
        }
        self.bounds.closed_scopes.clone_from(&self.disk.closed);
        self.checks.crashed(now, &records, seq)?;
        self.checks.recovers_with(&self.bounds);
        let (kernel, step) =
            Supervisor::recover(self.bounds.clone(), dice, now, seq, records.clone());
        self.kernel = kernel;
        self.kernel.bug = self.options.bug;
        self.note(|_| format!("recovered{}", trace::step(&step)));
        if self.options.record {
            let step = format!("{step:?}");
            let (bounds, steps) = (self.bounds.clone(), Vec::new());
            let start = Some(Start {
                now,
                seq,
                records,
                step,
            });
            self.lives.push(Life {
                bounds,
                dice,
                start,
                steps,
            });
        }
        self.checks.after(now, None, &step)?;
        if self.options.audit {
            self.kernel.audit()?;
        }
        self.send(step)
    }

    /// Everything that can end ends: afterwards all is settled and everybody was answered.
    pub(super) fn drain(&mut self) -> Result<(), String> {
        if self.rates.rarer.hosts > 0 {
            self.host(Hosts::All)?;
        }
        // What is restarted for ever must be stopped.
        let ways = if self.rates.restarted > 0 { 2 } else { 4 };
        match self.dice.below(ways) {
            0 => self.cancel_target(Target::All)?,
            1 => {
                let (ticket, ask) = (self.next_ticket(), ask(None));
                self.feed(Input::Shutdown { ticket, ask })?;
                if self.rates.rarer.scopes > 0 {
                    self.spawn()?;
                }
            }
            _ => {}
        }
        for _ in 0..10_000 {
            while self.disk.in_flight() > 0 {
                self.commit()?;
            }
            if !self.wire.is_empty() {
                self.deliver()?;
            } else if !self.bodies.is_empty() {
                self.bodies_end();
            } else if !self.checks.run_elsewhere().is_empty() {
                self.holders_end()?;
            } else if let Some(id) = self.checks.suspended().first() {
                self.resume_task(*id)?;
            } else if self.kernel.live() > 0 && self.kernel.next_tick().is_some() {
                self.tick()?;
            } else {
                if self.options.audit {
                    self.kernel.audit()?;
                }
                return self.checks.drained(&self.disk.records, &self.kernel);
            }
        }
        Err("liveness: the world is drained and things go on for ever".to_owned())
    }
}
