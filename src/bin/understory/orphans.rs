//! Adopting orphans, and finding the processes directly below this one.
//!
//! # Invariants
//! 1. On Linux, once [`adopt`] was called, every process below this one stays below it until it is
//!    reaped. So a process without children has no descendants at all.
//! 2. The numbers of processes that `/proc` tells are those of this process's own namespace, once
//!    [`check`] has passed.
//! 3. On other systems nobody is adopted, [`children`] is empty, and [`is_below`] and [`branch`]
//!    cannot tell.
//!
//! *Not here*: who is to be killed (`shim::family`, `process::keeper`).

use std::io;

use rustix::process::Pid;

#[cfg(target_os = "linux")]
pub(crate) use linux::{adopt, branch, check, children, is_below};

#[cfg(target_os = "linux")]
mod linux {
    use super::{Pid, io};
    use std::fs;
    use std::path::{Path, PathBuf};

    /// How often is looked for the way up while it changes.
    const LOOKS_MAX: usize = 16;
    /// Longest way up that is followed.
    const DEPTH_MAX: usize = 4_096;

    /// Whether `/proc` is there, and tells of the processes that this one knows by their numbers.
    ///
    /// # Errors
    /// It is not, or does not: a number from it may be that of any other process.
    pub(crate) fn check() -> io::Result<()> {
        if is_own(fs::read_link("/proc/self"), rustix::process::getpid()) {
            return Ok(());
        }
        Err(io::Error::other(
            "it needs the /proc of its own PID namespace; mount it (`mount -t proc proc /proc`)",
        ))
    }

    /// Whether this is what `/proc/self` is for a process of this number.
    fn is_own(itself: io::Result<PathBuf>, number: Pid) -> bool {
        itself.is_ok_and(|itself| itself == Path::new(&number.to_string()))
    }

    /// From now on, what is orphaned below this process becomes its child.
    pub(crate) fn adopt() -> io::Result<()> {
        // The call takes any process id for "yes".
        Ok(rustix::process::set_child_subreaper(Some(
            rustix::process::getpid(),
        ))?)
    }

    /// The children of this process that are not reaped yet, dead or alive.
    ///
    /// One that is orphaned at this very moment may be missing; it shows in a later call.
    pub(crate) fn children() -> io::Result<Vec<Pid>> {
        match listed() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => searched(),
            listed => listed,
        }
    }

    /// Asks the kernel for its lists, one for each thread. Not every kernel is built with them.
    fn listed() -> io::Result<Vec<Pid>> {
        let mut children = Vec::new();
        for thread in fs::read_dir("/proc/self/task")? {
            match fs::read_to_string(thread?.path().join("children")) {
                Ok(list) => children.extend(list.split_whitespace().filter_map(pid)),
                // A thread may have ended since, but the main thread has not.
                Err(_) if fs::exists("/proc/thread-self/children")? => {}
                Err(error) => return Err(error),
            }
        }
        Ok(children)
    }

    /// Looks at the parent of every process.
    fn searched() -> io::Result<Vec<Pid>> {
        let own = rustix::process::getpid();
        let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
        let pids = entries.filter_map(|entry| pid(entry.file_name().to_str()?));
        Ok(pids.filter(|pid| parent(*pid) == Some(Some(own))).collect())
    }

    /// The parent of a process that is there; the first process of all has none.
    #[allow(clippy::option_option)] // Not there and without a parent are two answers.
    fn parent(process: Pid) -> Option<Option<Pid>> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name of the program stands in brackets and may hold anything, brackets too.
        let (_, after_name) = stat.rsplit_once(')')?;
        let parent = after_name.split_whitespace().nth(1)?.parse().ok()?;
        Some(Pid::from_raw(parent))
    }

    /// Whether a process is `top` or hangs below it; `None` when nobody can tell.
    pub(crate) fn is_below(process: Pid, top: Pid) -> Option<bool> {
        Some(way_up(process, top)?.ends_with(&[top]))
    }

    /// The child of `top` that a process is or hangs below, if it does and somebody can tell.
    pub(crate) fn branch(process: Pid, top: Pid) -> Option<Pid> {
        match way_up(process, top)?.as_slice() {
            [.., child, last] if *last == top => Some(*child),
            _ => None,
        }
    }

    /// A process and those above it, up to `top` or the first process of all.
    fn way_up(process: Pid, top: Pid) -> Option<Vec<Pid>> {
        // A process on the way up may end, and what is below it hangs higher: then look again.
        (0..LOOKS_MAX).find_map(|_| climb(process, top))
    }

    fn climb(process: Pid, top: Pid) -> Option<Vec<Pid>> {
        let mut way = vec![process];
        let mut at = process;
        while at != top && way.len() < DEPTH_MAX {
            match parent(at)? {
                Some(parent) => at = parent,
                None => return Some(way),
            }
            way.push(at);
        }
        (at == top).then_some(way)
    }

    fn pid(text: &str) -> Option<Pid> {
        Pid::from_raw(text.parse().ok()?)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::process::{Command, Stdio};

        #[test]
        fn proc_of_another_namespace_or_none_is_not_our_own() {
            let own = rustix::process::getpid();
            let other = Pid::from_raw(own.as_raw_nonzero().get() + 1).expect("it is a number");
            let itself = || fs::read_link("/proc/self");
            assert!(is_own(itself(), own));
            assert!(!is_own(itself(), other));
            assert!(!is_own(Err(io::ErrorKind::NotFound.into()), own));
            assert!(check().is_ok());
        }

        #[test]
        fn both_ways_find_a_child_until_it_is_reaped() {
            let mut child = Command::new("cat")
                .stdin(Stdio::piped())
                .spawn()
                .expect("cat is everywhere");
            let pid = Pid::from_child(&child);

            assert!(listed().expect("proc is mounted").contains(&pid));
            assert!(searched().expect("proc is mounted").contains(&pid));
            let own = rustix::process::getpid();
            assert_eq!(is_below(pid, own), Some(true));
            assert_eq!(is_below(own, pid), Some(false));
            assert_eq!(branch(pid, own), Some(pid));
            assert_eq!((branch(own, own), branch(own, pid)), (None, None));
            drop(child.stdin.take());
            child.wait().expect("it was not reaped before");

            assert!(!listed().expect("proc is mounted").contains(&pid));
            assert!(!searched().expect("proc is mounted").contains(&pid));
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn adopt() -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_below(_process: Pid, _top: Pid) -> Option<bool> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn branch(_process: Pid, _top: Pid) -> Option<Pid> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn children() -> io::Result<Vec<Pid>> {
    Ok(Vec::new())
}
