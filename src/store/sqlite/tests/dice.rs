//! Records and events of any shape, from a number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::{
    AbandonRequest, Answer, Body, Budget, Cause, Charge, Conclusion, Disposition, Epoch, Event,
    Facts, Fault, FaultKind, Flight, Grant, Grants, Interrupt, Jitter, KeptMessage, LateSuccess,
    Limit, MessageId, Messages, OnParentEnd, OnScopeClose, Options, Origin, Outcome, Overflow,
    Payload, Question, Reach, Record, Requester, RestartPolicy, Retry, Seq, Spec, State, Stop,
    StopPolicy, TaskId, Timestamp, Trace, Visibility, Wait, What,
};

/// Numbers that look random, from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.number() % sides as u64).expect("it is below a usize")
    }

    /// Small numbers and the largest ones.
    fn any(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => u64::MAX,
            2 => self.number() % 1_000,
            _ => self.number(),
        }
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number() >> 40).expect("it has 24 bits")
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.coin().then(|| make(self))
    }

    fn text(&mut self) -> Arc<str> {
        let texts = [
            "",
            "plain",
            "\"quoted\"\\",
            "line\nbreak\0",
            "ключ 🌳",
            "null",
        ];
        self.one(&texts).into()
    }

    fn payload(&mut self) -> Payload {
        Payload::from_json(self.one(&["null", "7", "{\"a\": [1, \"\\u00e4\"]}", "\"ä\"", " 1 "]))
    }

    fn id(&mut self) -> TaskId {
        TaskId::from_u128(u128::from(self.any()) << 64 | u128::from(self.any()))
    }

    fn at(&mut self) -> Timestamp {
        Timestamp::from_micros(self.any())
    }

    fn duration(&mut self) -> Duration {
        Duration::new(self.any(), self.small() % 1_000_000_000)
    }

    /// A valid name of some kind.
    fn name<T: for<'a> TryFrom<&'a str>>(&mut self) -> T {
        let name = self.one(&["a", "lead", "x.y-z_9"]);
        T::try_from(name).ok().expect("it is a valid name")
    }

    fn requester(&mut self) -> Requester {
        match self.below(4) {
            0 => Requester::Host,
            1 => Requester::Task(self.id()),
            2 => Requester::Manager,
            _ => Requester::Token,
        }
    }

    fn cause(&mut self) -> Cause {
        match self.below(8) {
            0 => Cause::Asked,
            1 => Cause::Ancestor(self.id()),
            2 => Cause::ParentEnded(self.id()),
            3 => Cause::Dependency(self.id()),
            4 => Cause::Shutdown,
            5 => Cause::Run,
            6 => Cause::Budget,
            _ => Cause::Timeout(self.one(&Limit::ALL)),
        }
    }

    fn stop(&mut self) -> Arc<Stop> {
        Arc::new(Stop {
            cause: self.cause(),
            reason: self.text(),
            by: self.requester(),
            at: self.at(),
            grace_until: self.at(),
        })
    }

    fn grant(&mut self) -> Grant {
        self.one(&[Grant::See, Grant::Talk, Grant::Cancel])
    }

    fn grants(&mut self) -> Arc<Grants> {
        let some = 0..=self.below(3);
        Arc::new(some.map(|_| (self.name(), self.grant())).collect())
    }

    fn abandon(&mut self) -> Arc<AbandonRequest> {
        Arc::new(AbandonRequest {
            reason: self.text(),
            by: self.requester(),
            at: self.at(),
        })
    }

    fn fault(&mut self) -> Fault {
        use FaultKind as F;
        Fault {
            kind: self.one(&[
                F::Error,
                F::Permanent,
                F::Panic,
                F::Lost,
                F::Timeout,
                F::RestartedTooOften,
            ]),
            message: self.text(),
        }
    }

    fn outcome(&mut self) -> Arc<Outcome> {
        Arc::new(match self.below(5) {
            0 => Outcome::Completed(self.payload()),
            1 => Outcome::Failed(self.fault()),
            2 => Outcome::TimedOut {
                limit: self.one(&Limit::ALL),
                late_result: self.maybe(Self::payload),
            },
            3 => Outcome::Cancelled {
                late_result: self.maybe(Self::payload),
            },
            _ => Outcome::Interrupted(self.text()),
        })
    }

    fn wait(&mut self) -> Wait {
        match self.below(11) {
            0 => Wait::After(self.small()),
            1 => Wait::ParentStart,
            2 => Wait::Executor,
            3 => Wait::Slot,
            4 => Wait::Backoff(self.at()),
            5 => Wait::Task(self.id()),
            6 => Wait::Parked,
            7 => Wait::Answer,
            8 => Wait::Children,
            9 => Wait::Hook,
            _ => Wait::Resume(self.payload()),
        }
    }

    fn answer(&mut self) -> Arc<Answer> {
        Arc::new(Answer {
            value: self.payload(),
            by: self.requester(),
            at: self.at(),
        })
    }

    fn question(&mut self) -> Question {
        Question {
            asked: self.payload(),
            asked_at: self.at(),
            answer: self.maybe(Self::answer),
        }
    }

    fn flight(&mut self) -> Flight {
        if self.coin() {
            return Flight::Canonical(self.name());
        }
        Flight::Derived {
            role: self.name(),
            target: self.name(),
        }
    }

    fn trace(&mut self) -> Trace {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let state = self.maybe(|_| "vendor=1");
        Trace::new(parent, state).expect("it is a valid one")
    }

    fn close_policy(&mut self) -> OnScopeClose {
        match self.below(3) {
            0 => OnScopeClose::Keep,
            1 => OnScopeClose::Cancel,
            _ => OnScopeClose::Transfer(self.name()),
        }
    }

    fn retry(&mut self) -> Retry {
        let retry = Retry::fixed(self.small(), self.duration());
        let retry = retry.factor_percent(self.small()).cap(self.duration());
        retry.jitter(self.one(&[Jitter::None, Jitter::Full]))
    }

    fn restart(&mut self) -> RestartPolicy {
        use RestartPolicy as R;
        let policy = self.one(&[R::permanent(), R::transient(), R::temporary()]);
        let policy = policy.intensity(self.small(), self.duration());
        if self.coin() {
            policy.delay(self.duration())
        } else {
            policy.backoff(self.duration(), self.duration())
        }
    }

    pub(super) fn spec(&mut self) -> Arc<Spec> {
        Arc::new(Spec {
            scope: self.name(),
            name: self.maybe(Self::name),
            kind: self.maybe(Self::name),
            parent: self.maybe(Self::id),
            labels: (0..self.below(3))
                .map(|_| (self.text(), self.text()))
                .collect(),
            input: self.maybe(Self::payload),
            origin: self.one(&[Origin::Closure, Origin::External, Origin::Executor]),
            options: self.options().into(),
        })
    }

    fn options(&mut self) -> Options {
        let parent_ends = [OnParentEnd::Wait, OnParentEnd::Cancel, OnParentEnd::Detach];
        Options {
            description: self.maybe(Self::text),
            visibility: self.one(&[Visibility::Shown, Visibility::Hidden]),
            after: (0..self.below(3)).map(|_| self.id()).collect(),
            limits: (0..self.below(3)).map(|_| self.name()).collect(),
            budgets: (0..self.below(3))
                .map(|_| (self.name(), self.any()))
                .collect(),
            priority: self.one(&[0, -5, i16::MAX]),
            retry: self.retry(),
            restart: self.maybe(Self::restart),
            timeout: self.maybe(Self::duration),
            idle_timeout: self.maybe(Self::duration),
            heartbeat_timeout: self.maybe(Self::duration),
            lifetime: self.maybe(Self::duration),
            queue_timeout: self.maybe(Self::duration),
            suspend_timeout: self.maybe(Self::duration),
            grace: self.maybe(Self::duration),
            on_parent_end: self.maybe(|dice| dice.one(&parent_ends)),
            on_scope_close: self.maybe(Self::close_policy),
            stop_policy: self.one(&[StopPolicy::Abort, StopPolicy::Cooperative]),
            late_success: self.one(&[LateSuccess::Cancelled, LateSuccess::Completed]),
            key: self.maybe(Self::name),
            key_window: self.maybe(Self::duration),
            flight: self.maybe(Self::flight),
            flight_reach: self.one(&[Reach::Scope, Reach::Manager]),
            inbox_capacity: self.maybe(|dice| dice.one(&[0, 1, u32::MAX])),
            inbox_overflow: self.one(&[Overflow::Reject, Overflow::DropOldest, Overflow::Wait]),
            progress_interval: self.maybe(Self::duration),
            disposition: self.one(&[Disposition::Rerunnable, Disposition::OwnerBound]),
            before_settle: self.coin(),
            trace: self.maybe(Self::trace),
        }
    }

    fn budget(&mut self) -> Budget {
        Budget {
            limit: self.any(),
            used: self.any(),
            exhausted: self.coin(),
        }
    }

    fn messages(&mut self) -> Arc<Messages> {
        let one = |dice: &mut Self| KeptMessage {
            id: dice.message(),
            from: dice.maybe(Self::id),
            body: dice.payload(),
            at: dice.at(),
        };
        Arc::new((0..self.below(3)).map(|_| one(self)).collect())
    }

    fn message(&mut self) -> MessageId {
        self.id().to_string().parse().expect("ids have one form")
    }

    pub(super) fn record(&mut self) -> Record {
        let questions = |dice: &mut Self| {
            let of = (0..dice.below(3)).map(|_| (dice.name(), dice.question()));
            Arc::new(of.collect::<BTreeMap<_, _>>())
        };
        let conclusion = |dice: &mut Self| {
            if dice.coin() {
                Conclusion::Settle(dice.outcome())
            } else {
                Conclusion::Retry(dice.duration())
            }
        };
        Record {
            id: self.id(),
            spec: self.spec(),
            parent: self.maybe(Self::id),
            spawned_by: self.maybe(Self::id),
            root: self.id(),
            depth: self.small(),
            state: self.one(&State::ALL),
            wait: self.maybe(Self::wait),
            incarnation: self.small(),
            epoch: Epoch(self.small()),
            attempt: self.small(),
            body: self.one(&[Body::Absent, Body::Live]),
            inline: self.coin(),
            stop: self.maybe(Self::stop),
            conclusion: self.maybe(conclusion),
            outcome: self.maybe(Self::outcome),
            progress: self.maybe(Self::payload),
            undelivered: self.small(),
            restarts: self.small(),
            created_at: self.at(),
            started_at: self.maybe(Self::at),
            waits_since: self.maybe(Self::at),
            ended_at: self.maybe(Self::at),
            events: self.any(),
            seq: Seq(self.any()),
            facts: Facts {
                budgets: (0..self.below(3))
                    .map(|_| (self.name(), self.budget()))
                    .collect(),
                resume: self.maybe(Self::payload),
                questions: self.maybe(questions),
                messages: self.maybe(Self::messages),
                restarted_at: (0..self.below(3)).map(|_| self.at()).collect(),
                external_ref: self.maybe(Self::text),
                abandon: self.maybe(Self::abandon),
                suspension: self.maybe(Self::payload),
                grants: self.maybe(Self::grants),
                suspended_at: self.maybe(Self::at),
            }
            .into(),
        }
    }

    fn charge(&mut self) -> Arc<Charge> {
        Arc::new(Charge {
            counter: self.name(),
            amount: self.any(),
            by: self.id(),
            used: self.any(),
            limit: self.any(),
        })
    }

    fn what(&mut self) -> What {
        let name = self.one(What::NAMES);
        self.what_named(name)
            .unwrap_or_else(|| panic!("{name} has no dice here"))
    }

    fn what_named(&mut self, name: &str) -> Option<What> {
        Some(match name {
            "accepted" => What::Accepted(self.maybe(Self::wait)),
            "pending" => What::Pending(self.wait()),
            "started" => What::Started,
            "waiting" => What::Waiting(self.wait()),
            "unparked" => What::Unparked,
            "suspended" => What::Suspended(self.payload()),
            "resumed" => What::Resumed,
            "stop_asked" => What::StopAsked(self.stop()),
            "aborted" => What::Aborted,
            "hook_failed" => What::HookFailed(self.text()),
            "restarting" => What::Restarting {
                restarts: self.small(),
                fault: self.maybe(Self::fault),
            },
            "abandon_asked" => What::AbandonAsked(self.abandon()),
            "attempt_failed" => What::AttemptFailed(self.fault()),
            "progress" => What::Progress(self.payload()),
            "output" => What::Output(self.payload()),
            "output_kept" => What::OutputKept {
                bytes: self.below(usize::MAX),
                head: self.text(),
                ticket: self.any(),
            },
            "emitted" => What::Emitted {
                label: self.text(),
                payload: self.payload(),
            },
            "asked" => What::Asked {
                key: self.name(),
                question: self.payload(),
            },
            "answered" => What::Answered {
                key: self.name(),
                answer: self.answer(),
            },
            "unanswered" => What::Unanswered([self.name(), self.name()].into()),
            "message_kept" => What::MessageKept {
                message: self.message(),
                from: self.maybe(Self::id),
            },
            "message_acknowledged" => What::MessageAcknowledged(self.message()),
            "interrupt_asked" => What::InterruptAsked(Arc::new(Interrupt {
                reason: self.text(),
                by: self.requester(),
                at: self.at(),
            })),
            "referred" => What::Referred(self.text()),
            "unregistered" => What::Unregistered,
            "callback_failed" => What::CallbackFailed(self.text()),
            "detached" => What::Detached,
            "settled" => What::Settled {
                outcome: self.outcome(),
                undelivered: self.small(),
                abandoned: self.coin(),
            },
            "undelivered" => What::Undelivered(self.small()),
            "body_stopped" => What::BodyStopped,
            "transferred" => What::Transferred {
                from: self.name(),
                to: self.name(),
            },
            "granted" => What::Granted {
                to: self.name(),
                grant: self.grant(),
            },
            "revoked" => What::Revoked { from: self.name() },
            "charged" => What::Charged(self.charge()),
            "budget_exhausted" => What::BudgetExhausted(self.charge()),
            _ => return None,
        })
    }

    pub(super) fn event(&mut self) -> Event {
        Event {
            // Numbers are those of SQLite, which has no unsigned ones.
            seq: Seq(self.number() >> 1),
            at: self.at(),
            task: self.id(),
            incarnation: self.small(),
            task_seq: self.any(),
            root: self.id(),
            spec: self.spec(),
            attempt: self.small(),
            state: self.one(&State::ALL),
            what: self.what(),
        }
    }
}
