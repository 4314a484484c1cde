//! What receipts tell, whatever becomes of the messages around theirs.

use super::*;

pub(super) const ENDED: Delivery = Delivery::Undelivered(Undelivered::Ended);
pub(super) const DROPPED: Delivery = Delivery::Undelivered(Undelivered::Dropped);

/// What a receipt tells now; `None` if nothing is told yet.
pub(super) fn told(receipt: Receipt) -> Option<Delivery> {
    let mut told = receipt.into_future();
    match told.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(delivery) => Some(delivery),
        Poll::Pending => None,
    }
}

fn push_all(inbox: &Inbox, bodies: std::ops::Range<u64>) -> Vec<Receipt> {
    let pushed = bodies.map(|body| push(inbox, body).expect("it is taken"));
    pushed.collect()
}

#[test]
fn each_receipt_tells_the_fate_of_its_own_message() {
    // Enough for several pages of fates; every third receipt is kept, also beyond the inbox.
    let inbox = inbox(500);
    let kept = push_all(&inbox, 0..300).into_iter().step_by(3);
    let kept: Vec<_> = kept.collect();
    for _ in 0..200 {
        inbox.try_recv().expect("it was pushed");
    }
    let left = close(&inbox);
    drop(inbox);

    assert_eq!(left, 100);
    for receipt in kept {
        let is_read = receipt.number <= 200;
        let expected = if is_read { Delivery::Read } else { ENDED };
        assert_eq!(told(receipt), Some(expected));
    }
}

#[test]
fn receipts_of_several_bursts_tell_each_of_their_own() {
    // Each burst has several pages, and all of them are done with before the next one.
    let inbox = inbox(500);
    for burst in 0..3 {
        let receipts = push_all(&inbox, 0..150);
        assert_eq!(receipts[0].number, burst * 150 + 1);
        assert_eq!(inbox.drain().len(), 150);
        for receipt in receipts {
            assert_eq!(told(receipt), Some(Delivery::Read));
        }
    }
}

#[test]
fn receipts_of_dropped_and_of_read_messages_differ() {
    let inbox = Inbox::new(2, Overflow::DropOldest);
    let mut receipts = Vec::new();
    for body in 0..200 {
        let accepted = inbox.push(parcel(body)).expect("the oldest goes");
        receipts.push(accepted.receipt);
        if let Some(lost) = accepted.dropped {
            lost.tell(Undelivered::Dropped);
        }
        // Of three messages one is read, one dropped, and the third waits for its turn.
        if body % 3 == 2 {
            inbox.try_recv().expect("two wait");
        }
    }
    let mut counts = [0; 3];
    for receipt in receipts {
        match told(receipt) {
            Some(Delivery::Read) => counts[0] += 1,
            Some(DROPPED) => counts[1] += 1,
            None => counts[2] += 1,
            Some(ENDED) => panic!("it goes on"),
        }
    }
    assert_eq!(counts[0], 66);
    assert_eq!(counts[1] + counts[2], 134);
    assert_eq!(counts[2], inbox.len());
}

#[test]
fn who_awaits_a_receipt_is_woken_by_the_reading_and_by_the_end_of_the_inbox() {
    let inbox = inbox(8);
    let mut sleepers = Vec::new();
    for receipt in push_all(&inbox, 0..2) {
        let count = Arc::new(Wakes::default());
        let (mut told, signal) = (receipt.into_future(), Waker::from(Arc::clone(&count)));
        let look = told.as_mut().poll(&mut Context::from_waker(&signal));
        assert_eq!(look, Poll::Pending);
        sleepers.push((told, signal, count));
    }
    inbox.try_recv().expect("it was pushed");
    assert_eq!(sleepers[0].2.count(), 1);
    drop(inbox);
    assert!(sleepers[1].2.count() >= 1);

    for ((mut told, signal, _), expected) in sleepers.into_iter().zip([Delivery::Read, ENDED]) {
        let look = told.as_mut().poll(&mut Context::from_waker(&signal));
        assert_eq!(look, Poll::Ready(expected));
    }
}

#[test]
fn message_that_is_lost_without_a_word_has_ended() {
    let inbox = inbox(8);
    let receipt = push(&inbox, 1).expect("it has room");
    drop(inbox.close());
    assert_eq!(told(receipt), Some(ENDED));
}

#[test]
fn durable_messages_between_others_change_no_fate() {
    let inbox = inbox(200);
    let durable = |body| Parcel {
        is_durable: true,
        ..parcel(body)
    };
    let mut receipts = push_all(&inbox, 0..10);
    for body in 1_000..1_100 {
        inbox.hand(durable(body));
    }
    receipts.extend(push_all(&inbox, 10..20));
    inbox.hand_again([durable(2_000)].into_iter());
    // The one that came again goes first, then those before the 100 and half of these.
    for _ in 0..61 {
        inbox.try_recv().expect("it was queued");
    }
    let late = receipts.split_off(10);
    for receipt in receipts {
        assert_eq!(told(receipt), Some(Delivery::Read));
    }
    assert!(late.into_iter().all(|receipt| told(receipt).is_none()));
}
