//! What is asked of scopes, runs and records in the world, sensible or not.

use super::super::bed::ask;
use super::World;
use super::rates::scope;
use crate::kernel::{Control, Input, Requester, StopAsk, Target};

const RUNS: [&str; 3] = ["r1", "r2", "r3"];

impl World {
    /// Whether something rarer happens: no dice are thrown where it never does.
    pub(in crate::kernel_tests) fn rarely(&mut self, often: u32) -> bool {
        often > 0 && self.dice.percent(often)
    }

    pub(in crate::kernel_tests) fn any_run(&mut self) -> &'static str {
        RUNS[self.dice.below(RUNS.len())]
    }

    /// A request to stop, now and then one that waits for nobody.
    pub(in crate::kernel_tests) fn any_ask(&mut self) -> StopAsk {
        let has_grace = self.dice.percent(50);
        let grace = has_grace.then(|| self.time(40));
        let now = self.rarely(self.rates.rarer.at_once);
        StopAsk { now, ..ask(grace) }
    }

    fn control(&mut self, ask: Control) -> Result<(), String> {
        let ticket = self.next_ticket();
        self.feed(Input::Control { ticket, ask })
    }

    /// Something is moved to another scope, or a scope is closed or opened again.
    pub(in crate::kernel_tests) fn change_scopes(&mut self) -> Result<(), String> {
        let at = scope(self.dice.below(3));
        match self.dice.below(10) {
            0..=5 => self.transfer(),
            6 | 7 => {
                let only_if_idle = self.dice.percent(20);
                let ask = self.any_ask();
                self.control(Control::Close {
                    scope: at,
                    ask,
                    only_if_idle,
                })
            }
            _ => self.control(Control::Reopen(at)),
        }
    }

    fn transfer(&mut self) -> Result<(), String> {
        let (mut ids, to) = (Vec::new(), scope(self.dice.below(3)));
        while ids.is_empty() || ids.len() < 4 && self.dice.percent(30) {
            let roots = self.checks.live_roots();
            let id = match self.dice.pick(&roots) {
                Some(id) if self.dice.percent(80) => Some(*id),
                Some(_) | None => self.any_known(),
            };
            let Some(id) = id else { return Ok(()) };
            ids.push(id);
        }
        self.control(Control::Transfer { ids, to })
    }

    /// Somebody gives up on a task, or records are removed.
    pub(in crate::kernel_tests) fn see_to_records(&mut self) -> Result<(), String> {
        match self.dice.below(8) {
            0..=4 => self.give_up(),
            5 => {
                let known: Vec<_> = (0..4).filter_map(|_| self.any_known()).collect();
                let chosen = known.iter().map(|id| self.checks.chosen(*id));
                let mut chosen: Vec<_> = chosen.collect();
                // One that has changed since, or never was so.
                if let [.., (_, seq), _] = &mut chosen[..] {
                    seq.0 = seq.0.saturating_sub(1);
                }
                self.control(Control::Remove(chosen))
            }
            6 if self.dice.percent(50) => {
                let at = scope(self.dice.below(3));
                self.control(Control::Capacity(Some(at)))
            }
            6 => self.hook_fails(),
            _ => self.control(Control::Sweep),
        }
    }

    /// A hook failed that keeps nothing waiting; its record may be an old one.
    fn hook_fails(&mut self) -> Result<(), String> {
        let id = self.any_known();
        let record = id.and_then(|id| self.disk.records.get(&id).cloned());
        let why = "on_wake: it went wrong".into();
        match record {
            Some(record) => self.feed(Input::HookFailed { record, why }),
            None => Ok(()),
        }
    }

    fn give_up(&mut self) -> Result<(), String> {
        let stopping = self.checks.stopping();
        let id = match self.dice.pick(&stopping) {
            Some(id) if self.dice.percent(80) => Some(*id),
            Some(_) | None => self.any_known(),
        };
        let Some(id) = id else { return Ok(()) };
        let (reason, by) = ("it takes too long".into(), Requester::Host);
        self.control(Control::Abandon { id, reason, by })
    }

    pub(in crate::kernel_tests) fn cancel_run(&mut self) -> Result<(), String> {
        let run = self.any_run();
        self.cancel_target(Target::Run(run.into()))
    }
}
