//! Tasks whose bodies are elsewhere, and executors that come and go.

use std::collections::BTreeSet;

use super::super::bed::{fault, json};
use super::World;
use super::rates::{kind, scope};
use crate::kernel::{End, Epoch, ExternalWord, FaultKind, Hosts, Input, Note, Origin, TaskId};

/// Somebody who tells of a task that runs elsewhere. Crashes are nothing to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    id: TaskId,
    incarnation: u32,
}

impl World {
    /// Whether a task runs elsewhere; if so, somebody tells of it from now on.
    pub(super) fn is_held_elsewhere(&mut self, id: TaskId, epoch: Epoch) -> bool {
        let record = self.disk.records.get(&id);
        let Some(record) = record.filter(|record| record.epoch == epoch && record.attempt > 0)
        else {
            // It was over, and another life may have begun, before its start was carried out.
            return true;
        };
        if record.spec.origin != Origin::External {
            return false;
        }
        let incarnation = record.incarnation;
        self.holders.push(Holder { id, incarnation });
        true
    }

    /// A holder says something, or somebody says something of a task that may not be elsewhere.
    pub(in crate::kernel_tests) fn holder_speaks(&mut self) -> Result<(), String> {
        if self.rates.rarer.external == 0 {
            return Ok(());
        }
        let holder = self.dice.pick(&self.holders).copied();
        let holder = match holder {
            Some(holder) if self.dice.percent(90) => Some(holder),
            Some(_) | None => {
                let incarnation = 1 + u32::from(self.dice.percent(20));
                let id = self.any_known();
                id.map(|id| Holder { id, incarnation })
            }
        };
        match holder {
            Some(holder) => self.speak(holder),
            None => Ok(()),
        }
    }

    fn speak(&mut self, holder: Holder) -> Result<(), String> {
        let word = match self.dice.below(12) {
            0 | 1 => ExternalWord::Note(Note::Progress(json("1"))),
            2 | 3 => ExternalWord::Waits,
            4 | 5 => ExternalWord::GoesOn,
            6 => ExternalWord::Lives,
            7 | 8 => ExternalWord::Refers(["x", "y"][self.dice.below(2)].into()),
            9 => ExternalWord::Unregistered,
            _ => ExternalWord::Ended(self.any_last_word()),
        };
        self.tell(holder, word)
    }

    fn tell(&mut self, holder: Holder, word: ExternalWord) -> Result<(), String> {
        let Holder { id, incarnation } = holder;
        let ticket = self.next_ticket();
        self.feed(Input::External {
            ticket,
            id,
            incarnation,
            word,
        })
    }

    fn any_last_word(&mut self) -> End {
        match self.dice.below(4) {
            0 | 1 => End::Done(json("1")),
            2 => fault(FaultKind::Error),
            _ => End::Aborted,
        }
    }

    /// Of every task that runs elsewhere somebody has the last word.
    pub(super) fn holders_end(&mut self) -> Result<(), String> {
        for (id, incarnation) in self.checks.run_elsewhere() {
            let word = ExternalWord::Ended(self.any_last_word());
            self.tell(Holder { id, incarnation }, word)?;
        }
        Ok(())
    }

    /// Who runs a task elsewhere is called to stop it; that ends sooner or later, or never.
    pub(super) fn callback_runs(&mut self, id: TaskId, epoch: Epoch) {
        let record = self.disk.records.get(&id);
        let is_external = record.is_some_and(|record| record.spec.origin == Origin::External);
        if is_external && self.dice.percent(70) {
            let fails = self.dice.percent(30);
            let failure = fails.then(|| "nobody listens".into());
            self.wire.push(Input::CallbackOver { id, epoch, failure });
        }
    }

    /// Executors are registered here, or go.
    pub(in crate::kernel_tests) fn change_hosts(&mut self) -> Result<(), String> {
        let mut kinds = BTreeSet::new();
        if self.dice.percent(40) {
            kinds.insert((None, kind()));
        }
        if self.dice.percent(40) {
            kinds.insert((Some(scope(self.dice.below(2))), kind()));
        }
        let hosts = match self.dice.below(8) {
            0 => Hosts::Nothing,
            1 | 2 => Hosts::All,
            _ => Hosts::Registered(kinds),
        };
        self.host(hosts)
    }

    pub(super) fn host(&mut self, hosts: Hosts) -> Result<(), String> {
        self.bounds.hosts = hosts.clone();
        self.feed(Input::Hosts(hosts))
    }
}
