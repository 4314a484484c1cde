//! What `ractor` 0.16.5 really does, kept as tests: each is one probe of the substrate.
//!
//! They are named after their number, S1 to S16, so that an upgrade which changes one of them is
//! noticed by the name of the decision that leaned on it. Each asserts what *is*, not what one
//! would wish; its comment says what follows for us.
//!
//! | probes | module |
//! | --- | --- |
//! | S1–S3, S14, S16: how an actor ends and who hears of it | `endings` |
//! | S4–S8: what a turn, a stop and a kill can and cannot do | `stopping` |
//! | S9, S12: spawning and stopping in numbers | `numbers` |
//! | S10, S11, S13: mailboxes, ports and names | `shared` |
//!
//! Not here: times and bytes. S12 was a measurement (27 µs and 6.7 KiB for a linked actor); what
//! can be counted of it is counted here, the rest is the workload `live` of `benches/table.rs`.
//! S15 (what an fsync costs) has nothing to count without a store and stands there too, as
//! `fsync`.

mod endings;
mod numbers;
mod puppet;
mod shared;
mod stopping;
