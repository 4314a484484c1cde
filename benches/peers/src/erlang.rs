//! An Erlang supervisor, where `escript` is installed (Debian: `erlang-base`).
//!
//! `erlang.erl` measures itself on as many schedulers as the other peers have threads; an operation
//! is what it is for them, except that deeper trees are not measured. Its CPU time is its own
//! runtime's count, in milliseconds.

use std::process::Command;

use crate::bench::{Measuring, Peer, Sample, Shape, Workload};

/// Temporary children of a `simple_one_for_one` supervisor.
pub(crate) struct Erlang;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/erlang.erl");

/// Two schedulers, and room for all processes of a workload.
const FLAGS: &str = "+S 2:2 +P 2000000";

impl Peer for Erlang {
    fn name(&self) -> &'static str {
        "erlang, supervisor"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        let does = match workload {
            Workload::Complete
            | Workload::Live
            | Workload::Cancel(Shape::Flat)
            | Workload::Inbox { .. }
            | Workload::Events { .. } => is_installed(),
            _ => false,
        };
        does.then(|| Box::pin(async move { measured(&workload.name(), size) }) as Measuring)
    }
}

fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("escript").is_file())
}

fn measured(workload: &str, size: usize) -> Sample {
    let output = Command::new("escript")
        .env("ERL_FLAGS", FLAGS)
        .args([PROGRAM, workload, &size.to_string()])
        .output()
        .expect("it is installed");
    let told = String::from_utf8_lossy(&output.stdout);
    told.parse().unwrap_or_else(|problem| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!("escript says {problem}: {complaint}")
    })
}
