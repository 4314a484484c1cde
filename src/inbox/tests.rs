//! What a mailbox promises, one behavior each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use serde_json::json;

use super::*;
use crate::kernel::{Spec, TaskId};

mod dead;
mod queue;
mod receipts;
mod waiters;

/// Counts how often the future that was polled with it was woken.
#[derive(Default)]
struct Wakes(AtomicU32);

impl Wakes {
    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Receiving<'a> = Pin<Box<dyn Future<Output = Option<Message>> + 'a>>;

/// A receiver that waits already, and the counter of its wakes.
fn waiting(inbox: &Inbox) -> (Receiving<'_>, Arc<Wakes>) {
    let wakes = Arc::new(Wakes::default());
    let mut receiving: Receiving<'_> = Box::pin(inbox.recv(|| May::Wait));
    assert_eq!(poll(&mut receiving, &wakes), Poll::Pending);
    (receiving, wakes)
}

fn poll(receiving: &mut Receiving<'_>, wakes: &Arc<Wakes>) -> Poll<Option<Message>> {
    let signal = Waker::from(Arc::clone(wakes));
    receiving.as_mut().poll(&mut Context::from_waker(&signal))
}

fn may(read: &std::cell::Cell<bool>) -> May {
    if read.get() { May::Wait } else { May::Nothing }
}

fn parcel(body: u64) -> Parcel {
    Parcel {
        id: MessageId::new(TaskId::from_u128(body.into())),
        from: Sender::Host,
        body: json!(body),
        wakes: false,
        is_durable: false,
    }
}

fn inbox(capacity: u32) -> Inbox {
    Inbox::new(capacity, Overflow::Reject)
}

fn push(inbox: &Inbox, body: u64) -> Result<Receipt, Box<Rejected>> {
    inbox.push(parcel(body)).map(|accepted| accepted.receipt)
}

/// Closes the inbox and tells how many messages were left.
fn close(inbox: &Inbox) -> usize {
    inbox.close().0.len()
}

fn message(number: u64, body: u64) -> Message {
    let Parcel { id, from, body, .. } = parcel(body);
    Message {
        id,
        number,
        from,
        body,
        is_durable: false,
    }
}

#[test]
fn messages_leave_in_the_order_of_their_numbers() {
    let inbox = inbox(8);
    let first = push(&inbox, 10).expect("it has room");
    let second = push(&inbox, 20).expect("it has room");

    assert_eq!((first.number, first.waiting), (1, 1));
    assert_eq!((second.number, second.waiting), (2, 2));
    assert_eq!(inbox.try_recv(), Some(message(1, 10)));
    assert_eq!(inbox.try_recv(), Some(message(2, 20)));
    assert_eq!(inbox.try_recv(), None);
}

#[test]
fn full_inbox_returns_the_message() {
    for capacity in [1, 2, 3] {
        let inbox = inbox(capacity);
        for body in 0..u64::from(capacity) {
            push(&inbox, body).expect("it has room");
        }

        let rejected = push(&inbox, 77).expect_err("it is full");
        assert_eq!(rejected.parcel, parcel(77));
        assert_eq!(rejected.why, Why::Full { capacity });

        inbox.try_recv().expect("it is full");
        let receipt = push(&inbox, 78).expect("there is room again");
        assert_eq!(receipt.number, u64::from(capacity) + 1);
    }
}

#[test]
fn inbox_without_capacity_accepts_nothing() {
    let inbox = inbox(0);

    let rejected = push(&inbox, 7).expect_err("there is no inbox");
    assert_eq!((rejected.parcel, rejected.why), (parcel(7), Why::NoInbox));

    inbox.close();
    let rejected = push(&inbox, 7).expect_err("there is no inbox");
    assert_eq!(rejected.why, Why::NoInbox);
}

#[test]
fn closed_inbox_returns_the_message_and_counts_what_was_left_once() {
    let inbox = inbox(8);
    for body in 0..3 {
        push(&inbox, body).expect("it has room");
    }

    assert_eq!(close(&inbox), 3);
    assert_eq!(close(&inbox), 0);
    let rejected = push(&inbox, 9).expect_err("it is closed");
    assert_eq!((rejected.parcel, rejected.why), (parcel(9), Why::Closed));
    assert_eq!((inbox.try_recv(), inbox.len()), (None, 0));
}

#[test]
fn inbox_that_is_opened_again_has_all_its_places_and_its_numbers_go_on() {
    for overflow in [Overflow::Reject, Overflow::Wait] {
        let inbox = Inbox::new(2, overflow);
        push(&inbox, 0).expect("it has room");
        assert_eq!(close(&inbox), 1);

        inbox.open_again();

        for body in [1, 2] {
            push(&inbox, body).expect("it has room");
        }
        let rejected = push(&inbox, 3).expect_err("it is full");
        assert_eq!(rejected.why, Why::Full { capacity: 2 });
        assert_eq!(inbox.try_recv(), Some(message(2, 1)));
        push(&inbox, 4).expect("it has room");
    }
}

#[test]
fn drain_takes_everything_and_the_numbers_go_on() {
    let inbox = inbox(2);
    push(&inbox, 1).expect("it has room");
    push(&inbox, 2).expect("it has room");

    assert_eq!(inbox.drain(), [message(1, 1), message(2, 2)]);
    assert_eq!(inbox.drain(), []);
    assert_eq!(push(&inbox, 3).expect("it has room").number, 3);
}

#[test]
fn unused_inbox_has_allocated_nothing() {
    let inbox = inbox(u32::MAX);

    assert!(inbox.lock().known().is_none());
    assert_eq!((inbox.len(), inbox.capacity()), (0, u32::MAX));
}

#[test]
fn message_in_an_inbox_that_was_emptied_lies_where_the_first_one_lay() {
    let inbox = inbox(8);
    let lies = || {
        let mut state = inbox.lock();
        state
            .known()
            .and_then(|held| held.queue.front().map(std::ptr::from_ref))
    };
    push(&inbox, 0).expect("it has room");
    let first = lies().map(<*const _>::addr);

    for body in 1..10 {
        inbox.try_recv().expect("one waits");
        push(&inbox, body).expect("it has room");
        assert_eq!(lies().map(<*const _>::addr), first);
    }
}

#[tokio::test]
async fn receiving_without_end_lets_other_work_run() {
    let inbox = Arc::new(inbox(10_000));
    for body in 0..10_000 {
        push(&inbox, body).expect("it has room");
    }
    let reader = Arc::clone(&inbox);
    let reading = tokio::spawn(async move { while reader.recv(|| May::Wait).await.is_some() {} });

    tokio::task::yield_now().await;

    assert!((1..10_000).contains(&inbox.len()), "{inbox:?}");
    inbox.close();
    reading.await.expect("the reader ends at the close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_ten_senders_keep_their_order() {
    const EACH: u64 = 1_000;
    let inbox = Arc::new(inbox(10_000));
    let senders: Vec<_> = (1..=10)
        .map(|id| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let from = Sender::Task(TaskId::from_u128(id));
                for body in 0..EACH {
                    let parcel = Parcel {
                        from,
                        ..parcel(body)
                    };
                    inbox.push(parcel).expect("it has room for all");
                }
            })
        })
        .collect();

    let mut next = [0_u64; 11];
    for number in 1..=10 * EACH {
        let message = inbox.recv(|| May::Wait).await.expect("nobody closes it");
        let Sender::Task(sender) = message.from else {
            unreachable!("only tasks send here");
        };
        let place = usize::try_from(sender.as_u128()).expect("at most ten");
        assert_eq!(message.number, number);
        assert_eq!(message.body, json!(next[place]));
        next[place] += 1;
    }

    for sender in senders {
        sender.join().expect("no sender panics");
    }
    assert_eq!(next[1..], [EACH; 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_flood_of_a_million_sends_adds_up() {
    const EACH: u64 = 250_000;
    let inbox = Arc::new(inbox(256));
    let reader = Arc::clone(&inbox);
    let reading = tokio::spawn(async move {
        let mut received = 0;
        while reader.recv(|| May::Wait).await.is_some() {
            received += 1;
        }
        received
    });
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let accepted = (0..EACH).filter(|body| push(&inbox, *body).is_ok());
                let accepted = u64::try_from(accepted.count()).expect("it fits");
                (accepted, EACH - accepted)
            })
        })
        .collect();

    let (mut accepted, mut refused) = (0, 0);
    for sender in senders {
        let sums = sender.join().expect("no sender panics");
        accepted += sums.0;
        refused += sums.1;
    }
    let newest = inbox.lock().known().map_or(0, |held| held.newest);
    let left = close(&inbox) as u64;
    let received: u64 = reading.await.expect("the reader ends at the close");

    assert_eq!(accepted + refused, 1_000_000);
    assert_eq!(accepted, received + left);
    assert_eq!(accepted, newest);
}
