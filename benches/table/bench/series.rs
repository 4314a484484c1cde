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
    pub(crate) samples: Vec<Sample>,
}

pub(crate) fn measure_all(
    options: &Options,
    peers: &[&'static dyn Peer],
) -> Result<Vec<(Workload, Vec<Row>)>, String> {
    let all = if options.growth {
        Workload::GROWING.to_vec()
    } else {
        Workload::ALL.to_vec()
    };
    let chosen = all
        .into_iter()
        .filter(|it| it.name().contains(&options.only));
    let mut results = Vec::new();
    for workload in chosen {
        let mut rows: Vec<Row> = peers
            .iter()
            .filter(|peer| peer.measure(workload, 1).is_some())
            .flat_map(|peer| sizes(options, workload, *peer).map(|size| (peer.name(), size)))
            .map(|(peer, size)| Row {
                peer,
                size,
                samples: Vec::new(),
            })
            .collect();
        for repetition in 0..options.repetitions {
            report::progress(&workload.name(), repetition, options.repetitions);
            // Whoever comes second finds a warmer machine, so each is second every other time.
            let mut order: Vec<usize> = (0..rows.len()).collect();
            if repetition % 2 == 1 {
                order.reverse();
            }
            for place in order {
                let sample = in_child(workload, rows[place].peer, rows[place].size)?;
                rows[place].samples.push(sample);
            }
        }
        if !rows.is_empty() {
            results.push((workload, rows));
        }
    }
    Ok(results)
}

/// The sizes to measure for a peer with this one: that, or powers of ten up to it.
fn sizes(
    options: &Options,
    workload: Workload,
    peer: &dyn Peer,
) -> impl Iterator<Item = usize> + use<> {
    let own = peer.size(workload);
    // A peer that takes less than others do not is left with that.
    let wanted = options
        .tasks
        .filter(|_| workload.is_about_tasks() && own == workload.size());
    let most = (wanted.unwrap_or(own) / options.divide).max(1);
    let is_growth = options.growth;
    let powers = (3..7).map(|power| 10_usize.pow(power));
    let powers = powers.filter(move |size| is_growth && *size <= most);
    let one = (!is_growth).then_some(most);
    powers.chain(one)
}

fn in_child(workload: Workload, peer: &str, size: usize) -> Result<Sample, String> {
    let name = workload.name();
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
