//! What hosts ask of limits, budgets, scopes and kept records.

mod admission;
mod batch;
mod budgets;
mod retention;
mod runs;
mod scopes;
mod transfers;
