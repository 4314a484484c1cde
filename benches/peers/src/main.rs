//! The table of `benches/table`, with the peers that an ordinary build should not compile.

mod awaken;
#[path = "../../table/bench/mod.rs"]
mod bench;
mod erlang;
mod kameo;

/// With the feature `mimalloc`, what an application gains that chooses this allocator.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let mut peers = bench::peers();
    peers.push(&awaken::Awaken);
    peers.push(&kameo::Kameo);
    peers.push(&erlang::Erlang);
    bench::main(&peers)
}
