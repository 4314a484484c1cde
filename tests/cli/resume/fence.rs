//! A second attempt never runs beside what is left of the first one.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::{AT_ONCE, DB, RESUME, read, state};
use crate::crew::{Crew, Run, task};
use crate::proc::poll;

/// The first attempt of it outlives understory, as its shim is killed together with it.
fn outlived() -> (Crew, Pid) {
    let script = "exec 9> held; flock -n 9 || { echo beside > beside; exit 1; }; \
                  echo $UNDERSTORY_ATTEMPT >> a; [ $UNDERSTORY_ATTEMPT = 1 ] || exit 0; \
                  echo $$ $PPID; exec sleep 1000";
    let crew = Crew::new(&task("a", script, AT_ONCE));
    let mut run = crew.start(&DB);
    let [own, shim] = run.pids_after("a | ");
    run.kill_with(shim);
    crew.sweep();
    (crew, own)
}

fn has_open(run: &Run, file: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{}/fd", run.pid()));
    let mut files = files.into_iter().flatten().filter_map(Result::ok);
    files.any(|open| fs::read_link(open.path()).is_ok_and(|path| path.ends_with(file)))
}

#[test]
fn second_attempt_does_not_begin_beside_what_is_left_of_the_first() {
    let (crew, left) = outlived();
    let run = crew.start(&RESUME);
    // One that waits for a lock says nothing.
    poll("it to wait", || has_open(&run, "crew.db.processes"));
    assert_eq!(read(&crew, "a"), "1\n");

    kill_process(left, Signal::KILL).expect("it runs");

    let done = run.finish();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(read(&crew, "a"), "1\n2\n");
    assert!(!crew.file("beside").exists());
}

#[test]
fn run_does_not_go_on_while_processes_of_it_do_and_names_them() {
    let (crew, left) = outlived();
    let refused = crew.start(&RESUME).finish();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let why = format!(
        "processes of the run before still go on: {} (sleep); end them",
        left.as_raw_nonzero()
    );
    assert!(refused.stderr.contains(&why), "{refused:?}");
    assert_eq!(state(&crew, "a"), "running", "the file is as it was");
    kill_process(left, Signal::KILL).expect("it runs");
    assert_eq!(crew.run(&RESUME).code, Some(0));
}
