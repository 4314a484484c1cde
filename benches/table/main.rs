//! What a task costs, beside plain tokio, a `JoinSet`, tokens of `tokio-util` and bare linked `ractor` actors.
//!
//! `cargo bench --bench table` prints the table; `benches/peers` adds the peers that are too heavy
//! for an ordinary build. `BENCHMARKS.md` says how to read it.

mod bench;

fn main() -> std::process::ExitCode {
    bench::main(&bench::peers())
}
