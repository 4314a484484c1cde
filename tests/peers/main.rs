//! Everything that four other task managers do, and none of their defects.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `mastra`, `awaken`, `n8n`, `lash` | the behaviors that their own suites test, on our face |
//! | `defects` | one test for each defect of theirs that a library can have |
//! | `harness` | what agent harnesses need, and the bugs that they report of each other |
//! | `coverage` | proof that every known row has a test, by `coverage.tsv` |
//! | `options` | proof that every option has a test, by `options.tsv` |
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod awaken;
mod coverage;
mod defects;
mod harness;
mod lash;
mod mastra;
mod n8n;
mod options;
#[allow(
    dead_code,
    reason = "shared with the tests of the face, which use all of it"
)]
#[path = "../api/stage.rs"]
mod stage;
