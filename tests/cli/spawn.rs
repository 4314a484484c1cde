//! Tasks that processes of a run spawn: where they hang, what bounds them, how they end.

use std::process::Stdio;

use serde_json::Value;

use crate::crew::{Crew, Done, task};

fn run(plan: &str) -> Done {
    Crew::new(plan).run(&[])
}

/// The record of a task, as the user sees it.
fn record(crew: &Crew, target: &str) -> Value {
    let shown = crew.say(&["show", target, "--json"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    serde_json::from_str(&shown.stdout).expect("a record is JSON")
}

#[test]
fn what_processes_spawn_two_levels_below_ends_with_the_top_and_nothing_is_left() {
    let bottom = "understory spawn --name bottom -- \
                  sh -c \"setsid sleep 1000 & echo ready; exec sleep 1000\"; exec sleep 1000";
    let top = format!("understory spawn --name middle -- sh -c '{bottom}'; exec sleep 1000");
    let crew = Crew::new(&task("top", &top, ""));
    let mut run = crew.start(&[]);
    run.line_with("top/middle/bottom | ready");

    let cancelled = crew.say(&["cancel", "top", "--reason", "enough"]);

    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let mut lines: Vec<_> = cancelled.stdout.lines().collect();
    lines.sort_unstable();
    let expected = [
        "cancelled top",
        "cancelled top/middle",
        "cancelled top/middle/bottom",
    ];
    assert_eq!(lines, expected);
    let done = run.finish();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("top: cancelled: enough"), "{done:?}");
    assert!(done.stderr.contains("3 cancelled"), "{done:?}");
    crew.mark().wait_for_none();
}

#[test]
fn spawned_task_is_what_it_was_asked_to_be() {
    let spawn = "understory spawn --name docs --kind reader --label role=x --label n=1 \
                 --limit few --retry 7 --timeout 1h -- sh -c 'exec sleep 1000' > said; \
                 echo spawned; exec sleep 1000";
    let crew = Crew::new(&("[limits]\nfew = 3\n".to_owned() + &task("lead", spawn, "")));
    let mut run = crew.start(&[]);
    run.line_with("lead | spawned");

    let docs = record(&crew, "docs");
    let said = std::fs::read_to_string(crew.file("said")).expect("it was written");
    let id = docs["id"].as_str().expect("it has one");
    assert_eq!(said, format!("{id} lead/docs\n"));
    assert_eq!(docs["path"], "lead/docs");
    assert_eq!(docs["kind"], "reader");
    assert_eq!(docs["labels"]["role"], "x");
    assert_eq!(docs["labels"]["n"], "1");
    assert_eq!(docs["parent"], record(&crew, "lead")["id"]);
    assert_eq!(docs["command"][2], "exec sleep 1000");
    assert_eq!(crew.say(&["cancel", "lead"]).code, Some(0));
    run.finish();
}

#[test]
fn spawned_process_has_the_directory_and_the_environment_of_its_caller() {
    let plan = task(
        "lead",
        "mkdir sub; cd sub; export COLOR=green; unset HIDDEN; \
         understory spawn --wait --name child -- \
         sh -c 'echo $COLOR $HIDDEN. $UNDERSTORY_PATH $UNDERSTORY_ATTEMPT; basename \"$PWD\"; \
         command -v understory >&2'",
        "env = { HIDDEN = \"no\" }",
    );
    let done = run(&plan);
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(done.code, Some(0), "{done:?}");
    for line in ["green . lead/child 1", "sub"] {
        assert!(
            lines.contains(&&*format!("lead/child | {line}")),
            "{done:?}"
        );
        assert!(lines.contains(&&*format!("lead | {line}")), "{done:?}");
    }
    let own = env!("CARGO_BIN_EXE_understory");
    assert!(done.stderr.contains(&format!("lead ! {own}\n")), "{done:?}");
}

#[test]
fn waiting_spawn_prints_the_output_and_exits_as_the_process_did() {
    let cases = [
        ("", "true", 0),
        ("", "sh -c 'exit 7'", 7),
        ("", "sh -c 'kill -TERM $$'", 143),
        ("", "/no/such/program", 127),
        ("--timeout 50ms", "sleep 1000", 124),
        ("--name c", "understory cancel self", 130),
    ];
    for (options, command, code) in cases {
        let script = format!("understory spawn --wait {options} -- {command}; echo code $?");
        let done = run(&task("lead", &script, ""));
        assert_eq!(
            done.stdout,
            format!("lead | code {code}\n"),
            "{command}: {done:?}"
        );
    }
}

#[test]
fn waiting_spawn_loses_no_line_however_slow_its_reader_is() {
    let count = 20_000;
    let script = format!(
        "understory spawn --wait -- seq {count} | \
         (read line < go; cksum); seq {count} | cksum"
    );
    let crew = Crew::new(&task("lead", &script, ""));
    crew.pipe("go");
    let mut run = crew.start(&[]);
    // The child has written all that fits, and waits for its reader.
    run.line_with("| 1000");
    crew.release("go");
    let done = run.finish();
    let sums: Vec<_> = done
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("lead | "))
        .collect();
    assert_eq!((done.code, sums.len()), (Some(0), 2), "{sums:?}");
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn spawned_task_is_tried_again_and_comes_after_others() {
    let plan = task(
        "lead",
        "understory spawn --name first --retry 1 -- \
         sh -c 'echo attempt $UNDERSTORY_ATTEMPT; [ $UNDERSTORY_ATTEMPT = 2 ]' >/dev/null; \
         understory spawn --name second --after first --wait -- echo after",
        "",
    );
    let done = run(&plan);
    let children: Vec<_> = done
        .stdout
        .lines()
        .filter(|line| line.starts_with("lead/"))
        .collect();
    let expected = [
        "lead/first | attempt 1",
        "lead/first | attempt 2",
        "lead/second | after",
    ];
    assert_eq!(children, expected, "{done:?}");
}

#[test]
fn waiting_for_a_spawned_task_lends_the_slot() {
    let plan = "[limits]\nglobal = 1\n".to_owned()
        + &task(
            "lead",
            "understory spawn --wait -- echo one; \
             id=$(understory spawn --name two -- echo two); understory wait two; \
             understory wait ${id%% *}",
            "",
        );
    let done = run(&plan);
    let own: Vec<_> = done
        .stdout
        .lines()
        .filter(|line| line.starts_with("lead | "))
        .collect();
    let expected = [
        "lead | one",
        "lead | lead/two completed",
        "lead | lead/two completed",
    ];
    assert_eq!((done.code, own), (Some(0), expected.to_vec()), "{done:?}");
}

#[test]
fn limit_class_of_the_plan_counts_spawned_tasks() {
    // Each makes a directory that nobody else may have at the same time.
    let one = "understory spawn --limit one -- sh -c 'mkdir busy && sleep 0.02 && rmdir busy'";
    let script = format!(
        "for i in 1 2 3 4 5 6; do {one}; done > ids; understory wait $(cut -d\" \" -f1 ids)"
    );
    let done = run(&("[limits]\none = 1\n".to_owned() + &task("lead", &script, "")));
    let completed = done.stdout.matches(" completed\n").count();
    assert_eq!((done.code, completed), (Some(0), 6), "{done:?}");
}

#[test]
fn spawned_task_is_treated_as_asked_when_its_parent_ends() {
    let child = |policy: &str| {
        task(
            "lead",
            &format!(
                "understory spawn --name child {policy} -- \
                 sh -c 'trap \"echo stopped; exit\" TERM; echo up; \
                 until [ -e go ]; do sleep 0.01; done; echo went'; read line < gate"
            ),
            "",
        )
    };
    for (policy, word) in [
        ("--on-parent-end cancel", "stopped"),
        ("--on-parent-end wait", "went"),
        ("--on-parent-end detach", "went"),
        ("", "went"),
    ] {
        let crew = Crew::new(&child(policy));
        crew.pipe("gate");
        let mut run = crew.start(&[]);
        run.line_with("lead/child | up");
        crew.release("gate");
        if policy.contains("detach") {
            // It is a root now, and the run goes on with it.
            assert_eq!(crew.say(&["wait", "lead"]).stdout, "lead completed\n");
            assert_eq!(record(&crew, "child")["path"], "child");
        }
        if word == "went" {
            std::fs::write(crew.file("go"), "").expect("the directory is ours");
        }
        let done = run.finish();
        assert_eq!(done.code, Some(0), "{policy}: {done:?}");
        assert!(done.stdout.contains(word), "{policy}: {done:?}");
    }
}

#[test]
fn inbox_of_a_spawned_task_is_open_if_asked_for() {
    let plan = task(
        "lead",
        "understory spawn --name shut -- sh -c 'cat; read line < gate' > /dev/null; \
         understory send shut hello; echo code $?; \
         understory spawn --name ear --inbox -- sh -c 'read line; echo heard $line; \
         understory send parent done' > /dev/null; \
         understory send lead/ear hello && read line && echo $line; echo > gate",
        "inbox = \"open\"",
    );
    let crew = Crew::new(&plan);
    crew.pipe("gate");
    let done = crew.run(&[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("lead | code 1\n"), "{done:?}");
    assert!(
        done.stderr
            .contains("the inbox of shut is closed; spawn it with --inbox"),
        "{done:?}"
    );
    assert!(done.stdout.contains("lead/ear | heard hello\n"), "{done:?}");
    assert!(done.stdout.contains("lead | done\n"), "{done:?}");
}

#[test]
fn bounds_of_the_plan_refuse_with_what_to_do() {
    let spawn = |name: &str| format!("understory spawn --name {name} -- sleep 1000 > /dev/null");
    let deep = "understory spawn --wait --name a -- \
                sh -c 'understory spawn -- true; echo code $?'";
    let cases = [
        ("depth = 1", deep.to_owned(), "raise `depth` in [bounds]"),
        (
            "children = 2",
            format!(
                "{}; {}; {}; echo code $?",
                spawn("a"),
                spawn("b"),
                spawn("c")
            ),
            "raise `children` in [bounds]",
        ),
        (
            "tasks = 2",
            format!("{}; {}; echo code $?", spawn("a"), spawn("b")),
            "raise `tasks` in [bounds]",
        ),
        (
            "",
            format!("{}; {}; echo code $?", spawn("a"), spawn("a")),
            "the name a is taken in this run; choose another",
        ),
        (
            "",
            "understory spawn --limit none -- true; echo code $?".to_owned(),
            "the plan has no limit class none; give its size in [limits]",
        ),
    ];
    for (bounds, script, reason) in cases {
        let script =
            format!("{script}; understory cancel a 2> /dev/null; understory cancel b; exit 0");
        let done = run(&format!(
            "[bounds]\n{bounds}\n{}",
            task("lead", &script, "")
        ));
        assert!(done.stdout.contains("| code 1\n"), "{bounds}: {done:?}");
        assert!(done.stderr.contains(reason), "{bounds}: {done:?}");
    }
}

#[test]
fn user_spawns_a_root_or_below_a_task_of_choice() {
    let crew = Crew::new(&task("lead", "echo up; read line < gate", ""));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    run.line_with("lead | up");

    let below = crew.say(&["spawn", "--parent", "lead", "--wait", "--", "echo", "hello"]);
    assert_eq!(
        (below.code, &*below.stdout),
        (Some(0), "hello\n"),
        "{below:?}"
    );
    let root = crew.say(&["spawn", "--name", "extra", "--", "sleep", "1000"]);
    assert!(root.stdout.ends_with(" extra\n"), "{root:?}");
    assert_eq!(record(&crew, "extra")["parent"], Value::Null);

    // The run goes on until that one has ended, too.
    crew.release("gate");
    assert_eq!(crew.say(&["wait", "lead"]).stdout, "lead completed\n");
    assert_eq!(crew.say(&["cancel", "extra"]).code, Some(0));
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn caller_that_goes_away_ends_nothing_but_its_waiting() {
    let crew = Crew::new(&task("lead", "echo up; read line < gate", ""));
    crew.pipe("gate");
    crew.pipe("child");
    let mut run = crew.start(&[]);
    run.line_with("lead | up");
    let script = "echo started; read line < child; echo went on";
    let spawn = [
        "spawn", "--wait", "--name", "child", "--", "sh", "-c", script,
    ];
    let mut client = crew.terminal(&spawn);
    let mut client = client.stdout(Stdio::null()).spawn().expect("it is built");
    run.line_with("child | started");

    // As Ctrl-C does, which a test that was started in the background would ignore.
    let pid = rustix::process::Pid::from_child(&client);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    client.wait().expect("it was not waited for");

    crew.release("child");
    run.line_with("child | went on");
    crew.release("gate");
    assert_eq!(run.finish().code, Some(0));
}
