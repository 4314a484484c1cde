//! Runs of plans: outcomes, output, messages, stops.

use std::io::Write;

use rustix::process::Signal;
use serde_json::Value;

use crate::crew::{Crew, task};

/// Runs a plan and checks its exit code.
fn ends_with(code: i32, plan: &str) -> crate::crew::Done {
    let done = Crew::new(plan).run(&[]);
    assert_eq!(done.code, Some(code), "{done:?}");
    done
}

#[test]
fn exit_code_tells_whether_all_completed() {
    ends_with(0, &task("a", "true", ""));
    ends_with(1, &(task("a", "exit 3", "") + &task("b", "true", "")));
    ends_with(1, &task("a", "sleep 1000", "timeout = \"50ms\""));
    ends_with(1, &task("a", "sleep 1000", "idle_timeout = \"50ms\""));
    ends_with(
        1,
        &(task("a", "exit 1", "") + &task("b", "true", "after = [\"a\"]")),
    );
}

#[test]
fn failure_tells_the_exit_code_and_the_last_words() {
    let done = ends_with(
        1,
        &task("a", "echo fine; echo first >&2; echo last >&2; exit 3", ""),
    );
    assert!(
        done.stderr
            .contains("a: failed: exit code 3: first | last\n"),
        "{done:?}"
    );
    let done = ends_with(1, &task("a", "kill -KILL $$", ""));
    assert!(
        done.stderr.contains("a: failed: killed by signal 9\n"),
        "{done:?}"
    );
}

#[test]
fn command_or_directory_that_does_not_exist_is_told_and_not_tried_again() {
    let plan = "[[task]]\nname = \"a\"\ncommand = [\"/no/such/program\"]\nretry = 5\n";
    let done = ends_with(1, plan);
    assert!(
        done.stderr
            .contains("cannot start \"/no/such/program\": No such file"),
        "{done:?}"
    );
    let done = ends_with(1, &task("a", "true", "cwd = \"nowhere\"\nretry = 5"));
    assert!(
        done.stderr.contains("its cwd nowhere is no directory"),
        "{done:?}"
    );
}

#[test]
fn failed_process_is_started_again_as_often_as_asked() {
    let script = "echo attempt $UNDERSTORY_ATTEMPT; [ $UNDERSTORY_ATTEMPT = 3 ]";
    let done = ends_with(
        0,
        &task("a", script, "retry = { count = 2, delay = \"1ms\" }"),
    );
    assert_eq!(done.stdout, "a | attempt 1\na | attempt 2\na | attempt 3\n");
    let done = ends_with(
        1,
        &task("a", script, "retry = { count = 1, delay = \"1ms\" }"),
    );
    assert_eq!(done.stdout, "a | attempt 1\na | attempt 2\n");
}

#[test]
fn output_is_shown_with_its_task_and_stream() {
    let plan = task("lead", "echo out", "") + &task("child", "echo err >&2", "parent = \"lead\"");
    let done = ends_with(0, &plan);
    assert_eq!(done.stdout, "lead | out\n");
    assert!(done.stderr.contains("lead/child ! err\n"), "{done:?}");
}

#[test]
fn output_of_any_bytes_and_of_several_megabytes_in_one_line_comes_through() {
    let script = "printf 'a\\377\\000b\\n'; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end";
    let done = Crew::new(&task("a", script, "")).run(&["--json"]);
    assert_eq!(done.code, Some(0));
    let mut lines = vec![String::new()];
    for event in events(&done.stdout)
        .iter()
        .filter(|event| event["event"] == "output")
    {
        let text = event["data"]["text"]
            .as_str()
            .expect("an output has a text");
        assert!(text.len() <= 64 << 10);
        lines.last_mut().expect("there is one").push_str(text);
        if event["data"]["cut"] != true {
            lines.push(String::new());
        }
    }
    assert_eq!(lines[0], "a\u{fffd}\0b");
    assert!(lines[1].len() == 3_000_000 && lines[1].bytes().all(|byte| byte == b'x'));
    assert_eq!(&lines[2..], ["end", ""]);
}

#[test]
fn flood_of_lines_loses_none() {
    let count = 20_000;
    let done = ends_with(0, &task("a", &format!("seq {count}"), ""));
    let numbers = done
        .stdout
        .lines()
        .map(|line| line.strip_prefix("a | ")?.parse().ok());
    assert!(
        numbers.eq((1..=count).map(Some)),
        "lines are missing or out of order"
    );
}

#[test]
fn events_come_as_json_lines_without_a_gap() {
    let plan = task("lead", "echo hello", "") + &task("child", "true", "parent = \"lead\"");
    let done = Crew::new(&plan).run(&["--json"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    let events = events(&done.stdout);
    let numbers = events.iter().map(|event| event["seq"].as_u64());
    assert!(
        numbers.eq((1..=events.len() as u64).map(Some)),
        "{}",
        done.stdout
    );
    let settled = events.iter().filter(|event| event["event"] == "settled");
    let names: Vec<_> = settled.map(|event| event["name"].as_str()).collect();
    assert_eq!(names, [Some("child"), Some("lead")]);
}

fn events(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[test]
fn process_knows_who_it_is_and_where() {
    let crew = Crew::new(
        &(task("lead", "true", "")
            + &task(
                "child",
                "echo $UNDERSTORY_PATH $UNDERSTORY_ATTEMPT $COLOR; pwd; \
                 echo $UNDERSTORY_TASK_ID | grep -Ec '^[0-9a-f-]{36}$'; \
                 ls -l \"$UNDERSTORY_SOCKET\" | cut -c 1-10; command -v understory",
                "parent = \"lead\"\nenv = { COLOR = \"green\" }\ncwd = \"place\"",
            )),
    );
    std::fs::create_dir(crew.file("place")).expect("the directory is ours");
    let done = crew.run(&[]);
    let directory = crew.file("place").canonicalize().expect("it is there");
    let expected = [
        "lead/child 1 green",
        &directory.display().to_string(),
        "1",
        "srw-------",
    ];
    let lines: Vec<_> = done
        .stdout
        .lines()
        .map(|line| line.replace("lead/child | ", ""))
        .collect();
    assert_eq!(&lines[..4], expected);
    assert_eq!(lines[4], env!("CARGO_BIN_EXE_understory"));
}

#[test]
fn limit_holds_for_its_class_and_for_all() {
    // Each makes a directory that nobody else of its class may have at the same time.
    let script = "mkdir busy || exit 1; sleep 0.02; rmdir busy";
    for (limits, more) in [("one = 1", "limits = [\"one\"]"), ("global = 1", "")] {
        let tasks: String = (0..8)
            .map(|at| task(&format!("t{at}"), script, more))
            .collect();
        ends_with(0, &format!("[limits]\n{limits}\n{tasks}"));
    }
}

#[test]
fn parent_waits_for_its_children_and_gives_its_slot_back() {
    let plan = "[limits]\nglobal = 1\n".to_owned()
        + &task("lead", "echo lead", "")
        + &task("child", "echo child", "parent = \"lead\"")
        + &task("after", "echo after", "after = [\"lead\"]");
    let done = ends_with(0, &plan);
    assert_eq!(
        done.stdout,
        "lead | lead\nlead/child | child\nafter | after\n"
    );
}

#[test]
fn child_is_treated_as_its_plan_says_when_the_parent_ends() {
    let started = |policy: &str| {
        let lead = task("lead", "read line < go", "");
        let script = "trap 'echo stopped; exit' TERM; echo go > go; \
                      until [ -e end ]; do sleep 0.01; done; echo ended";
        let more = format!("parent = \"lead\"\non_parent_end = \"{policy}\"");
        let crew = Crew::new(&(lead + &task("child", script, &more)));
        crew.pipe("go");
        let run = crew.start(&[]);
        (crew, run)
    };
    let (crew, run) = started("cancel");
    let done = run.finish();
    assert_eq!(done.code, Some(1));
    assert!(done.stdout.contains("child | stopped"), "{done:?}");
    assert!(
        done.stderr
            .contains("lead/child: cancelled: its parent lead ended"),
        "{done:?}"
    );
    assert_eq!(crew.mark().survivors(), Vec::<String>::new());

    let (crew, mut run) = started("detach");
    run.error_with("lead: completed");
    std::fs::write(crew.file("end"), "").expect("the directory is ours");
    let done = run.finish();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("child | ended"), "{done:?}");
    assert_eq!(crew.mark().survivors(), Vec::<String>::new());
}

#[test]
fn interrupt_asks_all_and_waits_for_them() {
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let crew = Crew::new(&(task("a", script, "") + &task("b", "true", "after = [\"a\"]")));
    let mut run = crew.start(&[]);
    run.line_with("ready");

    run.signal(Signal::INT);
    let done = run.finish();
    assert_eq!(done.code, Some(130), "{done:?}");
    assert_eq!(done.stdout, "a | bye\n");
    assert!(
        done.stderr.contains("a: cancelled: cancelled by the user"),
        "{done:?}"
    );
    assert!(done.stderr.contains("b: cancelled"), "{done:?}");
    assert_eq!(crew.mark().survivors(), Vec::<String>::new());
}

#[test]
fn hangup_ends_the_run_unless_it_was_started_to_ignore_it() {
    let crew = Crew::new(&task("a", "echo ready; read line < go", ""));
    crew.pipe("go");
    let mut run = crew.start_with_hangup();
    run.line_with("ready");
    run.signal(Signal::HUP);
    assert_eq!(run.finish().code, Some(130));

    let mut run = crew.start_without_hangup();
    run.line_with("ready");
    run.signal(Signal::HUP);
    crew.release("go");
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn process_that_ignores_the_request_is_killed_after_its_grace() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    for (more, arguments) in [("grace = \"50ms\"", &[][..]), ("", &["--grace", "50ms"])] {
        let crew = Crew::new(&task("a", script, more));
        let mut run = crew.start(arguments);
        run.line_with("ready");

        run.signal(Signal::TERM);
        assert_eq!(run.finish().code, Some(130));
        assert_eq!(crew.mark().survivors(), Vec::<String>::new());
    }
}

#[test]
fn second_interrupt_kills_at_once() {
    let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done";
    let crew = Crew::new(&task("a", script, "grace = \"1h\""));
    let mut run = crew.start(&[]);
    run.line_with("ready");

    run.signal(Signal::INT);
    run.line_with("asked");
    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(130));
    assert_eq!(crew.mark().survivors(), Vec::<String>::new());
}

#[test]
fn process_that_writes_without_end_can_be_stopped() {
    let crew = Crew::new(&task(
        "a",
        "echo ready; trap '' TERM; yes",
        "grace = \"50ms\"",
    ));
    let mut run = crew.start(&[]);
    run.line_with("ready");

    // Nobody reads the output meanwhile; then the rest of it comes.
    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(130));
    assert_eq!(crew.mark().survivors(), Vec::<String>::new());
}

#[test]
fn output_that_nobody_reads_holds_no_stop_back() {
    let script = "trap 'echo > asked' TERM; yes & echo > up; while :; do wait; sleep 0.01; done";
    let crew = Crew::new(&task("a", script, "grace = \"1h\""));
    crew.pipe("up");
    crew.pipe("asked");
    let run = crew.start(&[]);
    crew.wait_at("up");

    run.signal(Signal::INT);
    crew.wait_at("asked");
    run.signal(Signal::INT);
    assert_eq!(run.exit_code(), Some(130));
    crew.mark().wait_for_none();
}

#[test]
fn reader_that_goes_away_does_not_end_the_run() {
    let crew = Crew::new(&task("a", "seq 100000; echo done > done", ""));
    let mut run = crew.start(&[]);
    run.line_with("a | 1");

    run.close_stdout();
    assert_eq!(run.finish().code, Some(0));
    assert!(crew.file("done").exists());
}

#[test]
fn tasks_are_not_bounded_by_the_open_files_that_each_of_them_may_have() {
    let script = "echo may $(ulimit -S -n); read line < gate";
    let plan: Vec<_> = (0..40)
        .map(|number| task(&format!("t{number}"), script, ""))
        .collect();
    let crew = Crew::new(&plan.concat());
    crew.pipe("gate");
    // Open for both, it is there for all of them whenever they come.
    let mut both_ways = std::fs::File::options();
    let gate = both_ways.read(true).write(true).open(crew.file("gate"));
    let mut run = crew.start_with_open_files(64);
    for _ in 0..40 {
        let line = run.line_with("may");
        assert!(line.ends_with("| may 64"), "{line}");
    }

    // One end of a line for each of them.
    let mut gate = gate.expect("it is ours");
    gate.write_all(&[b'\n'; 40]).expect("it has room");

    let done = run.finish();
    assert_eq!(done.code, Some(0), "{done:?}");
}
