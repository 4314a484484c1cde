//! What came for a body that may not have heard of it: ends of tasks below it, and answers.
//!
//! # Invariants
//! 1. As long as something was noted that was not heard, something is told.
//! 2. It does not grow with the ends: beyond some, one stands for all that follow, and stays.
//!
//! *Not here*: when a body hears (the public face), who is woken (`actors/wake.rs`).

use std::collections::BTreeSet;

use crate::kernel::{Key, TaskId};

/// Most ends that are noted one by one.
const ENDS_MAX: usize = 1_024;

/// A task, and which of the lives of its id.
pub(crate) type Life = (TaskId, u32);

#[derive(Debug, Default)]
pub(crate) struct Unheard {
    ends: BTreeSet<Life>,
    /// One of those that came when there was no room for more.
    beyond: Option<Life>,
    answers: BTreeSet<Key>,
}

/// Something that a body has not heard of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Ended(Life),
    Answered(Key),
}

impl Unheard {
    pub(crate) fn note(&mut self, news: News) {
        match news {
            News::Answered(key) => drop(self.answers.insert(key)),
            News::Ended(life) if self.ends.len() < ENDS_MAX => drop(self.ends.insert(life)),
            News::Ended(life) => self.beyond = Some(life),
        }
    }

    pub(crate) fn hear_end(&mut self, life: Life) {
        self.ends.remove(&life);
    }

    pub(crate) fn hear_answer(&mut self, key: &Key) {
        self.answers.remove(key);
    }

    /// One of what is left.
    pub(crate) fn any(&self) -> Option<News> {
        let answer = self.answers.first().cloned().map(News::Answered);
        let end = || self.ends.first().copied().or(self.beyond);
        answer.or_else(|| end().map(News::Ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(number: usize) -> Life {
        (TaskId::from_u128(number as u128), 1)
    }

    #[test]
    fn what_was_heard_is_told_no_more() {
        let key = Key::new("k").expect("it is valid");
        let mut unheard = Unheard::default();
        unheard.note(News::Ended(life(1)));
        unheard.note(News::Answered(key.clone()));
        assert_eq!(unheard.any(), Some(News::Answered(key.clone())));
        unheard.hear_answer(&key);
        assert_eq!(unheard.any(), Some(News::Ended(life(1))));
        unheard.hear_end(life(1));
        assert_eq!(unheard.any(), None);
    }

    #[test]
    fn end_of_one_life_of_an_id_is_not_that_of_the_next() {
        let mut unheard = Unheard::default();
        let (id, _) = life(1);
        unheard.note(News::Ended((id, 2)));
        unheard.hear_end((id, 1));
        assert_eq!(unheard.any(), Some(News::Ended((id, 2))));
    }

    #[test]
    fn one_end_stands_for_those_that_there_is_no_room_for() {
        let mut unheard = Unheard::default();
        for number in 0..ENDS_MAX + 10 {
            unheard.note(News::Ended(life(number)));
        }
        assert_eq!(unheard.ends.len(), ENDS_MAX);
        for number in 0..ENDS_MAX {
            unheard.hear_end(life(number));
        }
        assert_eq!(unheard.any(), Some(News::Ended(life(ENDS_MAX + 9))));
    }
}
