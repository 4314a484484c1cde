//! The order of the measurements: repetition by repetition, all peers in each, there and back.
//!
//! Each measurement is a child process of the same program, so none inherits the heap, the
//! threads or the caches of another.

use std::process::{Command, Stdio};

use super::workload::Workload;
use super::{Options, Peer, Sample, report};

/// The first argument of a child process.
pub(crate) const ONCE: &str = "--measure-once";

/// The runtime of every peer; more threads would measure the machine.
const WORKER_THREADS: usize = 2;

/// All samples of one peer in one workload, a repetition each.
pub(crate) struct Row {
    pub(crate) peer: &'static str,
    pub(crate) size: usize,
    /// It is read among so many tasks.
    pub(crate) among: Option<usize>,
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    /// What was measured of it.
    pub(crate) fn workload(&self, workload: Workload) -> Workload {
        self.among.map_or(workload, |tasks| workload.among(tasks))
    }

    /// By which number the workload grows.
    pub(crate) fn tasks(&self) -> usize {
        self.among.unwrap_or(self.size)
    }
}

pub(crate) fn measure_all(
    options: &Options,
    peers: &[&'static dyn Peer],
) -> Result<Vec<(Workload, Vec<Row>)>, String> {
    let mut results = Vec::new();
    // A name that is one is no part of others.
    let is_name = peers.iter().any(|peer| peer.name() == options.peer);
    let is_meant = |name: &str| name == options.peer || !is_name && name.contains(&options.peer);
    for workload in chosen(options) {
        let mut rows: Vec<Row> = peers
            .iter()
            .filter(|peer| is_meant(peer.name()))
            .filter(|peer| peer.measure(workload, 1).is_some())
            .flat_map(|peer| rows(options, workload, *peer))
            .collect();
        if rows.is_empty() {
            continue;
        }
        for repetition in 0..options.repetitions {
            report::progress(&workload.name(), repetition, options.repetitions);
            for place in order(rows.len(), repetition) {
                let sample = in_child(workload, &rows[place])?;
                rows[place].samples.push(sample);
            }
        }
        results.push((workload, rows));
    }
    Ok(results)
}

/// There and back, as it matters who was measured before, and from another one on, so that none is
/// measured twice in a row (of three or more; two take turns).
fn order(rows: usize, repetition: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.rotate_left(repetition % rows);
    if repetition % 2 == 1 {
        order.reverse();
    }
    order
}

/// What is measured, once each; the command line may say among how many tasks something is read.
fn chosen(options: &Options) -> Vec<Workload> {
    let all = if options.growth {
        &Workload::GROWING[..]
    } else {
        &Workload::ALL[..]
    };
    let mut chosen: Vec<Workload> = Vec::new();
    for workload in all {
        let workload = options
            .tasks
            .map_or(*workload, |tasks| workload.among(tasks));
        if workload.name().contains(&options.only) && !chosen.contains(&workload) {
            chosen.push(workload);
        }
    }
    chosen
}

/// What is measured of a peer: the size of the workload, or powers of ten up to it.
fn rows(options: &Options, workload: Workload, peer: &dyn Peer) -> Vec<Row> {
    let own = peer.size(workload);
    // A peer that takes less than others do not is left with that.
    let wanted = options
        .tasks
        .filter(|_| workload.is_about_tasks() && own == workload.size());
    let divided = |size: usize| (size / options.divide).max(1);
    let size = divided(wanted.unwrap_or(own));
    let row = |size, among| Row {
        peer: peer.name(),
        size,
        among,
        samples: Vec::new(),
    };
    let powers = (3..7).map(|power| 10_usize.pow(power));
    match workload.readable() {
        among if !options.growth => vec![row(size, among)],
        Some(most) => {
            let powers = powers.filter(|tasks| *tasks <= divided(most));
            powers.map(|tasks| row(size, Some(tasks))).collect()
        }
        None => powers
            .filter(|tasks| *tasks <= size)
            .map(|tasks| row(tasks, None))
            .collect(),
    }
}

fn in_child(workload: Workload, row: &Row) -> Result<Sample, String> {
    let (peer, size) = (row.peer, row.size);
    let name = row.workload(workload).name();
    let failed = |why: String| format!("{name} of {peer} with {size}: {why}");
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .args([ONCE, &name, peer, &size.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    String::from_utf8_lossy(&output.stdout)
        .parse()
        .map_err(failed)
}

pub(crate) fn measure_once(
    arguments: &[String],
    peers: &[&'static dyn Peer],
) -> Result<(), String> {
    let [workload, peer, size] = arguments else {
        return Err(format!("{ONCE} takes a workload, a peer and a size"));
    };
    let workload = Workload::named(workload).ok_or_else(|| format!("no workload {workload}"))?;
    let peer = peers
        .iter()
        .find(|known| known.name() == peer)
        .ok_or("no such peer")?;
    let size = size.parse().map_err(|_| format!("{size} is not a size"))?;
    let measuring = peer
        .measure(workload, size)
        .ok_or("it has nothing of the kind")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let sample = runtime.block_on(async {
        // The driver is a task like the others, on a worker like the others.
        tokio::spawn(measuring)
            .await
            .map_err(|error| error.to_string())
    })?;
    report::tell(&sample);
    // The leftovers of a measurement are nobody's time.
    std::process::exit(0)
}
