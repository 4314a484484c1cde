//! Who is woken, who gets which message: one behavior each, and the list of those who wait against
//! a model of it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const READERS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    /// A look that does not wait.
    Take,
    Poll(usize),
    /// This one is dropped, and another begins in its place.
    Drop(usize),
    /// This one may read no more.
    Forbid(usize),
    Stir,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Push),
        1 => Just(Step::Take),
        8 => (0..READERS).prop_map(Step::Poll),
        2 => (0..READERS).prop_map(Step::Drop),
        1 => (0..READERS).prop_map(Step::Forbid),
        1 => Just(Step::Stir),
    ]
}

struct Reader<'a> {
    receiving: Receiving<'a>,
    may_read: Rc<Cell<bool>>,
    wakes: Arc<Wakes>,
    /// What the model says of its wakes.
    expected: u32,
    has_waited: bool,
}

impl<'a> Reader<'a> {
    fn new(inbox: &'a Inbox) -> Self {
        let may_read = Rc::new(Cell::new(true));
        let asked = Rc::clone(&may_read);
        Self {
            receiving: Box::pin(inbox.recv(move || may(&asked))),
            may_read,
            wakes: Arc::default(),
            expected: 0,
            has_waited: false,
        }
    }
}

struct Model<'a> {
    inbox: &'a Inbox,
    readers: Vec<Reader<'a>>,
    /// Those who wait and were not woken, the first one first.
    list: VecDeque<usize>,
    queue: VecDeque<u64>,
    pushed: u64,
    is_closed: bool,
}

impl<'a> Model<'a> {
    fn new(inbox: &'a Inbox) -> Self {
        Self {
            inbox,
            readers: (0..READERS).map(|_| Reader::new(inbox)).collect(),
            list: VecDeque::new(),
            queue: VecDeque::new(),
            pushed: 0,
            is_closed: false,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push => self.push(),
            Step::Take => {
                let taken = self.inbox.try_recv().map(|message| message.number);
                assert_eq!(taken, self.queue.pop_front());
            }
            Step::Poll(reader) => self.poll(reader),
            Step::Drop(reader) => {
                self.leave(reader, true);
                self.readers[reader].receiving = Box::pin(std::future::pending());
                self.check();
                self.readers[reader] = Reader::new(self.inbox);
            }
            Step::Forbid(reader) => self.readers[reader].may_read.set(false),
            Step::Stir => {
                self.inbox.stir();
                self.wake_all();
            }
            Step::Close => {
                assert_eq!(close(self.inbox), self.queue.len());
                self.queue.clear();
                self.is_closed = true;
                self.wake_all();
            }
        }
        self.check();
    }

    fn push(&mut self) {
        let receipt = push(self.inbox, self.pushed);
        if self.is_closed {
            assert!(receipt.is_err());
            return;
        }
        self.pushed += 1;
        assert_eq!(receipt.map(|it| it.number).ok(), Some(self.pushed));
        self.queue.push_back(self.pushed);
        self.wake_next();
    }

    fn poll(&mut self, reader: usize) {
        let it = &mut self.readers[reader];
        let may_read = it.may_read.get();
        let look = poll(&mut it.receiving, &it.wakes);
        let look = look.map(|message| message.map(|message| message.number));
        let oldest = may_read.then(|| self.queue.pop_front()).flatten();
        if may_read && oldest.is_none() && !self.is_closed {
            assert_eq!(look, Poll::Pending);
            it.has_waited = true;
            if !self.list.contains(&reader) {
                self.list.push_back(reader);
            }
            return;
        }
        assert_eq!(look, Poll::Ready(oldest));
        self.leave(reader, oldest.is_none());
        self.check();
        self.readers[reader] = Reader::new(self.inbox);
    }

    /// It waits no more: was it woken for nothing, another one is woken for what lies there.
    fn leave(&mut self, reader: usize, has_none: bool) {
        if let Some(place) = self.list.iter().position(|it| *it == reader) {
            self.list.remove(place);
        } else if self.readers[reader].has_waited && has_none && !self.queue.is_empty() {
            self.wake_next();
        }
        self.readers[reader].has_waited = false;
    }

    fn wake_next(&mut self) {
        if let Some(reader) = self.list.pop_front() {
            self.readers[reader].expected += 1;
        }
    }

    fn wake_all(&mut self) {
        while !self.list.is_empty() {
            self.wake_next();
        }
    }

    fn check(&self) {
        let is_right = |it: &Reader<'_>| it.wakes.count() == it.expected;
        assert!(self.readers.iter().all(is_right), "{:?}", self.inbox);
        assert_eq!(self.inbox.len() as usize, self.queue.len());
        // Beside one that sleeps, each message has a receiver that was woken and looks yet.
        let waited = self.readers.iter().filter(|it| it.has_waited).count();
        let woken = waited - self.list.len();
        assert!(self.list.is_empty() || self.queue.len() <= woken);
    }
}

#[test]
fn push_wakes_one_waiter_and_close_wakes_all() {
    let inbox = inbox(8);
    let (mut first, first_wakes) = waiting(&inbox);
    let (mut second, second_wakes) = waiting(&inbox);
    let (mut third, third_wakes) = waiting(&inbox);

    push(&inbox, 5).expect("it has room");
    assert_eq!(first_wakes.count(), 1);
    assert_eq!((second_wakes.count(), third_wakes.count()), (0, 0));
    assert_eq!(
        poll(&mut first, &first_wakes),
        Poll::Ready(Some(message(1, 5)))
    );

    assert_eq!(close(&inbox), 0);
    assert_eq!((second_wakes.count(), third_wakes.count()), (1, 1));
    assert_eq!(poll(&mut second, &second_wakes), Poll::Ready(None));
    assert_eq!(poll(&mut third, &third_wakes), Poll::Ready(None));
}

#[test]
fn two_pushes_wake_two_waiters() {
    let inbox = inbox(8);
    let (mut first, first_wakes) = waiting(&inbox);
    let (mut second, second_wakes) = waiting(&inbox);

    push(&inbox, 5).expect("it has room");
    push(&inbox, 6).expect("it has room");

    assert_eq!((first_wakes.count(), second_wakes.count()), (1, 1));
    let taken = [
        poll(&mut second, &second_wakes),
        poll(&mut first, &first_wakes),
    ];
    assert_eq!(
        taken,
        [message(1, 5), message(2, 6)].map(|m| Poll::Ready(Some(m)))
    );
}

#[test]
fn dropped_receiver_loses_nothing_and_hands_its_wake_on() {
    let inbox = inbox(8);
    let (first, first_wakes) = waiting(&inbox);
    let (mut second, second_wakes) = waiting(&inbox);
    push(&inbox, 5).expect("it has room");
    assert_eq!((first_wakes.count(), second_wakes.count()), (1, 0));

    drop(first);

    assert_eq!(second_wakes.count(), 1);
    assert_eq!(
        poll(&mut second, &second_wakes),
        Poll::Ready(Some(message(1, 5)))
    );
}

#[test]
fn waiter_whose_message_was_taken_by_another_waits_on() {
    let inbox = inbox(8);
    let (mut receiving, wakes) = waiting(&inbox);
    push(&inbox, 5).expect("it has room");
    inbox.try_recv().expect("it was pushed");

    assert_eq!(poll(&mut receiving, &wakes), Poll::Pending);
    push(&inbox, 6).expect("it has room");

    assert_eq!(wakes.count(), 2);
    assert_eq!(
        poll(&mut receiving, &wakes),
        Poll::Ready(Some(message(2, 6)))
    );
}

#[test]
fn receiver_that_may_read_no_more_leaves_its_message_to_others() {
    let inbox = inbox(8);
    let may_read = std::cell::Cell::new(true);
    let wakes = Arc::new(Wakes::default());
    let mut stale: Receiving<'_> = Box::pin(inbox.recv(|| may(&may_read)));
    assert_eq!(poll(&mut stale, &wakes), Poll::Pending);
    let (mut fresh, fresh_wakes) = waiting(&inbox);

    may_read.set(false);
    push(&inbox, 7).expect("it has room");

    assert_eq!(poll(&mut stale, &wakes), Poll::Ready(None));
    assert_eq!(fresh_wakes.count(), 1);
    assert_eq!(
        poll(&mut fresh, &fresh_wakes),
        Poll::Ready(Some(message(1, 7)))
    );
}

#[test]
fn stirred_receiver_looks_whether_it_may_still_read() {
    let inbox = inbox(8);
    let may_read = std::cell::Cell::new(true);
    let wakes = Arc::new(Wakes::default());
    let mut stale: Receiving<'_> = Box::pin(inbox.recv(|| may(&may_read)));
    assert_eq!(poll(&mut stale, &wakes), Poll::Pending);

    may_read.set(false);
    inbox.stir();

    assert_eq!(wakes.count(), 1);
    assert_eq!(poll(&mut stale, &wakes), Poll::Ready(None));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn those_who_wait_are_woken_as_the_model_of_their_list_says(steps in vec(step(), 0..80)) {
        let inbox = inbox(1_000);
        let mut model = Model::new(&inbox);
        let last = [Step::Close, Step::Push].into_iter();
        let looks = (0..READERS).map(Step::Poll);
        for step in steps.into_iter().chain(last).chain(looks) {
            model.step(step);
        }
    }
}
