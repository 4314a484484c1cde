//! The binary `understory`.
mod orphans;
mod plan;
mod process;
mod shim;
mod socket;
mod wire;
fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == process::SHIM_COMMAND) {
        std::process::exit(shim::run(&args[3..]));
    }
    let _ = plan::Plan::parse("a", "b").map(|p| p.tasks.len());
}
