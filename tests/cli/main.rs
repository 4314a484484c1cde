//! The binary `understory`, tried as its users do: real processes, signals and terminals.

mod check;
mod proc;
mod shim;
