//! Proofs of the kernel.
