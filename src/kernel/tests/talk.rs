//! Questions, answers and interrupts, line by line.

use super::bed::{Bed, SECOND, answers, done, fault, id, json, key};
use crate::kernel::{
    AskRefusal, Bounds, Effect, End, FaultKind, InterruptRefusal, Origin, Payload, QUESTIONS_MAX,
    Reply, RespondRefusal, Retry, Spec, State, Wait, What,
};

fn again(spec: &mut Spec) {
    spec.retry = Retry::fixed(1, SECOND);
}

/// A bed in which task 1 runs and has asked by the key `k`.
fn asked() -> Bed {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, again);
    assert_eq!(to_ask(&bed.ask(1, "k")), Ok(None));
    bed
}

fn to_ask(effects: &[Effect]) -> Result<Option<Payload>, AskRefusal> {
    match &answers(effects)[..] {
        [(_, Reply::Asked(result))] => result.clone(),
        other => panic!("a question has one answer: {other:?}"),
    }
}

fn to_respond(effects: &[Effect]) -> Result<(), RespondRefusal> {
    match &answers(effects)[..] {
        [(_, Reply::Responded(result))] => *result,
        other => panic!("a response has one answer: {other:?}"),
    }
}

fn to_interrupt(effects: &[Effect]) -> Result<(), InterruptRefusal> {
    match &answers(effects)[..] {
        [(_, Reply::Interrupted(result))] => *result,
        other => panic!("an interrupt has one answer: {other:?}"),
    }
}

#[test]
fn first_answer_wins_and_stays() {
    let mut bed = asked();
    let first = bed.respond(1, "k", "2");
    assert_eq!(to_respond(&first), Ok(()));
    assert!(matches!(first[..], [Effect::Answered(task), _] if task == id(1)));
    assert_eq!(
        to_respond(&bed.respond(1, "k", "3")),
        Err(RespondRefusal::AlreadyAnswered)
    );
    assert_eq!(
        to_respond(&bed.respond(1, "other", "3")),
        Err(RespondRefusal::NoSuchQuestion)
    );
    assert_eq!(to_ask(&bed.ask(1, "k")), Ok(Some(json("2"))));
    assert_eq!(bed.told(1), ["accepted", "started", "asked", "answered"]);
}

#[test]
fn question_is_open_and_is_asked_once_however_often_it_is_asked() {
    let mut bed = asked();
    assert_eq!(to_ask(&bed.ask(1, "k")), Ok(None));
    assert_eq!(bed.told(1), ["accepted", "started", "asked"]);
}

#[test]
fn answer_survives_a_failure_a_suspension_and_a_crash() {
    let mut bed = asked();
    bed.end(1, fault(FaultKind::Error));
    assert_eq!(to_respond(&bed.respond(1, "k", "2")), Ok(()));
    bed.pass(SECOND);
    assert_eq!(to_ask(&bed.ask(1, "k")), Ok(Some(json("2"))));
    bed.end(1, End::Suspended(json("1")));
    bed.crash();
    bed.resume(1, "3");
    assert_eq!(to_ask(&bed.ask(1, "k")), Ok(Some(json("2"))));
}

#[test]
fn running_executor_finds_its_answer_after_a_crash() {
    let mut bed = asked();
    bed.respond(1, "k", "2");
    bed.crash();
    bed.pass(SECOND);
    assert_eq!(bed.state(1), State::Running);
    assert_eq!(to_ask(&bed.ask(1, "k")), Ok(Some(json("2"))));
}

#[test]
fn open_questions_are_told_when_the_task_settles() {
    let mut bed = asked();
    bed.ask(1, "other");
    bed.respond(1, "other", "2");
    bed.end(1, done());

    let told = bed.events.iter().find_map(|event| {
        if let What::Unanswered(keys) = &event.what {
            return Some(keys.to_vec());
        }
        None
    });
    assert_eq!(told, Some(vec![key("k")]));
    assert_eq!(bed.told(1).last(), Some(&"settled"));
    let late = to_respond(&bed.respond(1, "k", "3"));
    assert_eq!(late, Err(RespondRefusal::Ended(State::Completed)));
}

#[test]
fn open_questions_of_a_closure_are_told_after_a_crash() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| spec.origin = Origin::Closure);
    bed.ask(1, "k");
    bed.park(1, 1, Some(Wait::Answer));
    bed.crash();
    assert_eq!(bed.state(1), State::Interrupted);
    assert!(bed.told(1).contains(&"unanswered"));
}

#[test]
fn after_a_cancel_nothing_is_asked_answered_or_interrupted() {
    let mut bed = asked();
    bed.cancel_one(1);
    let state = State::CancelRequested;
    assert_eq!(to_ask(&bed.ask(1, "new")), Err(AskRefusal::Stopping));
    assert_eq!(
        to_respond(&bed.respond(1, "k", "2")),
        Err(RespondRefusal::Ended(state))
    );
    let refused = to_interrupt(&bed.interrupt(1));
    assert_eq!(refused, Err(InterruptRefusal::NotRunning(state)));
}

#[test]
fn answer_during_a_timeout_is_kept_for_the_next_attempt() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        again(spec);
        spec.timeout = Some(SECOND);
    });
    bed.ask(1, "k");
    bed.pass(SECOND);
    assert_eq!(bed.state(1), State::CancelRequested);
    assert_eq!(to_respond(&bed.respond(1, "k", "2")), Ok(()));
    bed.end(1, End::Aborted);
    bed.pass(SECOND);
    assert_eq!(to_ask(&bed.ask(1, "k")), Ok(Some(json("2"))));
}

#[test]
fn questions_of_a_task_are_bounded() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, again);
    for number in 0..QUESTIONS_MAX {
        assert_eq!(to_ask(&bed.ask(1, &format!("k{number}"))), Ok(None));
    }
    assert_eq!(
        to_ask(&bed.ask(1, "more")),
        Err(AskRefusal::TooMany(QUESTIONS_MAX))
    );
    assert_eq!(to_ask(&bed.ask(1, "k0")), Ok(None));
}

#[test]
fn interrupt_reaches_the_newest_run_and_changes_no_state() {
    let mut bed = asked();
    let effects = bed.interrupt(1);
    let epoch = bed.epoch(1);
    assert!(matches!(
        &effects[..],
        [Effect::Interrupt { id: task, epoch: run, interrupt }, _]
            if *task == id(1) && *run == epoch && &*interrupt.reason == "look"
    ));
    assert_eq!(to_interrupt(&effects), Ok(()));
    assert_eq!(bed.state(1), State::Running);
    bed.end(1, fault(FaultKind::Error));
    let refused = to_interrupt(&bed.interrupt(1));
    assert_eq!(refused, Err(InterruptRefusal::NotRunning(State::Pending)));
    assert_eq!(
        to_interrupt(&bed.interrupt(9)),
        Err(InterruptRefusal::Unknown(id(9)))
    );
}
