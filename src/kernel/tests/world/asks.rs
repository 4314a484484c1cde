//! What is asked in the world: specs, cancels and resumes, sensible or not.

use std::sync::Arc;
use std::time::Duration;

use super::super::bed::{json, key, name};
use super::World;
use super::rates::{class_name, counter, kind, scope};
use crate::kernel::{
    Control, Disposition, Epoch, Flight, Grant, GrantChange, Input, KeptMessage, Key, LateSuccess,
    MessageId, OnParentEnd, OnScopeClose, Origin, Reach, Requester, RestartPolicy, Retry, Reuse,
    Spec, StopPolicy, Target, TaskId, Ticket,
};

const NAMES: [&str; 5] = ["ann", "bob", "cid", "dot", "eve"];
const KEYS: [&str; 4] = ["k1", "k2", "k3", "k4"];
const SPECS_KEPT: usize = 4;

impl World {
    /// A task that somebody may know of: live, settled, forgotten or never there.
    pub(in crate::kernel_tests) fn any_known(&mut self) -> Option<TaskId> {
        if self.dice.percent(2) {
            return Some(TaskId::from_u128(u128::MAX));
        }
        let newest = self.ids;
        if newest == 0 {
            return None;
        }
        let back = self.dice.below(24).min(self.dice.below(24));
        let number = newest.saturating_sub(u32::try_from(back).expect("a small number"));
        Some(TaskId::from_u128(u128::from(number.max(1))))
    }

    pub(super) fn time(&mut self, longest_ms: u64) -> Duration {
        self.dice.time(Duration::from_millis(longest_ms))
    }

    pub(in crate::kernel_tests) fn any_spec(&mut self, parent: Option<TaskId>) -> Spec {
        let scopes = self.rates.scopes;
        let scope = match parent.and_then(|parent| self.checks.scope_of(parent)) {
            Some(scope) => scope,
            None => scope(self.dice.below(scopes)),
        };
        let mut spec = Spec::new(scope);
        spec.parent = parent;
        if self.dice.percent(self.rates.named) {
            spec.name = self.dice.pick(&NAMES).map(|text| name(text));
        }
        if self.dice.percent(self.rates.keyed) {
            spec.key = self.dice.pick(&KEYS).map(|text| key(text));
        }
        while self.dice.percent(self.rates.after) && spec.after.len() < 3 {
            spec.after.extend(self.any_known());
        }
        self.limits(&mut spec);
        self.policies(&mut spec);
        self.rarer_wishes(&mut spec);
        spec
    }

    fn limits(&mut self, spec: &mut Spec) {
        if self.dice.percent(self.rates.limited) {
            for text in ["a", "b"] {
                if self.dice.percent(60) {
                    spec.limits.push(class_name(text));
                }
            }
        }
        if self.dice.percent(self.rates.limited) {
            spec.kind = Some(kind());
            spec.budgets.insert(counter(), self.dice.below(40) as u64);
            spec.priority = self.dice.pick(&[-1, 0, 0, 2]).copied().unwrap_or(0);
        }
        if self.dice.percent(self.rates.timed) {
            spec.timeout = Some(self.time(100));
        }
        if self.dice.percent(self.rates.idle) {
            spec.idle_timeout = Some(self.time(50));
        }
        if self.dice.percent(self.rates.timed) {
            spec.lifetime = Some(self.time(400));
        }
        if self.dice.percent(self.rates.timed) {
            spec.queue_timeout = Some(self.time(60));
            spec.suspend_timeout = Some(self.time(60));
        }
        if self.dice.percent(self.rates.timed) {
            spec.grace = Some(self.time(60));
        }
    }

    fn policies(&mut self, spec: &mut Spec) {
        if self.dice.percent(self.rates.executors) {
            spec.origin = Origin::Executor;
        }
        if self.dice.percent(self.rates.retried) {
            let retries = u32::try_from(self.dice.below(4)).expect("a small number");
            let delay = self.time(20);
            spec.retry = match self.dice.below(2) {
                0 => Retry::fixed(retries, delay),
                _ => Retry::exponential(retries).delay(delay),
            };
        }
        if self.dice.percent(self.rates.policies) {
            let policies = [OnParentEnd::Wait, OnParentEnd::Cancel, OnParentEnd::Detach];
            spec.on_parent_end = self.dice.pick(&policies).copied();
        }
        if self.dice.percent(self.rates.cooperative) {
            spec.stop_policy = StopPolicy::Cooperative;
        }
        spec.before_settle = self.dice.percent(self.rates.hooked);
        if self.dice.percent(20) {
            spec.late_success = LateSuccess::Completed;
        }
        if self.dice.percent(self.rates.restarted) {
            spec.restart = Some(self.any_restart());
        }
    }

    fn rarer_wishes(&mut self, spec: &mut Spec) {
        let rarer = self.rates.rarer.clone();
        if self.rarely(rarer.wishes) {
            let to = scope(self.dice.below(3));
            let wishes = [
                OnScopeClose::Keep,
                OnScopeClose::Cancel,
                OnScopeClose::Transfer(to),
            ];
            spec.on_scope_close = self.dice.pick(&wishes).cloned();
        }
        if spec.key.is_some() && self.rarely(rarer.windows) {
            spec.key_window = Some(self.time(100));
        }
        if self.rarely(rarer.flights) {
            let target = self.any_question();
            let role = key("role");
            spec.flight = Some(match self.dice.below(3) {
                0 => Flight::Derived { role, target },
                _ => Flight::Canonical(target),
            });
            if self.dice.percent(30) {
                spec.flight_reach = Reach::Manager;
            }
        }
        if self.rarely(rarer.runs) {
            let run = self.any_run();
            spec.labels.insert("run".into(), run.into());
        }
        if self.rarely(rarer.external) {
            spec.origin = Origin::External;
            spec.heartbeat_timeout = self.dice.percent(50).then(|| self.time(60));
        }
        if rarer.hosts > 0 && spec.origin == Origin::Executor && self.dice.percent(50) {
            spec.kind = Some(kind());
        }
        if spec.origin == Origin::Executor && self.rarely(rarer.bound) {
            spec.disposition = Disposition::OwnerBound;
        }
    }

    fn any_restart(&mut self) -> RestartPolicy {
        let restarts = u32::try_from(self.dice.below(4)).expect("a small number");
        let policy = match self.dice.below(5) {
            0 | 1 => RestartPolicy::permanent(),
            2 | 3 => RestartPolicy::transient(),
            _ => RestartPolicy::temporary(),
        };
        let (period, delay) = (self.time(200), self.time(20));
        let policy = policy.intensity(restarts, period);
        match self.dice.below(2) {
            0 => policy.delay(delay),
            _ => policy.backoff(delay, 3 * delay),
        }
    }

    /// Somebody who is no body asks for a task.
    pub(in crate::kernel_tests) fn spawn(&mut self) -> Result<(), String> {
        if self.dice.percent(self.rates.keyed)
            && let Some(spec) = self.dice.pick(&self.keyed).cloned()
        {
            return self.ask_spawn(spec, None);
        }
        let has_parent = self.dice.percent(self.rates.parented);
        let parent = if has_parent { self.any_known() } else { None };
        let mut spec = self.any_spec(parent);
        if self.dice.percent(2) {
            spec.limits.push(class_name("unknown"));
        }
        self.ask_spawn(Arc::new(spec), None)
    }

    pub(in crate::kernel_tests) fn ask_spawn(
        &mut self,
        spec: Arc<Spec>,
        by: Option<(TaskId, Epoch)>,
    ) -> Result<(), String> {
        if spec.key.is_some() {
            self.keyed.push(Arc::clone(&spec));
            if self.keyed.len() > SPECS_KEPT {
                let at = self.dice.below(SPECS_KEPT);
                self.keyed.swap_remove(at);
            }
        }
        if by.is_none()
            && self.rarely(self.rates.rarer.reused)
            && let Some(id) = self.any_known()
            && self.checks.scope_of(id).is_some()
        {
            return self.spawn_as(id, spec);
        }
        let newest = TaskId::from_u128(u128::from(self.ids));
        let is_known = self.checks.scope_of(newest).is_some();
        let is_late = by.is_some() && self.dice.percent(10);
        // An id that is used twice must be known for as long as the second request is under way.
        let repeats = is_known && !is_late && self.dice.percent(2);
        self.ids += u32::from(!repeats);
        let id = TaskId::from_u128(u128::from(self.ids));
        let ticket = self.next_ticket();
        let input = Input::Spawn {
            ticket,
            id,
            spec,
            by,
            reuse: Reuse::Refused,
        };
        if is_late {
            // The request overtakes nothing: it may arrive after the end of the body that made it.
            self.wire.push(input);
            return Ok(());
        }
        self.feed(input)
    }

    /// Somebody asks for a task by the id of another one, which may have settled.
    fn spawn_as(&mut self, id: TaskId, spec: Arc<Spec>) -> Result<(), String> {
        let ticket = self.next_ticket();
        let reuse = match self.dice.below(5) {
            0 => Reuse::Refused,
            _ => Reuse::Allowed,
        };
        self.feed(Input::Spawn {
            ticket,
            id,
            spec,
            by: None,
            reuse,
        })
    }

    pub(in crate::kernel_tests) fn cancel(&mut self) -> Result<(), String> {
        if self.rarely(self.rates.rarer.runs) {
            return self.cancel_run();
        }
        let Some(id) = self.any_known() else {
            return Ok(());
        };
        if self.dice.percent(10) {
            self.change_grants(id)?;
        }
        let other = scope(self.dice.below(self.rates.scopes));
        let target = match self.dice.below(100) {
            0 => Target::All,
            3 => Target::Visible(other),
            4 => Target::OneFor(other, id),
            5 | 6 => Target::TreeFor(other, id),
            1 | 2 => Target::Scope(scope(self.dice.below(self.rates.scopes))),
            roll if roll < self.rates.trees as usize => Target::Tree(id),
            _ => Target::One(id),
        };
        self.cancel_target(target)
    }

    fn change_grants(&mut self, id: TaskId) -> Result<(), String> {
        let scopes = self.rates.scopes;
        let (one, to) = (self.dice.below(scopes), self.dice.below(scopes));
        let (one, to) = (scope(one), scope(to));
        let grants = [Grant::See, Grant::Talk, Grant::Cancel];
        let grant = self.dice.pick(&grants).copied().unwrap_or(Grant::Cancel);
        let change = match self.dice.below(4) {
            0 => GrantChange::Take { from: one },
            1 => GrantChange::Pass { from: one, to },
            _ => GrantChange::Give { to, grant },
        };
        let (ticket, ask) = (self.next_ticket(), Control::Grant { id, change });
        self.feed(Input::Control { ticket, ask })
    }

    pub(in crate::kernel_tests) fn cancel_target(&mut self, target: Target) -> Result<(), String> {
        let ask = self.any_ask();
        let ticket = self.next_ticket();
        self.feed(Input::Cancel {
            ticket,
            target,
            ask,
        })
    }

    /// Resumes a suspended task, or one that is not.
    pub(in crate::kernel_tests) fn resume(&mut self) -> Result<(), String> {
        let suspended = self.checks.suspended();
        let id = match self.dice.pick(&suspended) {
            Some(id) if self.dice.percent(80) => Some(*id),
            Some(_) | None => self.any_known(),
        };
        let Some(id) = id else { return Ok(()) };
        self.resume_task(id)
    }

    pub(in crate::kernel_tests) fn any_question(&mut self) -> Key {
        let text = self.dice.pick(&KEYS).copied();
        key(text.expect("there are keys"))
    }

    /// Somebody answers a question or interrupts, whether or not that makes sense.
    pub(in crate::kernel_tests) fn talk(&mut self) -> Result<(), String> {
        let asking = self.checks.asking();
        let id = match self.dice.pick(&asking) {
            Some(id) if self.dice.percent(80) => Some(*id),
            Some(_) | None => self.any_known(),
        };
        let Some(id) = id else { return Ok(()) };
        let (ticket, by) = (self.next_ticket(), Requester::Host);
        if self.dice.percent(30) {
            return self.message(ticket, id);
        }
        if self.dice.percent(30) {
            let reason = "look".into();
            return self.feed(Input::Interrupt {
                ticket,
                id,
                reason,
                by,
            });
        }
        let (key, value) = (self.any_question(), json(&ticket.0.to_string()));
        self.feed(Input::Respond {
            ticket,
            id,
            key,
            value,
            by,
        })
    }

    /// Somebody sends a durable message; one in ten once more, in a way that it may be known.
    fn message(&mut self, ticket: Ticket, id: TaskId) -> Result<(), String> {
        let number = 1 + self.dice.below(10) as u128;
        let message = if self.dice.percent(10) {
            number
        } else {
            1_000 + u128::from(ticket.0)
        };
        let message = KeptMessage {
            id: MessageId::new(TaskId::from_u128(message)),
            from: None,
            body: json(&ticket.0.to_string()),
            at: self.now,
        };
        self.feed(Input::Message {
            ticket,
            id,
            message,
        })
    }

    pub(in crate::kernel_tests) fn resume_task(&mut self, id: TaskId) -> Result<(), String> {
        let ticket = self.next_ticket();
        let data = json(&ticket.0.to_string());
        let may_wait = self.dice.percent(80);
        self.feed(Input::Resume {
            ticket,
            id,
            data,
            may_wait,
        })
    }
}
