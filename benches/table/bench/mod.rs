//! A small harness: each measurement in a process of its own, peers interleaved, medians.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `workload` | what is measured, and how much of it |
//! | `sample` | the clocks and the memory of one measurement |
//! | `latch` | "all of them have started", "all of them have ended" |
//! | `peer` | who is measured |
//! | `series` | the order of the measurements, each a child process |
//! | `report` | medians, ratios, the table and the JSON |
//! | `page` | all workloads side by side, in a page |
//!
//! Not here: targets. A table tells; whoever reads it judges.

mod latch;
mod page;
mod peer;
mod report;
mod sample;
mod series;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

// The table with more peers, in a package of its own, is built from the same parts.
#[allow(unused_imports, reason = "used by peers outside of this package")]
pub(crate) use self::{
    latch::{Guard, Latch},
    peer::{Measuring, Peer},
    sample::{Sample, Watch},
    workload::{IN_FLIGHT, Shape, Workload},
};

const USAGE: &str = "\
usage: table [--json FILE] [--repetitions N] [--only TEXT] [--divide N] [--tasks N] [--growth]
             [--peer TEXT] [--page FILE] [--from FILE]

  --json FILE       write one object per workload and peer
  --page FILE       put all workloads side by side into a page, in place of what stands between
                    its two lines for that
  --from FILE       measure nothing, take what --json wrote
  --repetitions N   measurements per workload and peer (default 5)
  --only TEXT       only workloads whose name contains TEXT
  --peer TEXT       only the peer TEXT, or those whose names contain it
  --divide N        only 1/N of each workload, for a quick look
  --tasks N         so many tasks where the workload is about tasks
  --growth          how the cost grows from 1,000 tasks to the size of the workload";

/// What the command line asks for.
pub(crate) struct Options {
    json: Option<PathBuf>,
    page: Option<PathBuf>,
    from: Option<PathBuf>,
    repetitions: usize,
    only: String,
    peer: String,
    divide: usize,
    tasks: Option<usize>,
    growth: bool,
}

/// The peers that cost this package no further dependency. The first one is the baseline.
pub(crate) fn peers() -> Vec<&'static dyn Peer> {
    vec![
        &peer::Plain,
        &peer::InJoinSet,
        &peer::Tokens,
        &peer::Host,
        &peer::BareRactor,
        #[cfg(feature = "sqlite")]
        &peer::ByHand,
        &peer::Ours(understory::BodyHost::Actor),
        &peer::Ours(understory::BodyHost::TokioTask),
        &peer::Disk,
    ]
}

/// Measures as the command line says; a child process measures once.
pub(crate) fn main(peers: &[&'static dyn Peer]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(series::ONCE) => series::measure_once(&arguments[1..], peers),
        _ => parse(&arguments).and_then(|options| {
            if let Some(measured) = &options.from {
                return report::put(measured, &options);
            }
            if let Some(path) = &options.page {
                // A page that cannot be written is told before minutes of measuring.
                page::around(path)?;
            }
            let results = series::measure_all(&options, peers)?;
            report::publish(&options, &results)
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            report::complain(&problem);
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        json: None,
        page: None,
        from: None,
        repetitions: 5,
        only: String::new(),
        peer: String::new(),
        divide: 1,
        tasks: None,
        growth: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            rest.next()
                .ok_or_else(|| format!("{argument} needs a value\n{USAGE}"))
        };
        match argument.as_str() {
            // `cargo bench` passes this to every benchmark.
            "--bench" => {}
            "--json" => options.json = Some(value()?.into()),
            "--page" => options.page = Some(value()?.into()),
            "--from" => options.from = Some(value()?.into()),
            "--repetitions" => options.repetitions = count(value()?)?,
            "--only" => options.only.clone_from(value()?),
            "--peer" => options.peer.clone_from(value()?),
            "--growth" => options.growth = true,
            "--divide" => options.divide = count(value()?)?,
            "--tasks" => options.tasks = Some(count(value()?)?),
            _ => return Err(format!("unknown argument {argument}\n{USAGE}")),
        }
    }
    if options.growth && options.page.is_some() {
        return Err(format!("a page has no room for --growth\n{USAGE}"));
    }
    Ok(options)
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text} is not a number above 0\n{USAGE}"))
}
