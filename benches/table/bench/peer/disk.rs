//! The disk under all durability: what one sync of it costs on this machine.

use std::io::{Seek, SeekFrom, Write};
#[cfg(feature = "sqlite")]
use std::path::{Path, PathBuf};

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

/// A folder beside the program, for the files of one measurement.
#[cfg(feature = "sqlite")]
pub(super) fn folder() -> PathBuf {
    let program = std::env::current_exe().expect("the system knows the program");
    let folder = program.with_extension("durable");
    clear(&folder);
    std::fs::create_dir(&folder).expect("the folder of the program can be written");
    folder
}

/// Removes it, also where an earlier measurement was stopped half way.
#[cfg(feature = "sqlite")]
pub(super) fn clear(folder: &Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("it is a folder of ours");
    }
}
