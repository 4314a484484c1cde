//! What becomes of messages, for those who await their receipts.
//!
//! # Invariants
//! 1. A message has one fate, which is told once, and only where a receipt may hear of it. One that
//!    is dropped without a word was not read.
//! 2. Fates stand on pages that many messages share, so a message allocates nothing of its own. An
//!    inbox has the pages of its open fates, which are told in the order of their numbers; beside
//!    it a page lives as long as a receipt.
//! 3. No wake is lost: who awaits first enters the list of waiters and then marks the fate; who
//!    tells it sees the mark, and wakes.
//!
//! *Not here*: the queue (`state`), what a receipt says beside (`mail`).

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use super::mail::{Delivery, Undelivered};

/// How many messages share a page.
const PLACES: u8 = 64;

const OPEN: u8 = 0;
/// Open, and somebody waits for it.
const AWAITED: u8 = 1;
const READ: u8 = 2;
const ENDED: u8 = 3;
const DROPPED: u8 = 4;

/// The fates of messages one after another.
#[derive(Debug)]
pub(super) struct Page {
    fates: [AtomicU8; PLACES as usize],
    told: Notify,
}

/// The fate of one message, as its receipt sees it.
#[derive(Debug)]
pub(super) struct Fate {
    page: Arc<Page>,
    place: usize,
}

/// The fate of a message that nobody will read; dropped, it is told as that of one that ended.
#[derive(Debug)]
pub(super) struct Untold(Fate);

/// The open fates of one inbox.
#[derive(Debug)]
pub(super) struct Fates {
    /// The page of the newest message, with its number.
    newest: Option<(u64, Arc<Page>)>,
    /// Those before it that still have open fates, the first one first.
    older: VecDeque<(u64, Arc<Page>)>,
}

impl Fates {
    pub(super) const fn none() -> Self {
        Self {
            newest: None,
            older: VecDeque::new(),
        }
    }

    /// Opens the fate of the message of this number, which is above those before.
    pub(super) fn open(&mut self, number: u64) -> Fate {
        let (wanted, place) = at(number);
        if let Some((page, full)) = self.newest.take_if(|(page, _)| *page != wanted) {
            self.older.push_back((page, full));
        }
        let new = || (wanted, Arc::new(Page::new()));
        let page = Arc::clone(&self.newest.get_or_insert_with(new).1);
        Fate { page, place }
    }

    /// It was read. Gives the page whose waiters are to be woken, if there are any.
    pub(super) fn read(&mut self, number: u64) -> Option<Arc<Page>> {
        let (page, place) = self.page_of(number);
        // Most receipts are dropped at once; under the lock of the inbox nobody makes another.
        let is_heard = Arc::strong_count(page) > 1;
        (is_heard && page.put(place, READ)).then(|| Arc::clone(page))
    }

    /// Takes out an open fate, to be told later.
    pub(super) fn take(&mut self, number: u64) -> Untold {
        let (page, place) = self.page_of(number);
        let page = Arc::clone(page);
        Untold(Fate { page, place })
    }

    /// Where an open fate stands; pages before it are done with.
    fn page_of(&mut self, number: u64) -> (&Arc<Page>, usize) {
        let (wanted, place) = at(number);
        while self.older.front().is_some_and(|(page, _)| *page < wanted) {
            self.older.pop_front();
        }
        let page = self.older.front().or(self.newest.as_ref());
        let (_, page) = page.expect("invariant 2: it is open");
        (page, place)
    }
}

/// The page of a number, and the place there.
fn at(number: u64) -> (u64, usize) {
    let places = u64::from(PLACES);
    let place = usize::try_from(number % places).expect("it is below 64");
    (number / places, place)
}

/// An inbox that is gone with its manager was not read.
impl Drop for Fates {
    fn drop(&mut self) {
        let pages = self.older.iter().chain(&self.newest);
        for (_, page) in pages {
            for place in 0..page.fates.len() {
                page.end(place);
            }
        }
    }
}

impl Page {
    fn new() -> Self {
        Self {
            fates: std::array::from_fn(|_| AtomicU8::new(OPEN)),
            told: Notify::const_new(),
        }
    }

    /// Writes the fate down; tells whether somebody is to be woken.
    fn put(&self, place: usize, word: u8) -> bool {
        self.fates[place].swap(word, Ordering::AcqRel) == AWAITED
    }

    fn tell(&self, place: usize, word: u8) {
        if self.put(place, word) {
            self.wake();
        }
    }

    fn end(&self, place: usize) {
        if self.known(place).is_none() {
            self.tell(place, ENDED);
        }
    }

    fn known(&self, place: usize) -> Option<Delivery> {
        match self.fates[place].load(Ordering::Acquire) {
            READ => Some(Delivery::Read),
            ENDED => Some(Delivery::Undelivered(Undelivered::Ended)),
            DROPPED => Some(Delivery::Undelivered(Undelivered::Dropped)),
            _open => None,
        }
    }

    /// Lets those who await a fate of this page look.
    pub(super) fn wake(&self) {
        self.told.notify_waiters();
    }
}

impl Untold {
    pub(super) fn tell(self, why: Undelivered) {
        let word = match why {
            Undelivered::Ended => ENDED,
            Undelivered::Dropped => DROPPED,
        };
        self.0.page.tell(self.0.place, word);
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.0.page.end(self.0.place);
    }
}

impl Fate {
    /// Waits until it is told.
    pub(super) async fn told(&self) -> Delivery {
        let Self { page, place } = self;
        loop {
            let mut told = pin!(page.told.notified());
            told.as_mut().enable();
            let fate = &page.fates[*place];
            let marked = fate.compare_exchange(OPEN, AWAITED, Ordering::AcqRel, Ordering::Acquire);
            // Told already, it cannot be marked.
            let _is_first = marked.is_ok();
            if let Some(delivery) = page.known(*place) {
                return delivery;
            }
            told.await;
        }
    }
}
