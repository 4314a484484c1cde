//! Durable messages, line by line.

use super::bed::{Bed, SECOND, answers, done, fault, id};
use crate::kernel::{
    AskRefusal, Bounds, DURABLE_MAX, Effect, End, FaultKind, MessageId, MessageRefusal, Origin,
    Payload, Reply, Retry, Spec, State,
};

fn again(spec: &mut Spec) {
    spec.origin = Origin::Executor;
    spec.retry = Retry::fixed(1, SECOND);
}

/// A bed in which task 1 runs.
fn running() -> Bed {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, again);
    bed
}

fn to_message(effects: &[Effect]) -> Result<(), MessageRefusal> {
    match &answers(effects)[..] {
        [(_, Reply::Message(result))] => *result,
        other => panic!("a message has one answer: {other:?}"),
    }
}

fn to_acknowledge(effects: &[Effect]) -> Result<(), AskRefusal> {
    match &answers(effects)[..] {
        [(_, Reply::Acknowledged(result))] => *result,
        other => panic!("an acknowledgement has one answer: {other:?}"),
    }
}

fn kept(bed: &Bed) -> Vec<MessageId> {
    let record = bed.record(1);
    let kept = record.unacknowledged().iter();
    kept.map(|message| message.id).collect()
}

fn numbers(numbers: &[u32]) -> Vec<MessageId> {
    let number = |number: &u32| MessageId::new(id(*number));
    numbers.iter().map(number).collect()
}

/// The messages that a start hands to its run.
fn handed(effects: &[Effect]) -> Vec<MessageId> {
    let of_start = |effect: &Effect| {
        if let Effect::Start { messages, .. } = effect {
            return messages.clone();
        }
        None
    };
    let messages = effects.iter().find_map(of_start).unwrap_or_default();
    messages.iter().map(|message| message.id).collect()
}

#[test]
fn message_is_kept_delivered_and_answered_in_this_order() {
    let mut bed = running();
    let effects = bed.message(1, 7);
    assert!(matches!(
        &effects[..],
        [Effect::Deliver { id: to, .. }, Effect::Answer { .. }] if *to == id(1)
    ));
    assert_eq!(kept(&bed), numbers(&[7]));
    assert_eq!(bed.told(1), ["accepted", "started", "message_kept"]);
}

#[test]
fn message_that_is_sent_twice_is_one() {
    let mut bed = running();
    bed.message(1, 7);
    let effects = bed.message(1, 7);
    assert_eq!(to_message(&effects), Ok(()));
    assert_eq!(effects.len(), 1);
    assert_eq!(kept(&bed), numbers(&[7]));
}

#[test]
fn each_run_gets_what_is_not_acknowledged_in_its_order_also_after_a_crash() {
    let mut bed = running();
    for number in [7, 8, 9] {
        bed.message(1, number);
    }
    assert_eq!(to_acknowledge(&bed.acknowledge(1, 8)), Ok(()));
    bed.end(1, fault(FaultKind::Error));
    assert_eq!(handed(&bed.pass(SECOND)), numbers(&[7, 9]));

    bed.end(1, End::Suspended(Payload::from_json("1")));
    bed.crash();
    bed.message(1, 10);
    assert_eq!(handed(&bed.resume(1, "2")), numbers(&[7, 9, 10]));
}

#[test]
fn only_the_current_run_acknowledges_and_twice_is_once() {
    let mut bed = running();
    bed.message(1, 7);
    assert_eq!(to_acknowledge(&bed.acknowledge(1, 7)), Ok(()));
    assert_eq!(to_acknowledge(&bed.acknowledge(1, 7)), Ok(()));
    assert_eq!(bed.told(1).last(), Some(&"message_acknowledged"));
    let count = bed.told(1).len();
    assert_eq!(count, 4);

    bed.message(1, 8);
    bed.end(1, fault(FaultKind::Error));
    let stale = to_acknowledge(&bed.acknowledge(1, 8));
    assert_eq!(stale, Err(AskRefusal::Stale));
    assert_eq!(kept(&bed), numbers(&[8]));
}

#[test]
fn what_nobody_acknowledged_stays_in_the_settled_record() {
    let mut bed = running();
    bed.message(1, 7);
    bed.end(1, done());
    assert_eq!(bed.state(1), State::Completed);
    assert_eq!(kept(&bed), numbers(&[7]));
    assert_eq!(to_message(&bed.message(1, 8)), Err(MessageRefusal::Ended));
    let unknown = to_message(&bed.message(2, 8));
    assert_eq!(unknown, Err(MessageRefusal::Unknown(id(2))));
}

#[test]
fn messages_that_are_not_acknowledged_are_bounded() {
    let mut bed = running();
    let most = u32::try_from(DURABLE_MAX).expect("a small number");
    for number in 1..=most {
        assert_eq!(to_message(&bed.message(1, 100 + number)), Ok(()));
    }
    assert_eq!(to_message(&bed.message(1, 7)), Err(MessageRefusal::Full));
    bed.acknowledge(1, 101);
    assert_eq!(to_message(&bed.message(1, 7)), Ok(()));
}

#[test]
fn cancelled_task_takes_no_more() {
    let mut bed = running();
    bed.cancel_one(1);
    assert_eq!(to_message(&bed.message(1, 7)), Err(MessageRefusal::Ended));
}
