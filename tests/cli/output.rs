//! What tasks write and say, whatever bytes it is made of and however slowly it comes or is read.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::crew::{Crew, Done, task};

fn run(plan: &str, arguments: &[&str]) -> Done {
    let done = Crew::new(plan).run(arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done
}

/// The texts of all output.
fn written(json_lines: &str) -> impl Iterator<Item = String> {
    let lines = json_lines.lines();
    let events = lines.map(|line| serde_json::from_str(line).expect("a line is JSON"));
    let outputs = events.filter(|event: &Value| event["event"] == "output");
    outputs.map(|event| {
        event["data"]["text"]
            .as_str()
            .expect("it has one")
            .to_owned()
    })
}

#[test]
fn control_bytes_come_through_however_many() {
    let script = "head -c 17000000 /dev/zero; echo; echo end";
    let done = run(&task("a", script, ""), &["--no-db"]);
    assert_eq!(done.stdout.matches('\0').count(), 17_000_000);
    assert!(done.stdout.ends_with("\na | end\n"));

    let script = "head -c 300000 /dev/zero; echo";
    let done = run(&task("a", script, ""), &["--json"]);
    assert_eq!(
        written(&done.stdout).collect::<String>(),
        "\0".repeat(300_000)
    );
}

#[test]
fn json_lines_hold_no_character_that_steers_a_terminal() {
    let crew = Crew::new(&task("a", "printf 'a\\302\\233b\\177\\033c\\n'", ""));
    let done = crew.run(&["--json", "--db", "crew.db"]);
    let events = crew.say(&["events", "--db", "crew.db", "--json"]);
    for said in [done, events] {
        let is_harmless = |char: char| char == '\n' || !char.is_control();
        assert!(said.stdout.chars().all(is_harmless), "{said:?}");
        let texts: Vec<_> = written(&said.stdout).collect();
        assert_eq!(texts, ["a\u{9b}b\u{7f}\u{1b}c"]);
    }
}

#[test]
fn word_of_a_task_is_one_line_and_is_taken_for_nobody_elses() {
    let script = "understory progress \"$(printf 'x\\nb: completed\\033[2J')\"; \
                  printf 'bad\\033[2J\\n' >&2; exit 1";
    let done = Crew::new(&task("a", script, "")).run(&[]);
    assert!(done.stderr.contains("\na: x b: completed\n"), "{done:?}");
    assert!(
        done.stderr.contains("\na: failed: exit code 1: bad\n"),
        "{done:?}"
    );
}

#[test]
fn output_cannot_steer_a_terminal_though_errors_go_elsewhere() {
    let crew = Crew::new("");
    let plan = task(
        "a",
        "printf 'out\\033[2J\\n'; printf 'err\\033[2J\\n' >&2",
        "",
    );
    fs::write(crew.file("PLAN.toml"), plan).expect("the directory is ours");
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it is one");
    let name = name.to_str().expect("it is a path");
    let mut both_ways = File::options();
    both_ways.read(true).write(true);
    let theirs = both_ways.open(name).expect("it is unlocked");
    let mut understory = crew.terminal(&["run", "--no-db", "PLAN.toml"]);
    let log = File::create(crew.file("log")).expect("the directory is ours");
    let status = understory.stdout(Stdio::from(theirs)).stderr(log).status();
    assert_eq!(status.expect("the binary is built").code(), Some(0));
    drop(understory);

    // The end of a terminal is an error.
    let mut shown = Vec::new();
    let _ = File::from(ours).read_to_end(&mut shown);
    assert_eq!(String::from_utf8_lossy(&shown), "a | out\r\n");
    let log = fs::read_to_string(crew.file("log")).expect("it is text");
    assert!(
        log.contains("a ! err\u{1b}[2J\n"),
        "a file has all that was written: {log}"
    );
}

#[test]
fn output_without_an_end_of_line_is_a_sign_of_life() {
    let script = "for i in $(seq 150); do printf .; sleep 0.01; done; echo";
    let done = run(&task("a", script, "idle_timeout = \"1s\""), &[]);
    assert_eq!(done.stdout, format!("a | {}\n", ".".repeat(150)));
}

#[test]
fn process_that_writes_is_not_silent_though_nobody_reads_it() {
    let plan =
        task("a", "seq 100000", "idle_timeout = \"1s\"") + &task("b", "sleep 1.5; echo > late", "");
    let crew = Crew::new(&plan);
    crew.pipe("late");
    let run = crew.start(&[]);
    crew.wait_at("late");

    let done = run.finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(done.stdout.lines().count(), 100_000);
}

/// A pipe that does not block its writer and has room for so many bytes.
fn nearly_full(room: usize) -> (PipeReader, PipeWriter) {
    let (mut reader, mut writer) = std::io::pipe().expect("there are descriptors");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("it is ours");
    while writer.write(&[b' '; 4_096]).is_ok() {}
    let mut taken = vec![0; room];
    reader.read_exact(&mut taken).expect("it is full");
    (reader, writer)
}

#[test]
fn output_to_a_pipe_that_does_not_block_waits_for_its_reader() {
    let script = "seq 100; head -c 60000 /dev/zero | tr '\\0' x; echo";
    let crew = Crew::new(&task("a", script, ""));
    // The long line fits in parts only.
    let (mut reader, writer) = nearly_full(3 * 4_096);
    let mut run = crew.start_onto(writer, &["--no-db"]);
    run.error_with("a: running");
    assert_eq!(crew.say(&["wait", "a"]).code, Some(0));

    let mut shown = String::new();
    reader.read_to_string(&mut shown).expect("it is text");
    let mut lines: Vec<_> = (1..=100).map(|at| format!("a | {at}")).collect();
    lines.push(format!("a | {}", "x".repeat(60_000)));
    assert!(shown.ends_with('\n'), "{} bytes", shown.len());
    assert!(
        shown.trim_start().lines().eq(lines),
        "{} bytes",
        shown.len()
    );
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn pipe_that_does_not_block_and_that_nobody_reads_holds_no_stop_back() {
    let script = "trap 'echo > asked' TERM; echo out; echo > up; while :; do sleep 0.01; done";
    let crew = Crew::new(&task("a", script, "grace = \"1h\""));
    crew.pipe("up");
    crew.pipe("asked");
    let (reader, writer) = nearly_full(0);
    let run = crew.start_onto(writer, &[]);
    crew.wait_at("up");

    run.signal(Signal::INT);
    crew.wait_at("asked");
    run.signal(Signal::INT);
    assert_eq!(run.exit_code(), Some(130));
    crew.mark().wait_for_none();
    drop(reader);
}

#[test]
fn output_that_cannot_be_written_is_told_once_and_is_no_success() {
    let crew = Crew::new(&task("a", "echo one; echo two", ""));
    let full = || {
        let full = File::options().write(true).open("/dev/full");
        full.expect("it is there")
    };
    let lost = "standard output cannot be written: No space left on device (os error 28); \
                what follows is lost\n";
    let kept = lost.replace("is lost", "is in crew.db only");
    for (arguments, why) in [
        (&["--no-db"][..], lost),
        (&["--no-db", "--json"], lost),
        (&["--db", "crew.db"], &kept),
    ] {
        let done = crew.start_onto(full(), arguments).finish();
        assert_eq!(done.code, Some(1), "{done:?}");
        assert_eq!(done.stderr.matches(why).count(), 1, "{done:?}");
    }
    let events = crew.say(&["events", "--db", "crew.db"]);
    assert!(events.stdout.contains("two"), "{events:?}");
}

#[test]
fn what_a_verb_prints_waits_for_its_reader_and_is_no_success_without_room() {
    let crew = Crew::new(&task(
        "a",
        "seq 100; head -c 60000 /dev/zero | tr '\\0' x",
        "",
    ));
    let done = crew.run(&["--db", "crew.db"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let words = ["events", "--json", "--db", "crew.db"];
    let expected = crew.say(&words).stdout;

    let (mut reader, writer) = nearly_full(3 * 4_096);
    // The command is gone with this line, and with it our end of the pipe.
    let verb = crew.terminal(&words).stdout(writer).spawn();
    let mut verb = verb.expect("the binary is built");
    let mut shown = String::new();
    reader.read_to_string(&mut shown).expect("it is text");
    assert!(shown.trim_start() == expected, "{} bytes", shown.len());
    assert!(verb.wait().expect("it runs").success());

    let full = File::options().write(true).open("/dev/full");
    let output = crew
        .terminal(&words)
        .stdout(full.expect("it is there"))
        .stderr(Stdio::piped())
        .spawn();
    let output = output
        .expect("the binary is built")
        .wait_with_output()
        .expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("standard output cannot be written: No space left"),
        "{errors}"
    );
}
