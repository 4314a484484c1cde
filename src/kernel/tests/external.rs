//! External tasks: what their holder says in each situation, and how they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::bed::{SECOND, done, fault, id, json, scope};
use crate::kernel::{
    Body, Bounds, Class, Effect, End, Epoch, ExternalRefusal, ExternalWord, FaultKind, Input,
    Limit, Note, Origin, Outcome, Record, Reply, Requester, Reuse, Seq, Spec, State, Step, StopAsk,
    Supervisor, Target, TaskId, Ticket, Timestamp,
};

/// A kernel with one slot, and the records that it made durable; audited after each step.
struct Desk {
    kernel: Supervisor,
    now: Timestamp,
    tickets: u64,
    seq: Seq,
    records: BTreeMap<TaskId, Arc<Record>>,
    told: Vec<&'static str>,
}

fn bounds() -> Bounds {
    Bounds {
        global: Some(Class::queue(1)),
        grace: 5 * SECOND,
        ..Bounds::default()
    }
}

impl Desk {
    fn new() -> Self {
        Self {
            kernel: Supervisor::new(bounds(), 1),
            now: Timestamp::from_micros(1_000_000),
            tickets: 0,
            seq: Seq(0),
            records: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    fn keep(&mut self, step: Step) -> Vec<Effect> {
        self.kernel.audit().expect("every fact fits");
        for record in step.records {
            self.records.insert(record.id, record);
        }
        for event in step.events {
            self.seq = event.seq;
            self.told.push(event.what.name());
        }
        step.effects
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let step = self.kernel.step(self.now, input);
        self.keep(step)
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn register(&mut self, number: u32) -> Vec<Effect> {
        let mut spec = Spec::new(scope("s"));
        spec.origin = Origin::External;
        spec.heartbeat_timeout = Some(60 * SECOND);
        self.register_as(number, spec)
    }

    fn register_as(&mut self, number: u32, spec: Spec) -> Vec<Effect> {
        let ticket = self.ticket();
        self.step(Input::Spawn {
            ticket,
            id: id(number),
            spec: Arc::new(spec),
            by: None,
            reuse: Reuse::Allowed,
        })
    }

    fn say(&mut self, word: ExternalWord) -> Result<(), ExternalRefusal> {
        let incarnation = self.records[&id(1)].incarnation;
        self.say_of(incarnation, word)
    }

    fn say_of(&mut self, incarnation: u32, word: ExternalWord) -> Result<(), ExternalRefusal> {
        let (ticket, id) = (self.ticket(), id(1));
        let effects = self.step(Input::External {
            ticket,
            id,
            incarnation,
            word,
        });
        let answer = effects.into_iter().find_map(|effect| {
            if let Effect::Answer {
                reply: Reply::External(answer),
                ..
            } = effect
            {
                return Some(answer);
            }
            None
        });
        answer.expect("a word is answered")
    }

    fn cancel(&mut self) -> Vec<Effect> {
        self.cancel_so(false)
    }

    fn cancel_so(&mut self, now: bool) -> Vec<Effect> {
        let ticket = self.ticket();
        self.step(Input::Cancel {
            ticket,
            target: Target::One(id(1)),
            ask: StopAsk {
                reason: "the test asks".into(),
                by: Requester::Host,
                grace: None,
                now,
            },
        })
    }

    fn callback_over(&mut self, failure: Option<&str>) -> Vec<Effect> {
        let (id, epoch) = (id(1), self.records[&id(1)].epoch);
        let failure = failure.map(Into::into);
        self.step(Input::CallbackOver { id, epoch, failure })
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now.after(time);
        self.step(Input::Tick)
    }

    fn crash(&mut self) {
        let records = self.records.values().cloned().collect();
        let (kernel, step) = Supervisor::recover(bounds(), 1, self.now, self.seq, records);
        self.kernel = kernel;
        self.keep(step);
    }

    fn state(&self) -> State {
        self.records[&id(1)].state
    }
}

type Situation = (&'static str, fn(&mut Desk), State);

const SITUATIONS: [Situation; 5] = [
    (
        "queued",
        |d| {
            d.register(9);
            d.register(1);
        },
        State::Pending,
    ),
    (
        "running",
        |d| {
            d.register(1);
        },
        State::Running,
    ),
    (
        "waiting",
        |d| {
            d.register(1);
            assert!(d.say(ExternalWord::Waits).is_ok());
        },
        State::Waiting,
    ),
    (
        "being cancelled",
        |d| {
            d.register(1);
            d.cancel();
        },
        State::CancelRequested,
    ),
    (
        "completed",
        |d| {
            d.register(1);
            assert!(d.say(ended(done())).is_ok());
        },
        State::Completed,
    ),
];

fn ended(end: End) -> ExternalWord {
    ExternalWord::Ended(end)
}

fn all_words() -> Vec<(ExternalWord, [State; 5])> {
    use State as S;
    let same = [
        S::Pending,
        S::Running,
        S::Waiting,
        S::CancelRequested,
        S::Completed,
    ];
    let ends = |state| [S::Pending, state, state, S::Cancelled, S::Completed];
    let mut waits = same;
    waits[1] = S::Waiting;
    let mut goes_on = same;
    goes_on[2] = S::Running;
    vec![
        (ExternalWord::Note(Note::Progress(json("1"))), same),
        (ExternalWord::Lives, same),
        (ExternalWord::Refers("there".into()), same),
        (ExternalWord::Waits, waits),
        (ExternalWord::GoesOn, goes_on),
        (ended(done()), ends(S::Completed)),
        (ended(fault(FaultKind::Permanent)), ends(S::Failed)),
        (ended(fault(FaultKind::Error)), ends(S::Failed)),
        (ended(End::Aborted), ends(S::Cancelled)),
        (ExternalWord::Unregistered, ends(S::Interrupted)),
    ]
}

#[test]
fn every_word_in_every_situation_leads_where_the_law_says() {
    for (word, states) in all_words() {
        for ((name, situation, before), after) in SITUATIONS.into_iter().zip(states) {
            let mut desk = Desk::new();
            situation(&mut desk);
            assert_eq!(desk.state(), before, "{name}");
            let answer = desk.say(word.clone());

            assert_eq!(desk.state(), after, "{word:?} when {name}");
            let is_running = !matches!(before, State::Pending | State::Completed);
            assert_eq!(answer.is_ok(), is_running, "{word:?} when {name}");
            if !is_running {
                assert_eq!(answer, Err(ExternalRefusal::NotRunning(before)));
            }
        }
    }
}

#[test]
fn every_situation_survives_a_crash_and_its_holder_is_heard_after_it() {
    use State as S;
    let after = [
        S::Running,
        S::Running,
        S::Waiting,
        S::Cancelled,
        S::Completed,
    ];
    for ((name, situation, before), after) in SITUATIONS.into_iter().zip(after) {
        let mut desk = Desk::new();
        situation(&mut desk);
        desk.crash();
        let expected = if before == S::Pending {
            S::Pending
        } else {
            after
        };
        assert_eq!(desk.state(), expected, "{name}");
        let is_heard = desk.say(ended(done())).is_ok();
        assert_eq!(
            is_heard,
            matches!(expected, S::Running | S::Waiting),
            "{name}"
        );
    }
}

#[test]
fn recovered_external_still_holds_its_slot_and_its_heartbeat() {
    let mut desk = Desk::new();
    desk.register(1);
    desk.register(2);
    desk.crash();
    assert_eq!(desk.records[&id(2)].state, State::Pending);
    desk.pass(59 * SECOND);
    assert_eq!(desk.state(), State::Running);
    desk.pass(SECOND);
    assert_eq!(desk.state(), State::CancelRequested);
    desk.callback_over(None);
    let outcome = desk.records[&id(1)].outcome.clone();
    let limit = Limit::External;
    assert_eq!(
        outcome.as_deref(),
        Some(&Outcome::TimedOut {
            limit,
            late_result: None
        })
    );
    assert_eq!(desk.records[&id(2)].state, State::Running);
}

#[test]
fn every_word_puts_the_heartbeat_off() {
    let mut desk = Desk::new();
    desk.register(1);
    let words = [
        ExternalWord::Lives,
        ExternalWord::Note(Note::Output(json("1"))),
        ExternalWord::Waits,
        ExternalWord::GoesOn,
    ];
    for word in words {
        desk.pass(59 * SECOND);
        assert!(desk.say(word).is_ok());
    }
    desk.pass(60 * SECOND);
    assert_eq!(desk.state(), State::CancelRequested);
}

#[test]
fn cancel_is_over_with_the_callback_or_the_grace_and_nothing_is_abandoned() {
    let mut desk = Desk::new();
    desk.register(1);
    let effects = desk.cancel();
    assert!(effects.iter().any(|it| matches!(it, Effect::Signal { .. })));
    desk.callback_over(Some("no connection"));
    assert_eq!(desk.state(), State::Cancelled);
    assert!(desk.told.contains(&"callback_failed"));

    let mut desk = Desk::new();
    desk.register(1);
    desk.cancel();
    let effects = desk.pass(5 * SECOND);
    assert!(effects.iter().any(|it| matches!(it, Effect::Abort { .. })));
    let record = &desk.records[&id(1)];
    assert_eq!(
        (record.state, record.body),
        (State::Cancelled, Body::Absent)
    );
    desk.callback_over(Some("late"));
    assert!(!desk.told.contains(&"callback_failed"));
}

#[test]
fn holder_of_an_earlier_life_is_not_heard() {
    let mut desk = Desk::new();
    desk.register(1);
    assert!(desk.say(ended(done())).is_ok());
    let mut other = Spec::new(scope("s"));
    other.origin = Origin::External;
    let ticket = desk.ticket();
    desk.step(Input::Spawn {
        ticket,
        id: id(1),
        spec: Arc::new(other),
        by: None,
        reuse: Reuse::Allowed,
    });
    assert_eq!(
        desk.say_of(1, ended(done())),
        Err(ExternalRefusal::Unknown(id(1)))
    );
    assert_eq!(
        (desk.state(), desk.records[&id(1)].epoch),
        (State::Running, Epoch(2))
    );
}

#[test]
fn reference_is_set_once() {
    let mut desk = Desk::new();
    desk.register(1);
    let refers = |to: &str| ExternalWord::Refers(to.into());
    assert_eq!(desk.say(refers("a")), Ok(()));
    assert_eq!(desk.say(refers("a")), Ok(()));
    assert_eq!(
        desk.say(refers("b")),
        Err(ExternalRefusal::RefIsSet("a".into()))
    );
    desk.crash();
    assert_eq!(desk.records[&id(1)].external_ref.as_deref(), Some("a"));
}

#[test]
fn words_about_other_tasks_are_refused() {
    let mut desk = Desk::new();
    let ticket = desk.ticket();
    desk.step(Input::Spawn {
        ticket,
        id: id(1),
        spec: Arc::new(Spec::new(scope("s"))),
        by: None,
        reuse: Reuse::Refused,
    });
    assert_eq!(
        desk.say(ended(done())),
        Err(ExternalRefusal::NotExternal(id(1)))
    );
    assert_eq!(desk.state(), State::Running);
}

#[test]
fn cancelled_now_it_is_over_at_once_its_callback_is_called_and_nothing_is_abandoned() {
    let mut desk = Desk::new();
    desk.register(1);
    let effects = desk.cancel_so(true);
    assert_eq!(
        (desk.state(), desk.records[&id(1)].body),
        (State::Cancelled, Body::Absent)
    );
    let is_called = |effect: &Effect| matches!(effect, Effect::Signal { .. });
    let is_forced = |effect: &Effect| matches!(effect, Effect::Abort { .. });
    assert!(effects.iter().any(is_called) && !effects.iter().any(is_forced));
    assert!(desk.callback_over(Some("late")).is_empty());
}

#[test]
fn recovered_external_still_has_its_idle_limit() {
    for waits in [false, true] {
        let mut desk = Desk::new();
        let mut spec = Spec::new(scope("s"));
        (spec.origin, spec.idle_timeout) = (Origin::External, Some(10 * SECOND));
        desk.register_as(1, spec);
        if waits {
            assert!(desk.say(ExternalWord::Waits).is_ok());
        }
        desk.now = desk.now.after(9 * SECOND);
        desk.crash();

        let is_asked = |effects: Vec<Effect>| {
            let mut effects = effects.into_iter();
            effects.any(|effect| matches!(effect, Effect::CheckIdle { .. }))
        };
        assert!(!is_asked(desk.pass(9 * SECOND)));
        assert_eq!(is_asked(desk.pass(SECOND)), !waits);
        if waits {
            assert!(desk.say(ExternalWord::GoesOn).is_ok());
            assert!(is_asked(desk.pass(10 * SECOND)));
        }
    }
}
