//! Where the records of runs are: one file a run, chosen by the user or in a folder of our own.
//!
//! # Invariants
//! 1. A file holds one run. A new one never goes into a file that tells of another.
//! 2. Of the files in our own folder the newest [`FILES_MAX`] are kept, and those in use.
//!
//! *Not here*: what is in them (the library), going on from them (`run`).

mod claim;

use std::error::Error;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use understory::store::sqlite::OpenError;
use uuid::Uuid;

pub(crate) use claim::Claim;

/// What stands for no file.
pub(crate) const NO_FILE: &str = ":memory:";
/// Files that are kept in our own folder.
const FILES_MAX: usize = 100;
/// Longest part of a plan's name in the name of a file.
const STEM_BYTES_MAX: usize = 64;
/// Digits of the time of a run, and of its dice, in the name of a file.
const TIME_DIGITS: usize = 16;
/// How the names of files end.
const EXTENSION: &str = ".db";
/// What stands beside a file, by the ends of the names.
const BESIDE: [&str; 4] = ["-wal", "-shm", ".processes", ".lock"];

/// Why records cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    /// It was asked wrongly.
    #[error("{0}")]
    Asked(String),
    #[error("{}", with_causes(.0))]
    Open(#[from] OpenError),
    #[error("{0}")]
    Store(String),
    #[error("{}: {source}; name a file with --db, or keep no records with --no-db", path.display())]
    System { path: PathBuf, source: io::Error },
}

impl RecordsError {
    /// Whether the command was used wrongly, whatever the file is like.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::Asked(_) => true,
            Self::Open(_) | Self::Store(_) | Self::System { .. } => false,
        }
    }
}

/// An error and what led to it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Where a run keeps its records.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// In a new file of our own folder, or when it goes on, in the newest one of its plan.
    Own {
        plan: PathBuf,
    },
    File(PathBuf),
    /// Nowhere.
    Memory,
}

impl Choice {
    /// The file of a new run, whose folder is there; `None` for memory.
    pub(crate) fn new_file(&self) -> Result<Option<PathBuf>, RecordsError> {
        match self {
            Self::Memory => Ok(None),
            Self::File(path) => Ok(Some(path.clone())),
            Self::Own { plan } => {
                let folder = own_folder()?;
                let failed = |source| RecordsError::System {
                    path: folder.clone(),
                    source,
                };
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700);
                builder.create(&folder).map_err(failed)?;
                remove_oldest(&folder);
                let time = Uuid::now_v7().simple().to_string();
                let name = format!("{}{}{EXTENSION}", prefix(plan), &time[..TIME_DIGITS]);
                Ok(Some(folder.join(name)))
            }
        }
    }

    /// The file of a run that is to go on, which is there.
    pub(crate) fn old_file(&self) -> Result<PathBuf, RecordsError> {
        let asked = |text: String| Err(RecordsError::Asked(text));
        match self {
            Self::Memory => asked("a run without a file cannot go on; name one with --db".into()),
            Self::File(path) if path.exists() => Ok(path.clone()),
            Self::File(path) => asked(format!(
                "there is no file {}; a run that was never begun is begun without --resume",
                path.display()
            )),
            Self::Own { plan } => {
                let folder = own_folder()?;
                let prefix = prefix(plan);
                let mut files = files(&folder);
                files.retain(|file| name(file).starts_with(&prefix));
                files.pop().map_or_else(
                    || {
                        asked(format!(
                            "no records of {} are in {}; name their file with --db, \
                             or begin without --resume",
                            plan.display(),
                            folder.display()
                        ))
                    },
                    Ok,
                )
            }
        }
    }
}

/// The file of the newest run in our own folder.
pub(crate) fn newest() -> Option<PathBuf> {
    files(&own_folder().ok()?).pop()
}

/// The file beside another one with this end of its name.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// `$XDG_STATE_HOME/understory`, or where that is by default.
fn own_folder() -> Result<PathBuf, RecordsError> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME");
    let state = state.or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("understory")).ok_or_else(|| {
        RecordsError::Asked(
            "neither XDG_STATE_HOME nor HOME says where records go; \
             name a file with --db, or keep no records with --no-db"
                .to_owned(),
        )
    })
}

/// How the names of the files of a plan begin: its name, and what tells it from its namesakes.
fn prefix(plan: &Path) -> String {
    let whole = fs::canonicalize(plan).unwrap_or_else(|_| plan.to_owned());
    let mut hash: u32 = 0x811c_9dc5;
    for byte in whole.as_os_str().as_encoded_bytes() {
        // FNV-1a: the same on every system and in every version.
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    let stem = whole.file_stem().unwrap_or_default().to_string_lossy();
    let is_safe = |it: char| it.is_ascii_alphanumeric() || "._".contains(it);
    let stem: String = stem
        .chars()
        .map(|it| if is_safe(it) { it } else { '_' })
        .take(STEM_BYTES_MAX)
        .collect();
    format!("{stem}-{hash:08x}-")
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// When the run of a file began, as the name tells it.
fn time(file: &Path) -> Option<String> {
    let name = name(file);
    let (_, time) = name.strip_suffix(EXTENSION)?.rsplit_once('-')?;
    let is_time = time.len() == TIME_DIGITS && time.bytes().all(|it| it.is_ascii_hexdigit());
    is_time.then(|| time.to_owned())
}

/// The files of runs in our own folder, the newest one last.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<_> = paths
        .filter_map(|path| Some((time(&path)?, path)))
        .collect();
    files.sort_unstable();
    files.into_iter().map(|(_, path)| path).collect()
}

/// Makes room for one more file.
fn remove_oldest(folder: &Path) {
    let files = files(folder);
    let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
    for file in files.iter().take(surplus) {
        // Whoever uses it holds its lock; what cannot be removed now is tried again by the next.
        let lock = File::options().write(true).open(beside(file, ".lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok() && fs::remove_file(file).is_ok()) {
            for end in BESIDE {
                let _ = fs::remove_file(beside(file, end));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A new folder that only its owner can use, whatever the umask is.
    pub(crate) fn private_folder() -> tempfile::TempDir {
        let mut builder = tempfile::Builder::new();
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        builder.tempdir().expect("there is a temporary directory")
    }

    #[test]
    fn newest_files_are_kept_and_those_in_use() {
        let folder = private_folder();
        let path = |number: usize| folder.path().join(format!("a-00000000-{number:016x}.db"));
        for number in 0..FILES_MAX + 3 {
            for path in [path(number), beside(&path(number), ".lock")] {
                fs::write(path, "").expect("the directory is ours");
            }
        }
        let used = File::open(beside(&path(0), ".lock")).expect("it was made");
        used.lock().expect("nobody holds it");

        remove_oldest(folder.path());

        let left = files(folder.path());
        assert_eq!(
            left.len(),
            FILES_MAX,
            "one more is coming, and one is in use"
        );
        assert_eq!(left[0], path(0));
        assert_eq!(left[1], path(4));
        assert!(!beside(&path(1), ".lock").exists());
    }

    #[test]
    fn plans_of_one_name_have_files_of_their_own() {
        let one = prefix(Path::new("/no/such/one/PLAN.toml"));
        let other = prefix(Path::new("/no/such/other/PLAN.toml"));
        assert!(one.starts_with("PLAN-") && other.starts_with("PLAN-"));
        assert_ne!(one, other);
    }
}
