//! Who is measured.
//!
//! Every peer does the same work with what it has; where it has nothing of the kind it says so by
//! `None`, and gets no row.

mod bare_ractor;
mod disk;
mod join_set;
mod ours;
mod plain;

use std::future::Future;
use std::pin::Pin;

use super::sample::Sample;
use super::workload::Workload;

pub(crate) use bare_ractor::BareRactor;
pub(crate) use disk::Disk;
pub(crate) use join_set::InJoinSet;
pub(crate) use ours::Ours;
pub(crate) use plain::Plain;

/// A measurement under way; it is run on a fresh runtime in a process of its own.
pub(crate) type Measuring = Pin<Box<dyn Future<Output = Sample> + Send>>;

pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// How much of the workload it takes, if it has anything of the kind.
    fn size(&self, workload: Workload) -> Option<usize>;

    /// Called only for workloads that have a size.
    fn measure(&self, workload: Workload, size: usize) -> Measuring;
}
