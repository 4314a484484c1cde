//! The queue against a model of it: order, numbers, room, and the fate of each message.

use std::collections::{BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::receipts::{DROPPED, ENDED, told};
use super::*;

const CAPACITY: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    Push,
    /// A durable message, which may have come before.
    Hand(u64),
    /// A new run, whose record has these durable messages.
    Again(BTreeSet<u64>),
    Take,
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Push),
        2 => durable().prop_map(Step::Hand),
        1 => proptest::collection::btree_set(durable(), 0..5).prop_map(Step::Again),
        5 => Just(Step::Take),
        1 => Just(Step::Drain),
    ]
}

/// The bodies of durable messages, by which they are known too.
fn durable() -> impl Strategy<Value = u64> {
    1_000..1_005_u64
}

fn handed(body: u64) -> Parcel {
    Parcel {
        is_durable: true,
        ..parcel(body)
    }
}

fn overflow() -> impl Strategy<Value = Overflow> {
    prop_oneof![
        Just(Overflow::Reject),
        Just(Overflow::DropOldest),
        Just(Overflow::Wait),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Queued {
    number: u64,
    body: u64,
    is_durable: bool,
}

struct Model {
    inbox: Inbox,
    overflow: Overflow,
    queue: VecDeque<Queued>,
    newest: u64,
    dropped: u32,
    /// Durable ones that this run got, or will get.
    handed: BTreeSet<u64>,
    /// The receipts by number; what the model says of the fates.
    receipts: Vec<(Receipt, Option<Delivery>)>,
}

impl Model {
    fn new(overflow: Overflow) -> Self {
        Self {
            inbox: Inbox::new(CAPACITY, overflow),
            overflow,
            queue: VecDeque::new(),
            newest: 0,
            dropped: 0,
            handed: BTreeSet::new(),
            receipts: Vec::new(),
        }
    }

    fn waiting(&self) -> u32 {
        let plain = self.queue.iter().filter(|it| !it.is_durable);
        u32::try_from(plain.count()).expect("there are few")
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push => self.push(),
            Step::Hand(body) => {
                self.inbox.hand(handed(body));
                if self.handed.insert(body) {
                    let queued = self.number(body, true);
                    self.queue.push_back(queued);
                }
            }
            Step::Again(bodies) => self.again(&bodies),
            Step::Take => {
                let taken = self.inbox.try_recv();
                let expected = self.take();
                assert_eq!(taken, expected);
            }
            Step::Drain => {
                let expected: Vec<_> = std::iter::from_fn(|| self.take()).collect();
                assert_eq!(self.inbox.drain(), expected);
            }
        }
        assert_eq!(self.inbox.len(), self.waiting());
    }

    fn number(&mut self, body: u64, is_durable: bool) -> Queued {
        self.newest += 1;
        Queued {
            number: self.newest,
            body,
            is_durable,
        }
    }

    fn push(&mut self) {
        let body = self.newest;
        let pushed = self.inbox.push(parcel(body));
        let is_full = self.waiting() == CAPACITY;
        if is_full && self.overflow != Overflow::DropOldest {
            let why = Why::Full { capacity: CAPACITY };
            assert_eq!(pushed.expect_err("it is full").why, why);
            return;
        }
        let Accepted { receipt, dropped } = pushed.expect("there is room, or it is made");
        assert_eq!(dropped.is_some(), is_full);
        if let Some(lost) = dropped {
            let oldest = self.queue.iter().position(|it| !it.is_durable);
            let oldest = oldest.and_then(|place| self.queue.remove(place));
            assert_eq!(Some(lost.message.number), oldest.map(|it| it.number));
            self.dropped += 1;
            self.tell(lost.message.number, DROPPED);
            lost.tell(Undelivered::Dropped);
        }
        let queued = self.number(body, false);
        self.queue.push_back(queued);
        let told = (receipt.number, receipt.waiting);
        assert_eq!(told, (self.newest, self.waiting()));
        self.receipts.push((receipt, None));
    }

    fn again(&mut self, bodies: &BTreeSet<u64>) {
        self.inbox.hand_again(bodies.iter().copied().map(handed));
        let durable = self.queue.iter().filter(|it| it.is_durable);
        let waiting: BTreeSet<_> = durable.map(|it| it.body).collect();
        for body in bodies.iter().rev().filter(|it| !waiting.contains(it)) {
            let queued = self.number(*body, true);
            self.queue.push_front(queued);
        }
        self.handed = &waiting | bodies;
    }

    fn take(&mut self) -> Option<Message> {
        let queued = self.queue.pop_front()?;
        if !queued.is_durable {
            self.tell(queued.number, Delivery::Read);
        }
        Some(Message {
            is_durable: queued.is_durable,
            ..message(queued.number, queued.body)
        })
    }

    fn tell(&mut self, number: u64, fate: Delivery) {
        let mut receipts = self.receipts.iter_mut();
        let found = receipts.find(|(receipt, _)| receipt.number == number);
        let (_, known) = found.expect("it has a receipt");
        assert_eq!(known.replace(fate), None);
    }

    fn close(mut self) {
        let (left, dropped) = self.inbox.close();
        assert_eq!(dropped, self.dropped);
        let numbers = left.iter().map(|lost| lost.message.number);
        let expected = self.queue.iter().map(|it| it.number);
        assert!(numbers.eq(expected), "{left:?}");
        for queued in std::mem::take(&mut self.queue) {
            if !queued.is_durable {
                self.tell(queued.number, ENDED);
            }
        }
        for lost in left {
            lost.tell(Undelivered::Ended);
        }
        for (receipt, fate) in self.receipts {
            assert_eq!(told(receipt), fate);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn messages_stand_and_leave_as_the_model_of_the_queue_says(
        overflow in overflow(),
        steps in vec(step(), 0..200),
    ) {
        let mut model = Model::new(overflow);
        for step in steps {
            model.step(step);
        }
        model.close();
    }
}

#[test]
fn acknowledged_messages_take_no_room() {
    let inbox = inbox(CAPACITY);
    for body in 0..1_000 {
        inbox.hand(handed(body));
        let message = inbox.try_recv().expect("it is there");
        inbox.acknowledged(message.id);
    }
    assert_eq!(inbox.lock().held().handed.len(), 0);
}
