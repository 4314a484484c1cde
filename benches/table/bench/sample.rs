//! The clocks and the memory of one measurement.
//!
//! Wall time is what a caller waits, CPU time is what all threads of the process use: on a busy
//! machine only the second can be compared. Memory is what the process holds, by the system's
//! count of resident pages; zero where the system does not tell.

use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The page size of every system on which `/proc/self/statm` is read.
const PAGE_BYTES: i64 = 4096;

/// What one measurement found, in total.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) operations: usize,
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
    /// How much the process has grown.
    pub(crate) rss_bytes: i64,
}

impl Sample {
    /// One operation that took so long, on a thread that did nothing else meanwhile.
    pub(crate) fn of_one(took: Duration) -> Self {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Self {
            operations: 1,
            wall_ns: ns,
            cpu_ns: ns,
            rss_bytes: 0,
        }
    }
}

/// A measurement under way.
pub(crate) struct Watch {
    clock: ClockId,
    began: Instant,
    cpu_ns: u64,
    rss_bytes: i64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self::by(ClockId::ProcessCPUTime)
    }

    /// One that counts the CPU time of this thread alone: it must be stopped there.
    pub(crate) fn start_here() -> Self {
        Self::by(ClockId::ThreadCPUTime)
    }

    fn by(clock: ClockId) -> Self {
        Self {
            clock,
            rss_bytes: rss_bytes(),
            cpu_ns: cpu_ns(clock),
            began: Instant::now(),
        }
    }

    pub(crate) fn stop(self, operations: usize) -> Sample {
        let wall = self.began.elapsed();
        Sample {
            operations,
            wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
            cpu_ns: cpu_ns(self.clock) - self.cpu_ns,
            rss_bytes: rss_bytes() - self.rss_bytes,
        }
    }
}

fn cpu_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}

fn rss_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    resident.unwrap_or(0_i64) * PAGE_BYTES
}

/// The line by which a child process tells its parent.
impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            operations,
            wall_ns,
            cpu_ns,
            rss_bytes,
        } = self;
        write!(f, "{operations} {wall_ns} {cpu_ns} {rss_bytes}")
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unreadable = || format!("not a sample: {line:?}");
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [operations, wall_ns, cpu_ns, rss_bytes] = fields[..] else {
            return Err(unreadable());
        };
        Ok(Self {
            operations: operations.parse().map_err(|_| unreadable())?,
            wall_ns: wall_ns.parse().map_err(|_| unreadable())?,
            cpu_ns: cpu_ns.parse().map_err(|_| unreadable())?,
            rss_bytes: rss_bytes.parse().map_err(|_| unreadable())?,
        })
    }
}
