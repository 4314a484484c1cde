//! What a test has to say at its end.

use std::fmt;
use std::time::Duration;

/// What the load was, and what was compared. Whoever finds a breach panics, so there was none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Total {
    pub(crate) operations: u64,
    pub(crate) worked: Duration,
    pub(crate) tasks: usize,
    pub(crate) ends: usize,
    pub(crate) messages: usize,
    pub(crate) events: usize,
    /// Bodies that changed the world, and how many of their tasks may run once only.
    pub(crate) traces: usize,
    pub(crate) once: usize,
}

impl Total {
    pub(crate) fn add(&mut self, more: Self) {
        self.operations += more.operations;
        self.worked += more.worked;
        self.tasks += more.tasks;
        self.ends += more.ends;
        self.messages += more.messages;
        self.events += more.events;
        self.traces += more.traces;
        self.once += more.once;
    }

    /// Operations a second, while there was work.
    pub(crate) fn rate(&self) -> u64 {
        let rate = u128::from(self.operations) * 1_000 / self.worked.as_millis().max(1);
        u64::try_from(rate).unwrap()
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, {} a second; of {} tasks, {} told ends, {} durable messages and {} \
             told events 0 are lost, 0 have a second end, 0 no record; 0 gaps in the numbers; of \
             {} tasks with effects {} may run once, and 0 ran too often",
            self.operations,
            self.rate(),
            self.tasks,
            self.ends,
            self.messages,
            self.events,
            self.traces,
            self.once,
        )
    }
}
