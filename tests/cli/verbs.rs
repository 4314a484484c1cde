//! The verbs that look, wait and stop.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::crew::{Crew, Run, task};

/// A lead with two children of different kinds, of which one has completed.
fn family() -> (Crew, Run) {
    let plan = task("lead", "read line < gate", "")
        + &task(
            "docs",
            "understory progress half; echo up; exec sleep 1000",
            "parent = \"lead\"\nkind = \"reader\"",
        )
        + &task("code", "true", "parent = \"lead\"")
        + &task("late", "echo up", "parent = \"lead\"\nafter = [\"code\"]");
    let crew = Crew::new(&plan);
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    run.line_with("| up");
    run.line_with("| up");
    assert_eq!(crew.say(&["wait", "late"]).code, Some(0));
    (crew, run)
}

/// The paths of a list.
fn paths(crew: &Crew, arguments: &[&str]) -> Vec<String> {
    let listed = crew.say(&[&["ls"], arguments].concat());
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let path = |line: &str| line.rsplit("  ").next().map(str::to_owned);
    listed.stdout.lines().filter_map(path).collect()
}

#[test]
fn lists_are_filtered_by_state_kind_and_label() {
    let (crew, run) = family();
    let spawn = [
        "spawn", "--parent", "lead", "--name", "extra", "--label", "role=x", "--", "sleep", "1000",
    ];
    assert_eq!(crew.say(&spawn).code, Some(0));
    let mut all = paths(&crew, &[]);
    all.sort_unstable();
    assert_eq!(
        all,
        ["lead", "lead/code", "lead/docs", "lead/extra", "lead/late"]
    );
    let mut ended = paths(&crew, &["--state", "completed", "--state", "failed"]);
    ended.sort_unstable();
    assert_eq!(ended, ["lead/code", "lead/late"]);
    assert_eq!(paths(&crew, &["--kind", "reader"]), ["lead/docs"]);
    assert_eq!(paths(&crew, &["--label", "role=x"]), ["lead/extra"]);
    assert!(paths(&crew, &["--label", "role=y"]).is_empty());
    assert!(paths(&crew, &["--kind", "reader", "--state", "completed"]).is_empty());

    let listed = crew.say(&["ls", "--json", "--kind", "reader"]);
    let record: Value = serde_json::from_str(&listed.stdout).expect("a record is JSON");
    assert_eq!(
        (&record["path"], &record["state"]),
        (&"lead/docs".into(), &"running".into())
    );

    let tree = crew.say(&["tree", "--label", "role=x"]);
    assert_eq!(tree.stdout, "lead running\n└─ extra running\n");
    let tree = crew.say(&["tree"]);
    assert!(tree.stdout.contains("─ docs running: half\n"), "{tree:?}");
    assert_eq!(tree.stdout.lines().count(), 5, "{tree:?}");
    crew.say(&["cancel", "lead"]);
    run.finish();
}

#[test]
fn one_task_is_shown_as_people_read_it() {
    let (crew, run) = family();
    let shown = crew.say(&["show", "lead/docs"]);
    assert_eq!(shown.code, Some(0));
    for line in [
        "path         lead/docs",
        "state        running",
        "kind         reader",
        "progress     half",
    ] {
        assert!(
            shown.stdout.lines().any(|other| other == line),
            "{line}: {shown:?}"
        );
    }
    let missing = crew.say(&["show", "lead/nobody"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing
            .stderr
            .contains("`understory ls` tells which there are"),
        "{missing:?}"
    );
    crew.say(&["cancel", "lead", "--reason", "enough"]);
    run.finish();
}

#[test]
fn cancel_of_one_leaves_what_is_below_it_to_its_policy() {
    let plan = task("lead", "echo up; sleep 1000", "")
        + &task(
            "child",
            "echo up; read line < go; echo went",
            "parent = \"lead\"\non_parent_end = \"detach\"",
        );
    for one in [true, false] {
        let crew = Crew::new(&plan);
        crew.pipe("go");
        let mut run = crew.start(&[]);
        run.line_with("up");
        run.line_with("up");
        let arguments = ["cancel", "lead", "--one"];
        let arguments = if one { &arguments[..] } else { &arguments[..2] };
        let cancelled = crew.say(arguments);
        assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
        if one {
            crew.release("go");
        }
        let done = run.finish();
        assert_eq!(done.stdout.contains("child | went"), one, "{done:?}");
        assert!(done.stderr.contains("cancelled by the user"), "{done:?}");
    }
}

#[test]
fn cancel_waits_for_the_grace_that_it_grants_and_no_longer() {
    let plan = task(
        "lead",
        "trap 'echo heard' TERM; echo up; while :; do sleep 0.01; done",
        "grace = \"1h\"",
    );
    let crew = Crew::new(&plan);
    let mut run = crew.start(&[]);
    run.line_with("lead | up");

    // The first one has an hour, the second one cuts that short.
    let mut patient = crew
        .terminal(&["cancel", "lead"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it is built");
    run.line_with("lead | heard");
    let hasty = crew.say(&["cancel", "lead", "--grace", "10ms"]);

    assert_eq!(
        (hasty.code, &*hasty.stdout),
        (Some(0), "cancelled lead\n"),
        "{hasty:?}"
    );
    assert!(patient.wait().expect("it was not waited for").success());
    let again = run.finish();
    assert_eq!(again.code, Some(1));
}

#[test]
fn wait_tells_each_end_once_also_of_those_that_ended_before() {
    let plan = task("lead", "echo up; read line < gate", "")
        + &task("quick", "true", "parent = \"lead\"")
        + &task("bad", "exit 3", "parent = \"lead\"\nafter = [\"quick\"]")
        + &task("slow", "read line < slow", "parent = \"lead\"");
    let crew = Crew::new(&plan);
    crew.pipe("gate");
    crew.pipe("slow");
    let mut run = crew.start(&[]);
    run.line_with("lead | up");

    assert_eq!(
        crew.say(&["wait", "quick"]).stdout,
        "lead/quick completed\n"
    );
    assert_eq!(crew.say(&["wait", "bad"]).stdout, "lead/bad failed\n");
    let bad = crew.say(&["wait", "bad", "quick", "bad"]);
    assert_eq!(bad.code, Some(1));
    assert_eq!(bad.stdout, "lead/quick completed\nlead/bad failed\n");
    let first = crew.say(&["wait", "--any", "bad", "quick"]);
    assert_eq!(
        (first.code, &*first.stdout),
        (Some(0), "lead/quick completed\n")
    );
    let any = crew.say(&["wait", "--any", "slow", "quick"]);
    assert_eq!(
        (any.code, &*any.stdout),
        (Some(0), "lead/quick completed\n")
    );
    let late = crew.say(&["wait", "slow", "quick", "--timeout", "1ms"]);
    assert_eq!(
        (late.code, &*late.stdout),
        (Some(124), "lead/quick completed\n")
    );
    let json = crew.say(&["wait", "--json", "quick"]);
    let record: Value = serde_json::from_str(&json.stdout).expect("a record is JSON");
    assert_eq!(record["state"], "completed");

    // One that waits across the end hears of it, as does the run's own end.
    let mut both = crew.terminal(&["wait", "quick", "slow", "lead"]);
    let mut both = both.stdout(Stdio::piped()).spawn().expect("it is built");
    let mut lines = BufReader::new(both.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().map(|line| line.expect("it is text"));
    assert_eq!(next().as_deref(), Some("lead/quick completed"));
    crew.release("slow");
    assert_eq!(next().as_deref(), Some("lead/slow completed"));
    crew.release("gate");
    assert_eq!(next().as_deref(), Some("lead completed"));
    assert!(both.wait().expect("it was not waited for").success());
    assert_eq!(run.finish().code, Some(1));
}

#[test]
fn interrupted_wait_stops_the_waiting_only() {
    let crew = Crew::new(&task("lead", "echo up; read line < gate", ""));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    run.line_with("lead | up");
    let mut wait = crew
        .terminal(&["wait", "lead"])
        .spawn()
        .expect("it is built");
    let mut follow = crew.terminal(&["events", "--since", "0", "--follow"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("it is built");
    let mut told = BufReader::new(follow.stdout.take().expect("it is piped"));
    let mut line = String::new();
    told.read_line(&mut line).expect("it is told");
    for client in [&mut wait, &mut follow] {
        // As Ctrl-C does, which a test that was started in the background would ignore.
        kill_process(Pid::from_child(client), Signal::TERM).expect("it runs");
        client.wait().expect("it was not waited for");
    }

    assert_eq!(paths(&crew, &["--state", "running"]), ["lead"]);
    crew.release("gate");
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn events_go_on_from_a_number_and_lose_nothing() {
    let plan = task(
        "lead",
        "read line < gate; echo one; read line < last; echo two",
        "",
    );
    let crew = Crew::new(&plan);
    crew.pipe("gate");
    crew.pipe("last");
    let mut run = crew.start(&["--json"]);
    let begun = run.lines_to("\"event\":\"started\"").join("\n");
    let events = |text: &str| -> Vec<Value> {
        let lines = text.lines().map(serde_json::from_str);
        lines.map(|line| line.expect("an event is JSON")).collect()
    };

    let before = events(&crew.say(&["events", "--json"]).stdout);
    let last = before.last().expect("it has started")["seq"].as_u64();
    let last = last.expect("it is a number").to_string();
    let follow = ["events", "--json", "--follow", "--since", &last];
    let follow = crew.terminal(&follow).stdout(Stdio::piped()).spawn();
    let mut follow = follow.expect("it is built");
    crew.release("gate");
    let mut told = BufReader::new(follow.stdout.take().expect("it is piped"));
    let mut after = String::new();
    told.read_line(&mut after).expect("it is told");
    crew.release("last");
    told.read_to_string(&mut after).expect("it is text");
    assert!(follow.wait().expect("it was not waited for").success());
    let after = events(&after);

    let all: Vec<Value> = before.into_iter().chain(after).collect();
    let told = events(&format!("{begun}\n{}", run.finish().stdout));
    assert!(all.iter().all(|event| event["path"] == "lead"));
    let names = |events: &[Value]| -> Vec<_> {
        events
            .iter()
            .map(|event| (event["seq"].clone(), event["event"].clone()))
            .collect()
    };
    assert_eq!(names(&all), names(&told));
}
