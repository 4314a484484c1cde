//! A process under load is killed at random, again and again, and nothing that it had acknowledged
//! is lost.
//!
//! The child is this executable, started anew. It tells on its output what was acknowledged; the
//! parent, which lives, remembers and compares with the file.
//! `UNDERSTORY_CRASH_ROUNDS` sets how often, `UNDERSTORY_CRASH_SEED` where the dice begin,
//! `UNDERSTORY_CRASH_RATE` how many operations a second there must have been.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod child;
mod oracle;
mod total;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oracle::Oracle;
use tempfile::TempDir;
use total::Total;
use understory::store::sqlite::fail::Point;

/// The environment of a child: its folder, and when it ends itself.
const FOLDER: &str = "UNDERSTORY_CRASH_FOLDER";
const END: &str = "UNDERSTORY_CRASH_END";

/// How long a child may take until it ends itself, and how often somebody looks.
const PATIENCE: Duration = Duration::from_mins(3);
const LOOK: Duration = Duration::from_millis(50);

/// How many rounds one file lives; then another one begins.
const ROUNDS_PER_FILE: u64 = 20;

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The next number of a sequence that looks random.
fn mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *seed;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// When a child ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It is killed after this time.
    Killed(Duration),
    /// It aborts when the store has come to this point so many times.
    Fails(Point, u64),
    /// It aborts after it has acknowledged so much.
    Tells(u64),
    /// It aborts when so many bodies have changed the world.
    Traces(u64),
    /// It gets no work, and is killed when all that it had is done.
    Drained,
}

impl End {
    fn written(self) -> String {
        match self {
            Self::Killed(_) => "killed 0".to_owned(),
            Self::Fails(point, nth) => format!("{} {nth}", point.name()),
            Self::Tells(nth) => format!("tells {nth}"),
            Self::Traces(nth) => format!("traces {nth}"),
            Self::Drained => "drained 0".to_owned(),
        }
    }

    fn read(text: &str) -> Self {
        let (name, nth) = text.split_once(' ').unwrap();
        let nth = nth.parse().unwrap();
        match name {
            "killed" => Self::Killed(Duration::MAX),
            "tells" => Self::Tells(nth),
            "traces" => Self::Traces(nth),
            "drained" => Self::Drained,
            point => {
                let all = Point::ALL.into_iter();
                let point = { all }.find(|known| known.name() == point);
                Self::Fails(point.unwrap(), nth)
            }
        }
    }
}

/// Runs one child to its end; what it told goes to the oracle. Tells whether it ended itself.
fn round(folder: &Path, end: End, oracle: &mut Oracle) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_process", "--nocapture", "--quiet"]);
    command.env(FOLDER, folder).env(END, end.written());
    let stderr_path = folder.join("stderr");
    let stderr = std::fs::File::create(&stderr_path).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let (told, hears) = channel();
    let listener = std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    let limit = match end {
        End::Killed(after) => after,
        End::Fails(..) | End::Tells(_) | End::Traces(_) | End::Drained => PATIENCE,
    };
    let began = Instant::now();
    let is_over = loop {
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            break false;
        }
        match hears.recv_timeout(left.min(LOOK)) {
            Ok(line) => oracle.hear(&line),
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => {
                if matches!(end, End::Drained) && oracle.is_idle() {
                    break false;
                }
            }
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap();
    // What it had written before it died.
    for line in hears.try_iter() {
        oracle.hear(&line);
    }
    oracle.bury();
    // Who is to be killed has no reason to end before that.
    if is_over && matches!(end, End::Killed(_) | End::Drained) {
        let said = std::fs::read_to_string(stderr_path).unwrap();
        panic!("it ended before it was killed: {said}");
    }
    is_over
}

/// A folder whose files stay when the test fails.
struct Evidence(Option<TempDir>);

impl Evidence {
    fn new() -> Self {
        let mut builder = tempfile::Builder::new();
        // Whatever the umask is, no store is in a folder that others can write.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        Self(Some(builder.tempdir().unwrap()))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().expect("it is taken at the end").path()
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        let folder = self.0.take().filter(|_| std::thread::panicking());
        if let Some(folder) = folder {
            println!("its files are in {}", folder.keep().display());
        }
    }
}

#[test]
fn child_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let end = End::read(&std::env::var(END).unwrap());
        child::run(Path::new(&folder), end);
    }
}

#[test]
fn p12_killed_process_loses_nothing_that_it_acknowledged() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = number("UNDERSTORY_CRASH_SEED", u64::from(since.subsec_nanos()));
    let rounds = number("UNDERSTORY_CRASH_ROUNDS", 10);
    println!("UNDERSTORY_CRASH_SEED={seed} UNDERSTORY_CRASH_ROUNDS={rounds}");
    let mut total = Total::default();
    let mut left = rounds;
    while left > 0 {
        let folder = Evidence::new();
        let mut oracle = Oracle::new(folder.path());
        for _ in 0..left.min(ROUNDS_PER_FILE) {
            let after = Duration::from_millis(20 + mix(&mut seed) % 580);
            round(folder.path(), End::Killed(after), &mut oracle);
            oracle.check();
        }
        round(folder.path(), End::Drained, &mut oracle);
        oracle.check();
        oracle.check_done();
        left -= left.min(ROUNDS_PER_FILE);
        total.add(oracle.total());
    }
    println!("{rounds} lives were killed: {total}");
    let least = number("UNDERSTORY_CRASH_RATE", 1);
    assert!(
        total.rate() >= least,
        "the load was {} a second",
        total.rate()
    );
}

/// Dies so in a file of its own, looks, and lets another process do the rest.
fn die(end: End) {
    let folder = Evidence::new();
    let mut oracle = Oracle::new(folder.path());
    die_again(folder.path(), &[end], &mut oracle);
}

/// One process after another dies so; then somebody does the rest.
fn die_again(folder: &Path, ends: &[End], oracle: &mut Oracle) {
    for end in ends {
        let is_over = round(folder, *end, oracle);
        assert!(is_over, "it never came to {end:?}");
        oracle.check();
    }
    round(folder, End::Drained, oracle);
    oracle.check();
    oracle.check_done();
}

/// How often a process passes a point before it dies there.
fn times(point: Point) -> &'static [u64] {
    match point {
        Point::Created
        | Point::Begun
        | Point::Loaded
        | Point::Leased
        | Point::Checkpoint
        | Point::Shrink => &[1],
        Point::Commit | Point::Written | Point::Committed => &[1, 2, 3, 5, 9, 30],
    }
}

#[test]
fn p12_process_that_dies_at_any_point_of_the_store_loses_nothing_that_it_acknowledged() {
    for point in Point::ALL {
        for nth in times(point) {
            die(End::Fails(point, *nth));
        }
    }
}

#[test]
fn p12_process_that_dies_after_a_report_or_an_effect_loses_nothing_that_it_acknowledged() {
    for nth in [1, 2, 3, 30, 300] {
        die(End::Tells(nth));
        die(End::Traces(nth));
    }
}

#[test]
fn p12_processes_that_die_one_after_another_while_they_open_a_file_lose_nothing() {
    let points = [Point::Created, Point::Begun, Point::Loaded, Point::Leased];
    let folder = Evidence::new();
    let mut oracle = Oracle::new(folder.path());
    for point in points {
        let dies = End::Fails(point, 1);
        die_again(
            folder.path(),
            &[End::Tells(300), dies, dies, dies],
            &mut oracle,
        );
    }
}
