//! `understory check`, and the verbs used where they make no sense.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::crew::{Crew, task};

/// Runs the binary outside of any run.
fn understory(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary is built")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understory"));
    command
        .args(arguments)
        .env_remove("UNDERSTORY_SOCKET")
        .env_remove("UNDERSTORY_TOKEN")
        .stdin(Stdio::null());
    command
}

fn code_and_errors(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A plan of this text in a directory of its own.
fn plan(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let path = directory.path().join("PLAN.toml");
    std::fs::write(&path, text).expect("the directory is ours");
    (directory, path)
}

#[test]
fn right_plan_is_told_and_costs_nothing() {
    let (_directory, path) = plan("[[task]]\nname = \"a\"\ncommand = [\"touch\", \"never\"]\n");
    let output = understory(&["check", &path.display().to_string()]);

    assert_eq!(code_and_errors(&output), (Some(0), String::new()));
    assert_eq!(
        output.stdout,
        format!("{}: 1 task, nothing wrong\n", path.display()).as_bytes()
    );
}

#[test]
fn wrong_plan_is_refused_by_check_and_by_run_with_every_line() {
    let text = "[[task]]\nname = \"a\"\ncommand = []\nafter = [\"b\"]\n";
    let (_directory, path) = plan(text);
    let path = path.display().to_string();
    let expected = format!(
        "{path}:3: the command is empty; write command = [\"program\", \"argument\"]\n\
         {path}:4: no task is named \"b\"; write the name of a task of this plan\n"
    );
    for verb in ["check", "run"] {
        let output = understory(&[verb, &path]);
        assert_eq!(code_and_errors(&output), (Some(2), expected.clone()));
        assert!(output.stdout.is_empty());
    }
}

/// A lead that is tried again, with a worker below it.
fn lead_with_retry(on_parent_end: &str) -> String {
    let worker = format!("parent = \"lead\"\n{on_parent_end}");
    task("top", "true", "")
        + &task("lead", "true", "parent = \"top\"\nretry = 1")
        + &task("worker", "true", &worker)
        + &task("below", "true", "parent = \"worker\"")
}

#[test]
fn plan_is_told_what_does_not_come_back_with_the_next_attempt_of_its_parent() {
    let note = "note: top/lead/worker is cancelled when an attempt of lead fails, and does not \
                come back with the next one; say on_parent_end = \"wait\" to keep it\n";
    for (policy, expected) in [
        ("", note),
        ("on_parent_end = \"wait\"", ""),
        ("on_parent_end = \"detach\"", ""),
        ("on_parent_end = \"cancel\"", ""),
    ] {
        let (_directory, path) = plan(&lead_with_retry(policy));
        let output = understory(&["check", &path.display().to_string()]);
        assert_eq!(code_and_errors(&output), (Some(0), expected.to_owned()));
    }
    let done = Crew::new(&lead_with_retry("")).run(&["--no-db"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.starts_with(note), "{done:?}");
}

#[test]
fn many_notes_on_a_plan_are_counted() {
    let lead = task("lead", "true", "retry = 1");
    let workers = (0..25).map(|at| task(&format!("w{at}"), "true", "parent = \"lead\""));
    let (_directory, path) = plan(&(lead + &workers.collect::<String>()));
    let output = understory(&["check", &path.display().to_string()]);
    let (code, errors) = code_and_errors(&output);
    assert_eq!((code, errors.lines().count()), (Some(0), 21), "{errors}");
    assert!(
        errors.ends_with("\nnote: the same of 5 more tasks\n"),
        "{errors}"
    );
}

#[test]
fn plan_that_cannot_be_read_is_refused() {
    for verb in ["check", "run"] {
        let (code, errors) = code_and_errors(&understory(&[verb, "/no/such/PLAN.toml"]));
        assert_eq!(code, Some(2));
        assert!(
            errors.starts_with("cannot read /no/such/PLAN.toml: No such file"),
            "{errors}"
        );
    }
}

#[test]
fn wrong_command_line_is_refused() {
    for arguments in [
        &["run"][..],
        &["fly"],
        &["check", "a", "b"],
        &["run", "x", "--grace", "5"],
        &["spawn"],
        &["spawn", "ls"],
        &["spawn", "--name", "a b", "--", "ls"],
        &["spawn", "--name", "parent", "--", "ls"],
        &["spawn", "--kind", "", "--", "ls"],
        &["spawn", "--label", "role", "--", "ls"],
        &["spawn", "--label", "=reader", "--", "ls"],
        &["spawn", "--timeout", "5", "--", "ls"],
        &["spawn", "--retry", "100", "--", "ls"],
        &["spawn", "--retry", "many", "--", "ls"],
        &["spawn", "--on-parent-end", "stay", "--", "ls"],
        &["ls", "--state", "busy"],
        &["ls", "--label", "role"],
        &["tree", "--kind", "a b"],
        &["show"],
        &["send"],
        &["cancel"],
        &["cancel", "a", "--grace", "soon"],
        &["wait"],
        &["wait", "a", "--timeout", "soon"],
        &["events", "--since", "now"],
    ] {
        let (code, errors) = code_and_errors(&understory(arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
    }
}

#[test]
fn wrong_number_on_the_command_line_is_told_with_what_to_write() {
    for (arguments, write) in [
        (
            &["events", "--since", "x"][..],
            "write the number of an event, such as 120",
        ),
        (
            &["spawn", "--retry", "x", "--", "ls"],
            "write a whole number from 0 to 99",
        ),
    ] {
        let (_, errors) = code_and_errors(&understory(arguments));
        assert!(errors.contains(write), "{errors}");
    }
}

#[test]
fn run_without_a_temporary_directory_names_it_and_says_what_to_set() {
    let (directory, path) = plan(&task("a", "true", ""));
    let mut run = command(&["run", "--no-db", &path.display().to_string()]);
    let output = run.env("TMPDIR", directory.path().join("gone")).output();
    let (code, errors) = code_and_errors(&output.expect("the binary is built"));
    assert_eq!(code, Some(1));
    for part in ["/gone/understory-", "No such file", "set TMPDIR to"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

#[test]
fn only_verbs_that_have_it_advise_to_name_the_run() {
    let empty = tempfile::tempdir().expect("there is a temporary directory");
    for (arguments, is_advised) in [
        (&["send", "lead", "hello"][..], true),
        (&["resume", "lead"], true),
        (&["progress", "half"], false),
        (&["ask", "key", "what?"], false),
        (&["suspend", "why"], false),
    ] {
        let output = command(arguments).env("TMPDIR", empty.path()).output();
        let (code, errors) = code_and_errors(&output.expect("the binary is built"));
        assert_eq!(code, Some(2), "{errors}");
        assert_eq!(
            errors.contains("--run"),
            is_advised,
            "{arguments:?}: {errors}"
        );
    }
}

#[test]
fn verbs_of_a_process_are_refused_outside_of_a_run() {
    let empty = tempfile::tempdir().expect("there is a temporary directory");
    for arguments in [
        &["spawn", "--", "true"][..],
        &["ls"],
        &["tree"],
        &["show", "lead"],
        &["send", "lead", "hello"],
        &["cancel", "lead"],
        &["wait", "lead"],
        &["events"],
        &["progress", "half"],
    ] {
        let mut command = command(arguments);
        // Nor are there records of runs.
        command.env("XDG_STATE_HOME", empty.path());
        let output = command.env("TMPDIR", empty.path()).output();
        let (code, errors) = code_and_errors(&output.expect("the binary is built"));
        assert_eq!(code, Some(2));
        assert!(errors.contains("belongs to no run"), "{errors}");
    }
}

#[test]
fn example_in_the_help_of_run_is_a_right_plan() {
    let help = understory(&["run", "--help"]).stdout;
    let help = String::from_utf8(help).expect("the help is text");
    let (_, rest) = help
        .split_once("A plan:\n")
        .expect("the help has an example");
    let (example, _) = rest
        .split_once("\nStandard output")
        .expect("the example has an end");
    let (_directory, path) = plan(example);

    let output = understory(&["check", &path.display().to_string()]);
    assert_eq!(code_and_errors(&output), (Some(0), String::new()));
}

#[test]
fn plans_on_the_page_are_right_and_hold_no_surprise() {
    let page = include_str!("../../README.md");
    let plans = page.split("```toml\n").skip(1);
    let plans = plans.filter_map(|rest| Some(rest.split_once("```")?.0));
    let plans: Vec<_> = plans.filter(|text| text.contains("[[task]]")).collect();
    assert_eq!(plans.len(), 2);
    for text in plans {
        let (_directory, path) = plan(text);
        let output = understory(&["check", &path.display().to_string()]);
        assert_eq!(code_and_errors(&output), (Some(0), String::new()));
    }
}

#[test]
fn examples_are_right_plans() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/review.toml");
    assert_eq!(
        code_and_errors(&understory(&["check", path])),
        (Some(0), String::new())
    );
}

#[test]
fn what_cannot_be_said_in_a_request_is_told_and_is_no_matter_of_the_run() {
    let script = "mkdir \"$(printf 'd\\377')\" gone; \
                  (cd d*; unset PWD OLDPWD; understory spawn -- true; echo code $?); \
                  (cd gone; rmdir ../gone; understory spawn -- true; echo code $?); \
                  printf 'x\\377\\n' | understory send self; echo code $?";
    let done = Crew::new(&task("lead", script, "inbox = \"open\"")).run(&[]);
    assert_eq!(done.stdout, "lead | code 2\n".repeat(3), "{done:?}");
    for why in [
        "the current directory is not UTF-8",
        "the current directory cannot be told",
        "standard input cannot be read",
    ] {
        assert!(done.stderr.contains(why), "{why}: {done:?}");
    }
}
