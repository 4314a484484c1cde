//! Runs that were killed and go on: what runs again and what does not.

mod fence;
mod refusals;

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::crew::{Crew, task};

const DB: [&str; 2] = ["--db", "crew.db"];
const RESUME: [&str; 3] = ["--db", "crew.db", "--resume"];
const AT_ONCE: &str = "retry = { count = 1, delay = \"1ms\" }";

fn read(crew: &Crew, file: &str) -> String {
    fs::read_to_string(crew.file(file)).unwrap_or_default()
}

/// The state of a task, as the file has it.
fn state(crew: &Crew, target: &str) -> String {
    let shown = crew.say(&["show", target, "--json", "--db", "crew.db"]);
    let record: Value = serde_json::from_str(&shown.stdout).expect("a record is JSON");
    record["state"].as_str().expect("it has one").to_owned()
}

/// Writes a mark for each attempt, and goes on for ever in the first.
fn attempts(file: &str) -> String {
    format!(
        "echo $UNDERSTORY_ATTEMPT >> {file}; echo up; \
         [ $UNDERSTORY_ATTEMPT -gt 1 ] || exec sleep 1000"
    )
}

#[test]
fn what_is_below_a_parent_that_ran_goes_on_only_if_it_says_so() {
    let below = |policy: &str| format!("parent = \"lead\"\n{AT_ONCE}\n{policy}");
    let plan = task("lead", &attempts("lead"), AT_ONCE)
        + &task(
            "kept",
            &attempts("kept"),
            &below("on_parent_end = \"wait\""),
        )
        + &task(
            "own",
            &attempts("own"),
            &below("on_parent_end = \"detach\""),
        )
        + &task("gone", &attempts("gone"), &below(""));
    let crew = Crew::new(&plan);
    let mut run = crew.start(&DB);
    for _ in 0..4 {
        run.line_with("| up");
    }
    crew.crash(run);

    let done = crew.run(&RESUME);

    assert_eq!(done.code, Some(1), "{done:?}");
    let states = ["lead", "kept", "own", "gone"].map(|it| state(&crew, it));
    assert_eq!(states, ["completed", "completed", "completed", "cancelled"]);
    assert_eq!(read(&crew, "gone"), "1\n", "though it had an attempt left");
}

#[test]
fn killed_run_goes_on_where_it_was() {
    let plan = task("done", "echo ran >> done", "")
        + &task("broken", "echo ran >> broken; exit 3", "")
        + &task(
            "again",
            &attempts("again"),
            &format!("after = [\"done\"]\n{AT_ONCE}"),
        )
        + &task("once", &attempts("once"), "after = [\"done\"]")
        + &task("late", "echo ran >> late", "after = [\"again\"]")
        + &task("never", "echo ran >> never", "after = [\"once\"]");
    let crew = Crew::new(&plan);
    let mut run = crew.start(&DB);
    run.line_with("| up");
    run.line_with("| up");
    assert_eq!(crew.say(&["wait", "broken"]).stdout, "broken failed\n");
    crew.crash(run);
    assert_eq!(
        (read(&crew, "again"), read(&crew, "once")),
        ("1\n".into(), "1\n".into())
    );

    let done = crew.run(&RESUME);

    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(
        read(&crew, "done"),
        "ran\n",
        "what has completed is not run again"
    );
    assert_eq!(read(&crew, "broken"), "ran\n", "nor what has failed");
    assert_eq!(read(&crew, "again"), "1\n2\n", "an attempt was left");
    assert_eq!(read(&crew, "once"), "1\n", "none was left");
    assert_eq!(read(&crew, "late"), "ran\n", "what was pending runs");
    assert_eq!(read(&crew, "never"), "");
    let states = ["done", "broken", "again", "once", "late", "never"].map(|it| state(&crew, it));
    let expected = [
        "completed",
        "failed",
        "completed",
        "interrupted",
        "completed",
        "cancelled",
    ];
    assert_eq!(states, expected);
    for line in [
        "done: completed: before\n",
        "broken: failed: before\n",
        "once: interrupted",
    ] {
        assert!(done.stderr.contains(line), "{line}: {done:?}");
    }
    assert!(
        done.stderr
            .contains("3 completed, 1 failed, 1 cancelled, 1 interrupted"),
        "{done:?}"
    );
}

#[test]
fn run_of_which_every_attempt_counts_ends_with_success() {
    let crew = Crew::new(&task("a", &attempts("a"), AT_ONCE));
    let mut run = crew.start(&[]);
    run.line_with("a | up");
    crew.crash(run);
    // Without --db it is the newest file of the plan.
    let done = crew.run(&["--resume"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(read(&crew, "a"), "1\n2\n");

    let again = crew.run(&["--resume"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(read(&crew, "a"), "1\n2\n", "all has settled");
}

#[test]
fn crashes_use_up_attempts() {
    let script = "echo $UNDERSTORY_ATTEMPT >> a; echo up; exec sleep 1000";
    let crew = Crew::new(&task("a", script, "retry = { count = 2, delay = \"1ms\" }"));
    let mut options = &DB[..];
    for _ in 0..3 {
        let mut run = crew.start(options);
        run.line_with("a | up");
        crew.crash(run);
        options = &RESUME;
    }
    let done = crew.run(&RESUME);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(state(&crew, "a"), "interrupted");
    assert_eq!(read(&crew, "a"), "1\n2\n3\n");
}

#[test]
fn events_of_both_runs_are_one_log() {
    let crew = Crew::new(&task("a", &attempts("a"), AT_ONCE));
    let mut run = crew.start(&DB);
    run.line_with("a | up");
    crew.crash(run);
    let done = crew.run(&[&RESUME[..], &["--json"]].concat());
    let numbers = |text: &str| -> Vec<u64> {
        let lines = text.lines();
        let events = lines.map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"));
        events.filter_map(|event| event["seq"].as_u64()).collect()
    };
    let all = numbers(&crew.say(&["events", "--json", "--db", "crew.db"]).stdout);
    assert!(all.iter().copied().eq(1..=all.len() as u64), "{all:?}");
    let told = numbers(&done.stdout);
    assert!(
        all.ends_with(&told),
        "recovery is told, too: {told:?} of {all:?}"
    );
    assert!(
        done.stdout
            .contains("its process died while it was running"),
        "{done:?}"
    );
}

#[test]
fn spawned_tasks_go_on_with_their_command_directory_and_environment() {
    let crew = Crew::new(&task("lead", "echo up; read line < go", AT_ONCE));
    crew.pipe("go");
    let mut run = crew.start(&DB);
    run.line_with("lead | up");
    let script = "echo $UNDERSTORY_ATTEMPT $COLOR $(basename \"$PWD\") >> ../kid; \
                  [ $UNDERSTORY_ATTEMPT -gt 1 ] || { echo up; exec sleep 1000; }";
    fs::create_dir(crew.file("sub")).expect("the directory is ours");
    let arguments = [
        "spawn", "--name", "kid", "--kind", "own", "--retry", "1", "--",
    ];
    let mut spawn = crew.terminal(&[&arguments[..], &["sh", "-c", script]].concat());
    spawn.current_dir(crew.file("sub")).env("COLOR", "green");
    let spawned = spawn.output().expect("the binary is built");
    assert!(spawned.status.success(), "{spawned:?}");
    run.line_with("kid | up");
    run.signal(Signal::KILL);
    run.wait_killed();
    crew.sweep();

    let mut run = crew.start(&RESUME);
    run.line_with("lead | up");
    crew.release("go");
    let done = run.finish();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(read(&crew, "kid"), "1 green sub\n2 green sub\n");
    assert_eq!(state(&crew, "kid"), "completed");
}

#[test]
fn suspended_task_stays_so_until_somebody_resumes_it() {
    let script = "if [ -z \"${UNDERSTORY_RESUMED+set}\" ]; then \
                  echo asked >> a; understory suspend 'may I?'; exit 0; fi; \
                  echo $UNDERSTORY_RESUMED >> a";
    let crew = Crew::new(&(task("a", script, "") + &task("b", &attempts("b"), AT_ONCE)));
    let mut run = crew.start(&DB);
    run.line_with("b | up");
    let stuck = crew.say(&["wait", "--or-stuck", "a"]);
    assert_eq!(stuck.stdout, "a suspended\n");
    crew.crash(run);

    let mut run = crew.start(&RESUME);
    run.line_with("b | up");
    assert_eq!(state(&crew, "a"), "suspended");
    let resumed = crew.say(&["resume", "a", "you may"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(run.finish().code, Some(0));
    assert_eq!(read(&crew, "a"), "asked\nyou may\n");
}

#[test]
fn run_goes_on_in_the_directory_where_it_began() {
    let crew = Crew::new(&task("a", &attempts("a"), AT_ONCE));
    let mut run = crew.start(&DB);
    run.line_with("a | up");
    crew.crash(run);
    fs::create_dir(crew.file("sub")).expect("the directory is ours");
    let mut elsewhere = crew.terminal(&["run", "../PLAN.toml", "--resume", "--db", "../crew.db"]);
    let done = elsewhere.current_dir(crew.file("sub")).output();
    assert!(done.expect("the binary is built").status.success());
    assert_eq!(read(&crew, "a"), "1\n2\n");
}

#[test]
fn run_that_is_killed_again_and_again_runs_each_attempt_once_and_comes_to_its_end() {
    const TASKS: usize = 60;
    let is_repeated = |at: usize| at.is_multiple_of(2);
    let tasks = (0..TASKS).map(|at| {
        let script = format!("echo $UNDERSTORY_ATTEMPT >> ran{at}; echo ran");
        let retry = if is_repeated(at) {
            "retry = { count = 9, delay = \"1ms\" }"
        } else {
            ""
        };
        task(&format!("t{at}"), &script, retry)
    });
    let plan = tasks.fold("[limits]\nglobal = 3\n".to_owned(), |plan, task| {
        plan + &task
    });
    let crew = Crew::new(&plan);
    let mut options = &DB[..];
    for lines in [0, 1, 0, 7, 2, 0, 4] {
        let mut run = crew.start(options);
        // Without a line: at its very beginning, while tasks are accepted.
        run.error_with("records in");
        (0..lines).for_each(|_| drop(run.line_with("| ran")));
        crew.crash(run);
        options = &RESUME;
    }
    let done = crew.run(&RESUME);
    assert!(matches!(done.code, Some(0 | 1)), "{done:?}");

    for at in 0..TASKS {
        let attempts: Vec<u32> = read(&crew, &format!("ran{at}"))
            .lines()
            .map(|line| line.parse().expect("it is a number"))
            .collect();
        assert!(
            attempts.is_sorted_by(|one, next| one < next),
            "t{at}: {attempts:?}"
        );
        let state = state(&crew, &format!("t{at}"));
        if is_repeated(at) {
            assert_eq!(state, "completed", "t{at}: {attempts:?}");
            assert!(!attempts.is_empty());
        } else {
            assert!(attempts.len() <= 1, "t{at}: {attempts:?}");
            assert!(
                state == "completed" || state == "interrupted",
                "t{at}: {state}"
            );
        }
    }
}
