//! The place of a file: who may look into its folder, and who writes it.
//!
//! # Invariants
//! 1. A lock on a file beside it is held as long as the store is open; the file says by whom.
//! 2. What others could read or exchange is refused, never mended in silence.
//! 3. The file itself is never opened here once SQLite has: closing it would free SQLite's locks.
//!
//! *Not here*: what is in the file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::OpenError;

/// What every file of SQLite begins with.
const HEADER: &[u8] = b"SQLite format 3\0";
/// The least that one has.
const HEADER_BYTES: u64 = 512;

/// A place that is ours to write.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    lock: File,
    /// Which generation of the file its log belongs to, if that is known.
    generation: Option<u64>,
}

impl Place {
    /// Checks the place and holds it. The file is made if it is not there; its log, if there is
    /// one, is brought to the disk by `sync`.
    pub(super) fn take(
        path: &Path,
        sync: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, OpenError> {
        let error = |source: io::Error| OpenError::Unavailable {
            path: path.to_owned(),
            source: Box::new(source),
        };
        // Later the process may work in another folder.
        let path = &std::path::absolute(path).map_err(error)?;
        let folder = folder_of(path);
        check_folder(&folder)?;
        check_file(path)?;
        let log = beside(path, "-wal");
        let lock_path = beside(path, ".lock");
        check_file(&lock_path)?;
        let lock = ours(OpenOptions::new().read(true).write(true).create(true));
        let lock = lock.open(&lock_path);
        let mut lock = lock.map_err(error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.to_owned();
                let pid = noted(&mut lock).0;
                return Err(OpenError::InUse { path, pid });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        check_log(path)?;
        let (_, generation) = noted(&mut lock);
        write_note(&mut lock, Some(std::process::id()), generation).map_err(error)?;
        // What a process that was killed had written and not synced could be read now, and told,
        // and still be lost with the next power cut.
        sync(&log).map_err(error)?;
        let mut options = OpenOptions::new();
        match ours(options.write(true).create_new(true)).open(path) {
            // So that nobody else can read it from its first byte on.
            Ok(_made) => sync_folder(&folder).map_err(error)?,
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(error(source)),
        }
        // What was put there meanwhile.
        check_file(path)?;
        check_size(path)?;
        let path = path.to_owned();
        Ok(Self {
            path,
            lock,
            generation,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Which generation of the file its log belongs to, if that is known.
    pub(super) fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// Notes that for the next one.
    pub(super) fn note(&mut self, generation: Option<u64>) -> io::Result<()> {
        self.generation = None;
        write_note(&mut self.lock, Some(std::process::id()), generation)?;
        self.lock.sync_data()?;
        self.generation = generation;
        Ok(())
    }

    /// Whether there is something in the log.
    pub(super) fn has_log(&self) -> bool {
        bytes(&beside(&self.path, "-wal")) > 0
    }
}

impl Drop for Place {
    /// Whoever looks into the lock from now on finds nobody.
    fn drop(&mut self) {
        if let Err(error) = write_note(&mut self.lock, None, self.generation) {
            tracing::debug!(%error, "the lock still names this process");
        }
    }
}

/// A file beside another one, as SQLite names its own.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a file begins as those of SQLite do. It must not be open in this process.
pub(super) fn has_header(path: &Path) -> bool {
    let mut found = [0; HEADER.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut found));
    read.is_ok() && found == *HEADER
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Who wrote its number into the lock, and which generation the log belongs to.
fn noted(lock: &mut File) -> (Option<u32>, Option<u64>) {
    let mut text = String::new();
    if lock.read_to_string(&mut text).is_err() {
        return (None, None);
    }
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    (pid, lines.next().and_then(|line| line.parse().ok()))
}

fn write_note(lock: &mut File, pid: Option<u32>, generation: Option<u64>) -> io::Result<()> {
    let text = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
    let note = format!("{}\n{}\n", text(pid.map(u64::from)), text(generation));
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(note.as_bytes())
}

/// How long a file is; nothing when it is not there.
fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// SQLite begins anew where there is no file, and removes the log that is left of it.
fn check_log(path: &Path) -> Result<(), OpenError> {
    if bytes(path) == 0 && bytes(&beside(path, "-wal")) > 0 {
        let why = "its log (-wal) is there, and it is not; without it, the log is of no use";
        return Err(OpenError::damaged(path, why));
    }
    Ok(())
}

/// Brings a log to the disk, if it is there.
pub(super) fn sync_log(log: &Path) -> io::Result<()> {
    match File::open(log) {
        Ok(log) => log.sync_data(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who reads needs the same place as who writes.
pub(super) fn check_to_read(path: &Path) -> Result<(), OpenError> {
    check_folder(&folder_of(path))?;
    check_file(path)?;
    check_log(path)
}

/// A new file is in its folder when the folder is on the disk, too.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Files made this way are for nobody else.
fn ours(options: &mut OpenOptions) -> OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.clone()
}

fn refuse(path: &Path, problem: &'static str, advice: String) -> OpenError {
    let path = path.to_owned();
    OpenError::Unsafe {
        path,
        problem,
        advice,
    }
}

/// The folder is there, is one, and not everybody can exchange files in it.
pub(super) fn check_folder(folder: &Path) -> Result<(), OpenError> {
    let metadata = fs::symlink_metadata(folder).map_err(|source| OpenError::Unavailable {
        path: folder.to_owned(),
        source: Box::new(source),
    })?;
    if metadata.is_symlink() {
        let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let advice = format!("use the folder it leads to: {}", real.display());
        return Err(refuse(folder, "is a symbolic link", advice));
    }
    if !metadata.is_dir() {
        let advice = "choose a path in a folder".to_owned();
        return Err(refuse(folder, "is no folder", advice));
    }
    let mode = mode(&metadata);
    if mode & 0o002 != 0 {
        let advice = "make a folder of your own for it (mkdir -m 700)".to_owned();
        return Err(refuse(folder, "can be written by everybody", advice));
    }
    // That of a group passes: many systems give each user one of its own, and write for it.
    Ok(())
}

/// The file, if it is there, is one, and only we can read it.
pub(super) fn check_file(path: &Path) -> Result<(), OpenError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(OpenError::Unavailable {
                path: path.to_owned(),
                source: Box::new(source),
            });
        }
    };
    if metadata.is_symlink() {
        let advice = "use the path that it leads to".to_owned();
        return Err(refuse(path, "is a symbolic link", advice));
    }
    if !metadata.is_file() {
        let advice = "choose another path".to_owned();
        return Err(refuse(path, "is no file", advice));
    }
    if links(&metadata) > 1 {
        let advice = "keep one of its names, with the -wal beside that, and remove the others";
        return Err(refuse(
            path,
            "has several names (hard links)",
            advice.into(),
        ));
    }
    if mode(&metadata) & 0o077 != 0 {
        let advice = format!("take that away: chmod 600 {}", path.display());
        return Err(refuse(path, "can be read or written by others", advice));
    }
    Ok(())
}

/// SQLite takes what is too short to be a file of its own for a new one.
fn check_size(path: &Path) -> Result<(), OpenError> {
    if !(1..HEADER_BYTES).contains(&bytes(path)) {
        return Ok(());
    }
    if has_header(path) {
        return Err(OpenError::damaged(path, "it is too short"));
    }
    let path = path.to_owned();
    Err(OpenError::Foreign { path })
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions())
}

#[cfg(unix)]
fn links(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn links(_metadata: &fs::Metadata) -> u64 {
    1
}

#[cfg(not(unix))]
fn mode(_metadata: &fs::Metadata) -> u32 {
    0
}
