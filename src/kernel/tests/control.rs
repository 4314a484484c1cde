//! What hosts ask of limits, budgets, scopes and kept records, each line of its law as a test.

mod admission;
mod budgets;
mod grants;
mod retention;
mod runs;
mod scopes;
mod slots;
mod transfers;
