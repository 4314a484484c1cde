//! What is measured, and how much of it.
//!
//! Not here: how each peer does it (`peer`).

/// The form of a tree of tasks: who is whose parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One root, all others below it.
    Flat,
    /// Ten children a task.
    TenAry,
    /// One child a task.
    Chain,
}

impl Shape {
    /// The parent of the task at `place`, which comes before it; the root has none.
    pub(crate) fn parent_of(self, place: usize) -> Option<usize> {
        let above = place.checked_sub(1)?;
        Some(match self {
            Self::Flat => 0,
            Self::TenAry => above / 10,
            Self::Chain => above,
        })
    }

    /// The children of the task at `place` in a tree of `tasks`.
    pub(crate) fn children_of(self, place: usize, tasks: usize) -> std::ops::Range<usize> {
        let (first, count) = match self {
            Self::Flat if place == 0 => (1, tasks),
            Self::Flat => (tasks, 0),
            Self::TenAry => (place * 10 + 1, 10),
            Self::Chain => (place + 1, 1),
        };
        first.min(tasks)..first.saturating_add(count).min(tasks)
    }
}

/// By what the receiver of a message is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Id,
    Name,
}

/// What is told of many reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// What one takes in the mean.
    Mean,
    /// What one takes at most, but for each hundredth: by the wall clock, whose two looks are in it.
    Tail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Spawn a task that returns a number, and learn that it has; at most `IN_FLIGHT` at once.
    Complete,
    /// The same by two callers at once, each in a scope of its own.
    CompleteTwice,
    /// Spawn tasks that wait, until all have begun; what each holds of memory.
    Live,
    /// Spawn tasks that end, a few at a time; what is held of each afterwards.
    Kept,
    /// Let this many waiting tasks be; the cost is per second.
    Idle {
        tasks: usize,
    },
    /// Cancel a tree of waiting tasks, until all have ended.
    Cancel(Shape),
    /// Send numbers to this many waiting tasks in turn, until all have arrived.
    Inbox {
        children: usize,
    },
    /// The same by somebody who has no handles of them, and looks each of them up.
    InboxOf {
        children: usize,
        by: By,
    },
    /// Tell events to this many subscribers, until each has had all; the cost is per delivery.
    /// Where there is a ring, it loses none and has been filled once before the clock starts.
    Events {
        subscribers: usize,
    },
    /// Read what is known of one of this many tasks by its id.
    Get {
        tasks: usize,
    },
    /// Read the tasks of one scope in one state, 50 at a time, of this many.
    Page {
        tasks: usize,
    },
    /// Both while tasks are spawned and awaited on another thread; the CPU time is the reader's.
    GetBusy {
        tasks: usize,
        read: Reads,
    },
    PageBusy {
        tasks: usize,
    },
    /// Spawn a task once its record is durable, and learn that it has ended once that is, by this
    /// many callers at once. The file waits for the disk at each commit.
    Durable {
        callers: usize,
    },
    /// Write 4 KiB and make it durable. What a commit costs here, whoever asks for it.
    Fsync,
}

/// How many tasks of [`Workload::Complete`] may be under way.
pub(crate) const IN_FLIGHT: usize = 10_000;

/// How many tasks are written at once while others are read.
pub(crate) const AT_ONCE: usize = 16;

/// How many of [`Workload::Kept`]: what is under way is memory too.
pub(crate) const FEW: usize = 100;

impl Workload {
    pub(crate) const ALL: [Self; 27] = [
        Self::Complete,
        Self::CompleteTwice,
        Self::Live,
        Self::Kept,
        Self::Idle { tasks: 100_000 },
        Self::Cancel(Shape::Flat),
        Self::Cancel(Shape::TenAry),
        Self::Cancel(Shape::Chain),
        Self::Inbox { children: 1 },
        Self::Inbox { children: 1_000 },
        Self::InboxOf {
            children: 1,
            by: By::Id,
        },
        Self::InboxOf {
            children: 1_000,
            by: By::Id,
        },
        Self::InboxOf {
            children: 1,
            by: By::Name,
        },
        Self::InboxOf {
            children: 1_000,
            by: By::Name,
        },
        Self::Events { subscribers: 1 },
        Self::Events { subscribers: 10 },
        Self::Events { subscribers: 100 },
        Self::Get { tasks: 1_000 },
        Self::Get { tasks: 100_000 },
        Self::Page { tasks: 100_000 },
        Self::GetBusy {
            tasks: 100_000,
            read: Reads::Mean,
        },
        Self::GetBusy {
            tasks: 100_000,
            read: Reads::Tail,
        },
        Self::PageBusy { tasks: 100_000 },
        Self::Durable { callers: 1 },
        Self::Durable { callers: 16 },
        Self::Durable { callers: 256 },
        Self::Fsync,
    ];

    /// What grows with the number of tasks, and might grow faster; and what ought not to grow.
    pub(crate) const GROWING: [Self; 5] = [
        Self::Complete,
        Self::Live,
        Self::Cancel(Shape::TenAry),
        Self::Get { tasks: 100_000 },
        Self::Page { tasks: 100_000 },
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Complete => "complete".into(),
            Self::CompleteTwice => "complete-2-scopes".into(),
            Self::Live => "live".into(),
            Self::Kept => "kept".into(),
            Self::Idle { tasks } => format!("idle-{tasks}"),
            Self::Cancel(Shape::Flat) => "cancel-flat".into(),
            Self::Cancel(Shape::TenAry) => "cancel-10-ary".into(),
            Self::Cancel(Shape::Chain) => "cancel-chain".into(),
            Self::Inbox { children } => format!("inbox-{children}"),
            Self::InboxOf {
                children,
                by: By::Id,
            } => format!("inbox-{children}-by-id"),
            Self::InboxOf {
                children,
                by: By::Name,
            } => format!("inbox-{children}-by-name"),
            Self::Events { subscribers } => format!("events-{subscribers}"),
            Self::Get { tasks } => format!("get-{tasks}"),
            Self::Page { tasks } => format!("page-{tasks}"),
            Self::GetBusy {
                tasks,
                read: Reads::Mean,
            } => format!("get-{tasks}-busy"),
            Self::GetBusy {
                tasks,
                read: Reads::Tail,
            } => format!("get-{tasks}-busy-p99"),
            Self::PageBusy { tasks } => format!("page-{tasks}-busy"),
            Self::Durable { callers } => format!("durable-{callers}"),
            Self::Fsync => "fsync".into(),
        }
    }

    /// Its name without the number by which it grows.
    pub(crate) fn family(self) -> String {
        let mut name = self.name();
        if let Some(tasks) = self.readable() {
            name.truncate(name.len() - format!("-{tasks}").len());
        }
        name
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        let is_it = |workload: &Self| workload.name() == name;
        let known = Self::ALL.into_iter().find(is_it);
        known.or_else(|| {
            let tasks = name.rsplit_once('-')?.1.parse().ok()?;
            let others = Self::GROWING.into_iter();
            others.map(|workload| workload.among(tasks)).find(is_it)
        })
    }

    /// Among how many tasks something is read, where that is what it is about.
    pub(crate) fn readable(self) -> Option<usize> {
        if let Self::Get { tasks } | Self::Page { tasks } = self {
            Some(tasks)
        } else {
            None
        }
    }

    /// The same read among so many tasks; anything else is what it was.
    pub(crate) fn among(self, tasks: usize) -> Self {
        if let Self::Get { .. } = self {
            Self::Get { tasks }
        } else if let Self::Page { .. } = self {
            Self::Page { tasks }
        } else {
            self
        }
    }

    /// What one operation is, for the heading of its table.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Complete | Self::CompleteTwice => "task spawned, run and known to have completed",
            Self::Live => "task spawned and begun, then waiting",
            Self::Kept => "task that has completed, and is still known",
            Self::Idle { .. } => "second in which no task does anything",
            Self::Cancel(_) => "task cancelled and ended",
            Self::Inbox { .. } => "message sent and received",
            Self::InboxOf { .. } => "receiver looked up, message sent and received",
            Self::Events { .. } => "event delivered to one subscriber",
            Self::Get { .. } => "task read by its id",
            Self::Page { .. } => "page of 50 tasks read, by scope and state",
            Self::GetBusy {
                read: Reads::Mean, ..
            } => "task read by its id beside a writer",
            Self::GetBusy {
                read: Reads::Tail, ..
            } => "slowest of 99 in 100 such reads, by the wall clock",
            Self::PageBusy { .. } => "page of 50 tasks read beside a writer",
            Self::Durable { .. } => "task spawned and completed, both durable",
            Self::Fsync => "4 KiB written and synced",
        }
    }

    /// How many tasks, messages or events; a peer that is quadratic takes fewer.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Complete
            | Self::CompleteTwice
            | Self::Live
            | Self::Kept
            | Self::Cancel(Shape::Flat | Shape::TenAry) => 100_000,
            Self::Cancel(Shape::Chain) => 10_000,
            Self::Inbox { .. } | Self::InboxOf { .. } => 1_000_000,
            Self::Events { subscribers } => 2_000_000 / subscribers.max(20),
            Self::Get { .. } | Self::GetBusy { .. } => 2_000_000,
            Self::Idle { .. } => 10,
            Self::Page { .. } | Self::PageBusy { .. } => 2_000,
            Self::Durable { callers } => 25_600.min(1_000 * callers),
            Self::Fsync => 100,
        }
    }

    /// Whether what it holds of memory is part of its table.
    pub(crate) fn is_about_memory(self) -> bool {
        matches!(self, Self::Live | Self::Kept)
    }

    /// Whether its size is a number of tasks, which the command line may set.
    pub(crate) fn is_about_tasks(self) -> bool {
        match self {
            Self::Complete | Self::CompleteTwice | Self::Live | Self::Kept | Self::Cancel(_) => {
                true
            }
            Self::Idle { .. }
            | Self::Inbox { .. }
            | Self::InboxOf { .. }
            | Self::Events { .. }
            | Self::Get { .. }
            | Self::Page { .. }
            | Self::GetBusy { .. }
            | Self::PageBusy { .. }
            | Self::Durable { .. }
            | Self::Fsync => false,
        }
    }
}
