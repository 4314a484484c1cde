//! The binary `understory`.
mod plan;
fn main() {
    let _ = plan::Plan::parse("a", "b").map(|p| p.tasks.len());
}
