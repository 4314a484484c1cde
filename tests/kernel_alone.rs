//! The kernel compiles as a crate of its own: whatever it imports of ours breaks this build.
//!
//! Not here: its proofs. The library declares them beside the kernel, so they do not run twice.

// The library uses, documents and re-exports what looks unused from here.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

#[path = "../src/kernel/mod.rs"]
mod kernel;

use kernel::Seq;

/// A kernel that compiles here is enough; a name of it in use keeps the file from being optional.
#[test]
fn kernel_stands_alone() {
    assert!(std::mem::size_of::<Seq>() > 0);
}
