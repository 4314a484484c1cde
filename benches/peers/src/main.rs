//! The table of `benches/table`, with the peers that an ordinary build should not compile.

mod awaken;
#[path = "../../table/bench/mod.rs"]
mod bench;

fn main() -> std::process::ExitCode {
    let mut peers = bench::peers();
    peers.push(&awaken::Awaken);
    bench::main(&peers)
}
