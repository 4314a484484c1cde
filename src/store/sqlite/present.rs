//! Whether the files are still those that were opened: a name can be removed, or given to another
//! file, while its file is written.
//!
//! # Invariants
//! 1. What is not known of a file is not held against it.
//!
//! *Not here*: a file that is in its place and not what was written (`pen`, `database`).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::place;
use crate::store::StoreError;

/// What tells a file from another one with the same name: its device and its number there.
type Inode = (u64, u64);

/// What has become of a file that is in use.
#[derive(Debug, thiserror::Error)]
enum Absent {
    #[error("{} was removed or moved while it was in use", .0.display())]
    Removed(PathBuf),
    #[error("{} was replaced by another file while it was in use", .0.display())]
    Replaced(PathBuf),
}

/// The file and its log, as they were opened.
pub(super) struct Present(Vec<(PathBuf, Inode)>);

impl Present {
    /// Takes them for those that are open: just after the opening, under the lock of the place.
    pub(super) fn note(path: &Path) -> Self {
        let files = [path.to_owned(), place::beside(path, "-wal")];
        let known = files.into_iter().filter_map(|file| {
            let inode = fs::symlink_metadata(&file).ok().as_ref().and_then(inode)?;
            Some((file, inode))
        });
        Self(known.collect())
    }

    /// Whether what was written until now is where the next one looks for it.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (file, noted) in &self.0 {
            let absent = match fs::symlink_metadata(file) {
                Ok(metadata) if inode(&metadata).is_none_or(|found| found == *noted) => continue,
                Ok(_) => Absent::Replaced(file.clone()),
                Err(error) if error.kind() == ErrorKind::NotFound => Absent::Removed(file.clone()),
                Err(_) => continue,
            };
            let source = Box::new(absent);
            return Err(StoreError::Gone { source });
        }
        Ok(())
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps, reason = "other systems do not tell")]
fn inode(metadata: &fs::Metadata) -> Option<Inode> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn inode(_metadata: &fs::Metadata) -> Option<Inode> {
    None
}
