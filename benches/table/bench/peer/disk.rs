//! The disk under all durability: what one sync of it costs on this machine.

use std::io::{Seek, SeekFrom, Write};

use super::{Measuring, Peer};
use crate::bench::sample::{Sample, Watch};
use crate::bench::workload::Workload;

const BLOCK: [u8; 4096] = [0x5A; 4096];

/// A file beside the program.
pub(crate) struct Disk;

impl Peer for Disk {
    fn name(&self) -> &'static str {
        "file"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        let measuring = async move { sync_blocks(size).expect("the file can be written") };
        (workload == Workload::Fsync).then(|| Box::pin(measuring) as Measuring)
    }
}

fn sync_blocks(size: usize) -> std::io::Result<Sample> {
    // Not in the system's folder for temporary files: that one is often in memory.
    let path = std::env::current_exe()?.with_extension("fsync");
    let mut file = std::fs::File::create(&path)?;
    let watch = Watch::start();
    for _ in 0..size {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&BLOCK)?;
        file.sync_data()?;
    }
    let sample = watch.stop(size);
    std::fs::remove_file(path)?;
    Ok(sample)
}
