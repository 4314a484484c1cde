//! Which runs do not go on, and which changes of a plan are taken.

use std::fs;

use super::{AT_ONCE, DB, RESUME, attempts, read, state};
use crate::crew::{Crew, task};

#[test]
fn resume_without_a_file_is_refused() {
    let crew = Crew::new(&task("a", "echo ran > ran", ""));
    let cases = [
        (&["--resume"][..], "are in"),
        (&RESUME, "there is no file crew.db"),
        (&["--resume", "--db", ":memory:"], "cannot go on"),
        (&["--resume", "--no-db"], "cannot be used with"),
    ];
    for (options, why) in cases {
        let done = crew.run(options);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(why), "{options:?}: {done:?}");
    }
    assert!(!crew.file("ran").exists());
}

#[test]
fn resume_with_another_plan_is_refused_and_changes_nothing() {
    let plan = task("a", &attempts("a"), AT_ONCE) + &task("b", "true", "after = [\"a\"]");
    let crew = Crew::new(&plan);
    let mut run = crew.start(&DB);
    run.line_with("a | up");
    crew.crash(run);
    let b = task("b", "true", "after = [\"a\"]");
    let cases = [
        (
            b.replace("after = [\"a\"]", ""),
            "its task \"a\" is not in the plan",
        ),
        (
            task("a", "true", AT_ONCE) + &b,
            "`command` of task \"a\" is not as it was",
        ),
        (
            task("a", &attempts("a"), "") + &b,
            "`retry` of task \"a\" is not as it was",
        ),
    ];
    for (plan, why) in cases {
        fs::write(crew.file("OTHER.toml"), plan).expect("the directory is ours");
        let done = crew.say(&[&["run", "OTHER.toml"], &RESUME[..]].concat());
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(why), "{why}: {done:?}");
    }
    assert_eq!(
        (state(&crew, "a"), state(&crew, "b")),
        ("running".into(), "pending".into())
    );
    assert_eq!(crew.run(&RESUME).code, Some(0));
}

#[test]
fn tasks_that_were_added_to_the_plan_run_too() {
    let crew = Crew::new(&task("a", &attempts("a"), AT_ONCE));
    let mut run = crew.start(&DB);
    run.line_with("a | up");
    crew.crash(run);
    let plan = task("a", &attempts("a"), AT_ONCE) + &task("b", "echo ran > b", "after = [\"a\"]");
    fs::write(crew.file("OTHER.toml"), plan).expect("the directory is ours");
    let done = crew.say(&[&["run", "OTHER.toml"], &RESUME[..]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(read(&crew, "b"), "ran\n");
}

#[test]
fn task_that_cannot_be_added_leaves_the_run_as_it_is() {
    let crew = Crew::new(&(task("a", "true", "") + &task("b", &attempts("b"), AT_ONCE)));
    let mut run = crew.start(&DB);
    run.line_with("b | up");
    assert_eq!(crew.say(&["wait", "a"]).stdout, "a completed\n");
    crew.crash(run);
    let added = task("x", "true", "") + &task("late", "echo ran > late", "parent = \"a\"");
    let plan = task("a", "true", "") + &task("b", &attempts("b"), AT_ONCE) + &added;
    fs::write(crew.file("OTHER.toml"), plan).expect("the directory is ours");
    let done = crew.say(&[&["run", "OTHER.toml"], &RESUME[..]].concat());
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.stderr.contains("task \"late\" was not accepted"),
        "{done:?}"
    );

    assert_eq!(crew.run(&RESUME).code, Some(0));
    assert_eq!(read(&crew, "b"), "1\n2\n", "no attempt was used up");
}
