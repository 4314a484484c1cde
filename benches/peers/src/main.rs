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

/// The level up to which a measured program listens to spans and events, if it does.
const TRACE: &str = "TRACE";

fn main() -> std::process::ExitCode {
    if let Ok(level) = std::env::var(TRACE) {
        let Ok(level) = level.parse::<tracing_subscriber::filter::LevelFilter>() else {
            eprintln!("{TRACE}={level}: it is one of off, error, warn, info, debug and trace");
            return std::process::ExitCode::FAILURE;
        };
        let lines = tracing_subscriber::fmt().with_max_level(level);
        lines.with_writer(std::io::sink).init();
    }
    let mut peers = bench::peers();
    peers.push(&awaken::Awaken);
    peers.push(&kameo::Kameo);
    peers.push(&erlang::Erlang);
    bench::main(&peers)
}
