//! Starts and stops: nothing holds them up, nothing outlasts a stop, and no task is lost at the end.

use rustix::process::Signal;

use crate::crew::{Crew, Run, task};
use crate::proc::session_of;

/// A plan of one task that does not fit into a small file.
fn large(command: &str) -> String {
    let message = format!("\"{}\"", "x".repeat(60_000));
    let messages = format!("messages = [{}]", vec![message; 10].join(", "));
    task("a", command, &messages)
}

/// A run whose file is full before its plan is written down, and that was asked to stop.
fn stopped_while_stuck(crew: &Crew) -> Run {
    let mut run = crew.start_with_file_limit(300, &["--db", "crew.db"]);
    run.error_with("the records cannot be written");
    run.signal(Signal::INT);
    run.error_with("stopping");
    run
}

#[test]
fn run_that_cannot_write_its_plan_down_says_so_and_can_be_stopped() {
    let crew = Crew::new(&large("true"));
    let run = stopped_while_stuck(&crew);

    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(130));
}

#[test]
fn run_that_is_stopped_while_its_plan_is_written_down_starts_nothing() {
    let crew = Crew::new(&large("echo ran"));
    let run = stopped_while_stuck(&crew);

    run.lift_limit();
    let done = run.finish();
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(130), ""),
        "{done:?}"
    );
    assert!(done.stderr.contains("a: cancelled"), "{done:?}");
}

#[test]
fn messages_that_wait_hold_no_stop_back() {
    // Its shim is stopped, so nothing of its input is ever taken.
    let stuck = task(
        "t0",
        "kill -STOP $PPID; echo ready; exec sleep 1000",
        "inbox = \"open\"\nlimits = [\"one\"]",
    );
    let next = task("t1", "echo next", "limits = [\"one\"]");
    let crew = Crew::new(&format!("[limits]\none = 1\n{stuck}{next}"));
    let mut run = crew.start(&[]);
    run.line_with("ready");
    let lines: Vec<_> = (0..600).map(|at: u32| at.to_string()).collect();
    std::fs::write(crew.file("lines"), lines.join("\n")).expect("the directory is ours");
    let lines = std::fs::File::open(crew.file("lines")).expect("it is there");
    let sent = crew.terminal(&["send", "t0"]).stdin(lines).status();
    assert_eq!(sent.expect("the binary is built").code(), Some(0));
    // More than these do not fit between understory and the shim.
    run.error_with("message from host: 250");

    let cancelled = crew.say(&["cancel", "t0", "--grace", "50ms"]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let done = run.finish();
    assert!(done.stdout.contains("t1 | next"), "{done:?}");
}

#[test]
fn run_that_stops_takes_no_task() {
    let script = "trap 'understory spawn -- true; echo asked; read line < gate; exit' TERM; \
                  echo ready; while :; do sleep 0.01; done";
    let crew = Crew::new(&task("a", script, "grace = \"1h\""));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    run.line_with("ready");
    run.signal(Signal::INT);
    run.line_with("asked");

    let refused = crew.say(&["spawn", "--", "sleep", "1000"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let why = "refused: the run ends and takes no more tasks\n";
    assert_eq!(refused.stderr, why);
    crew.release("gate");
    let done = run.finish();
    assert_eq!(done.code, Some(130), "{done:?}");
    assert!(done.stderr.contains(&format!("a ! {why}")), "{done:?}");
}

#[test]
fn task_that_joins_at_the_very_end_is_run() {
    // More than a pipe holds, and less than the throttle lets through.
    let script = "for i in $(seq 64); do head -c 2000 /dev/zero | tr '\\0' x; echo; done";
    let crew = Crew::new(&task("a", script, ""));
    let mut run = crew.start(&[]);
    run.error_with("a: running");
    assert_eq!(crew.say(&["wait", "a"]).code, Some(0));

    let spawned = crew.say(&["spawn", "--", "sh", "-c", "sleep 0.2; echo > done"]);
    assert_eq!(spawned.code, Some(0), "{spawned:?}");
    assert_eq!(run.finish().code, Some(0));
    assert!(
        crew.file("done").exists(),
        "it was told that it is accepted"
    );
}

#[test]
fn task_does_not_have_the_terminal_of_the_run() {
    let script = "set -- $(cat /proc/$$/stat); echo \"session $6 terminal $7\"; read line < gate";
    let crew = Crew::new(&task("a", script, ""));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    let line = run.line_with("session");
    let session = session_of(run.pid());
    crew.release("gate");

    assert!(line.ends_with(" terminal 0"), "{line}");
    assert!(!line.contains(&format!("session {session} ")), "{line}");
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn command_that_cannot_start_for_a_moment_is_tried_again() {
    // Temporary directories may be such that nothing in them can be executed.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("it is there");
    let program = folder.path().join("true");
    std::fs::copy("/bin/true", &program).expect("it is there");
    let crew = Crew::new(&format!(
        "[[task]]\nname = \"a\"\ncommand = [{program:?}]\n\
         retry = {{ count = 50, delay = \"100ms\" }}\n",
    ));
    // Nothing can be executed that somebody has open to write.
    let open = std::fs::File::options().append(true).open(&program);
    let open = open.expect("it is ours");
    let mut run = crew.start(&[]);
    run.error_with(&format!(
        "attempt 1 failed: cannot start {program:?}: Text file busy"
    ));
    drop(open);

    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn run_ends_though_whoever_started_it_has_blocked_its_signals() {
    let plan =
        task("short", "true", "") + &task("long", "sleep 1000 & echo > up; exec sleep 1000", "");
    let crew = Crew::new(&plan);
    crew.pipe("up");
    let mut run = crew.start_with_blocked("CHLD,INT");
    run.error_with("SIGINT is blocked by what started this run");
    crew.wait_at("up");

    assert_eq!(crew.say(&["wait", "short"]).stdout, "short completed\n");
    assert_eq!(crew.say(&["cancel", "long"]).code, Some(0));

    assert_eq!(run.finish().code, Some(1));
    assert_eq!(crew.mark().survivors(), Vec::<String>::new());
}
