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
    fates: Line,
    /// How many pages of numbers come before.
    number: u64,
    told: Notify,
}

/// The fates alone on a line of the cache: who reads writes here, and who sends counts its receipts
/// on the one before, so that neither takes a line from the other.
#[derive(Debug)]
#[repr(align(64))]
struct Line([AtomicU8; PLACES as usize]);

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
    /// The page of the newest message.
    newest: Option<Arc<Page>>,
    /// Those before it that still have open fates, the first one first.
    #[expect(
        clippy::box_collection,
        reason = "few inboxes have them: a pointer is less"
    )]
    older: Option<Box<VecDeque<Arc<Page>>>>,
}

impl Fates {
    pub(super) const fn none() -> Self {
        Self {
            newest: None,
            older: None,
        }
    }

    /// Opens the fate of the message of this number, which is above those before.
    #[inline]
    pub(super) fn open(&mut self, number: u64) -> Fate {
        let (wanted, place) = at(number);
        let page = match &self.newest {
            Some(page) if page.number == wanted => Arc::clone(page),
            _full => self.turn(wanted),
        };
        Fate { page, place }
    }

    /// Begins the page of this number.
    fn turn(&mut self, wanted: u64) -> Arc<Page> {
        let page = Arc::new(Page::new(wanted));
        if let Some(full) = self.newest.replace(Arc::clone(&page)) {
            self.older.get_or_insert_default().push_back(full);
        }
        page
    }

    /// It was read. Gives the page whose waiters are to be woken, if there are any.
    #[inline]
    pub(super) fn read(&mut self, number: u64) -> Option<Arc<Page>> {
        let (page, place) = self.page_of(number);
        page.put(place, READ).then(|| Arc::clone(page))
    }

    /// Takes out an open fate, to be told later.
    pub(super) fn take(&mut self, number: u64) -> Untold {
        let (page, place) = self.page_of(number);
        let page = Arc::clone(page);
        Untold(Fate { page, place })
    }

    /// Where an open fate stands; pages before it are done with.
    #[inline]
    fn page_of(&mut self, number: u64) -> (&Arc<Page>, usize) {
        let (wanted, place) = at(number);
        if let Some(older) = &mut self.older {
            while older.front().is_some_and(|page| page.number < wanted) {
                older.pop_front();
            }
            if older.is_empty() {
                // It lies elsewhere, and every reader would look there.
                self.older = None;
            }
        }
        let older = self.older.as_ref().and_then(|older| older.front());
        let page = older.or(self.newest.as_ref());
        (page.expect("invariant 2: it is open"), place)
    }
}

/// The page of a number, and the place there.
#[inline]
fn at(number: u64) -> (u64, usize) {
    let places = u64::from(PLACES);
    let place = usize::try_from(number % places).expect("it is below 64");
    (number / places, place)
}

/// An inbox that is gone with its manager was not read.
impl Drop for Fates {
    fn drop(&mut self) {
        let older = self.older.iter().flat_map(|older| older.iter());
        for page in older.chain(&self.newest) {
            for place in 0..page.fates.0.len() {
                page.end(place);
            }
        }
    }
}

impl Page {
    fn new(number: u64) -> Self {
        Self {
            fates: Line(std::array::from_fn(|_| AtomicU8::new(OPEN))),
            number,
            told: Notify::const_new(),
        }
    }

    /// Writes the fate down; tells whether somebody is to be woken.
    #[inline]
    fn put(&self, place: usize, word: u8) -> bool {
        self.fates.0[place].swap(word, Ordering::AcqRel) == AWAITED
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
        match self.fates.0[place].load(Ordering::Acquire) {
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
            let fate = &page.fates.0[*place];
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
