//! Starts and stops: nothing holds them up, nothing outlasts a stop, and no task is lost at the end.

use rustix::process::{Pid, getsid};

use crate::crew::{Crew, task};

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
fn task_does_not_have_the_terminal_of_the_run() {
    let script = "set -- $(cat /proc/$$/stat); echo \"session $6 terminal $7\"; read line < gate";
    let crew = Crew::new(&task("a", script, ""));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    let line = run.line_with("session");
    let pid = Pid::from_raw(i32::try_from(run.pid()).expect("it is small"));
    let session = getsid(pid).expect("it runs").as_raw_nonzero();
    crew.release("gate");

    assert!(line.ends_with(" terminal 0"), "{line}");
    assert!(!line.contains(&format!("session {session} ")), "{line}");
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn command_that_cannot_start_for_a_moment_is_tried_again() {
    let crew = Crew::new(
        "[[task]]\nname = \"a\"\ncommand = [\"./true\"]\n\
         retry = { count = 50, delay = \"100ms\" }\n",
    );
    std::fs::copy("/bin/true", crew.file("true")).expect("it is there");
    // Nothing can be executed that somebody has open to write.
    let open = std::fs::File::options()
        .append(true)
        .open(crew.file("true"));
    let open = open.expect("it is ours");
    let mut run = crew.start(&[]);
    run.error_with("attempt 1 failed: cannot start \"./true\": Text file busy");
    drop(open);

    assert_eq!(run.finish().code, Some(0));
}
