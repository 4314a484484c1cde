//! Starts and stops: nothing holds them up, nothing outlasts a stop, and no task is lost at the end.

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
