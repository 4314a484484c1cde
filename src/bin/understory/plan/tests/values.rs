//! Values of single keys.

use super::super::{Plan, duration, parse_duration};
use super::{refused, refused_line};

/// Checks lines of a task against their problems.
fn all_refused(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        refused_line(line, expected);
    }
}

#[test]
fn value_of_another_sort_is_refused() {
    all_refused(&[
        ("comand = []", "unknown key `comand`; write `command`"),
        (
            "parent = 3",
            "`parent` is not valid (integer); write parent = \"…\"",
        ),
        (
            "after = \"b\"",
            "`after` is not valid (string); write after = [\"…\", \"…\"]",
        ),
        (
            "inbox = true",
            "`inbox` is not valid (boolean); write \"open\" or \"closed\"",
        ),
        (
            "on_parent_end = \"stop\"",
            "`on_parent_end` is not valid (string); write \"wait\" or \"cancel\" or \"detach\"",
        ),
        (
            "env = { A = 1 }",
            "`A` is not valid (integer); write A = \"…\"",
        ),
        (
            "env = 1",
            "`env` is not valid (integer); write env = { KEY = \"value\" }",
        ),
    ]);
}

#[test]
fn wrong_duration_is_refused() {
    let write = duration::HOW_TO_WRITE;
    for (value, sort) in [
        ("\"soon\"", "string"),
        ("\"3\"", "string"),
        ("-1", "integer"),
        ("nan", "float"),
    ] {
        let expected = format!("`timeout` is not valid ({sort}); {write}");
        refused_line(&format!("timeout = {value}"), &expected);
    }
    all_refused(&[
        (
            "timeout = \"0s\"",
            "`timeout` is zero; write a longer duration or drop the key",
        ),
        (
            "grace = \"9000h\"",
            "`grace` is not valid (string); write a duration of at most a year, \"8760h\"",
        ),
        (
            "idle_timeout = \"9223372036854775807h\"",
            "`idle_timeout` is not valid (string); \
             write a duration of at most a year, \"8760h\"",
        ),
        (
            "timeout = 1e300",
            "`timeout` is not valid (float); write a duration of at most a year, \"8760h\"",
        ),
    ]);
}

#[test]
fn wrong_retry_is_refused() {
    all_refused(&[
        (
            "retry = \"3\"",
            "`retry` is not valid (string); \
             write retry = 3 or retry = { count = 3, delay = \"1s\" }",
        ),
        (
            "retry = 100",
            "`retry` is 100; write a whole number from 0 to 99",
        ),
        (
            "retry = { delay = 1 }",
            "`retry` has no count; write { count = 3, … }",
        ),
        (
            "retry = { count = 1, delay = 2, cap = 1 }",
            "the cap of `retry` is below its delay; write a longer cap",
        ),
        (
            "retry = { count = 1, factor = 0.5 }",
            "`factor` is 0.5; write a number from 1 to 100",
        ),
        (
            "retry = { count = 1, dealy = 1 }",
            "unknown key `dealy`; write `delay`",
        ),
    ]);
}

#[test]
fn wrong_text_is_refused() {
    all_refused(&[
        (
            "kind = \"a b\"",
            "\"a b\" is not a valid kind; write 1 to 128 of A-Z a-z 0-9 . _ -",
        ),
        (
            "cwd = \"\"",
            "`cwd` is empty; write a directory or drop the key",
        ),
        (
            "cwd = \"\\u0000\"",
            "a NUL byte cannot be handed to a process; leave it out",
        ),
        (
            "messages = [\"one\\ntwo\"]",
            "a message has more than one line; write one message for each line",
        ),
        (
            "env = { UNDERSTORY_SOCKET = \"x\" }",
            "UNDERSTORY_SOCKET is set by understory itself; choose another name",
        ),
        (
            "env = { \"A=B\" = \"x\" }",
            "\"A=B\" is no name of a variable; write a name without `=`",
        ),
    ]);
}

#[test]
fn wrong_mention_is_refused() {
    all_refused(&[
        (
            "parent = \"b\"",
            "no task is named \"b\"; write the name of a task of this plan",
        ),
        (
            "after = [\"a\"]",
            "\"a\" would wait for itself; write the name of a task of another branch",
        ),
        (
            "limits = [\"llm\"]",
            "unknown limit class \"llm\"; give its size as llm = 2 in [limits]",
        ),
        (
            "limits = [\"global\"]",
            "every task counts as \"global\" by itself; \
             drop it here; [limits] is the place for its size",
        ),
    ]);
}

#[test]
fn wrong_task_is_refused() {
    let no_command = "task \"a\" has no command; write command = [\"program\", \"argument\"]";
    let empty = "the command is empty; write command = [\"program\", \"argument\"]";
    let name_rule = "write 1 to 128 of A-Z a-z 0-9 . _ -";
    let cases = [
        ("name = \"a\"", format!("2: {no_command}")),
        (
            "command = [\"true\"]",
            "1: a task has no name; write name = \"…\"".to_owned(),
        ),
        ("name = \"a\"\ncommand = []", format!("3: {empty}")),
        (
            "name = \"a\"\ncommand = [\"\", \"x\"]",
            format!("3: {empty}"),
        ),
        (
            "name = \"a\"\ncommand = \"true\"",
            "3: `command` is not valid (string); \
             write [\"sh\", \"-c\", \"…\"] to have a shell read a command line"
                .to_owned(),
        ),
        (
            "name = \"a\"\ncommand = [\"true\", 3]",
            "3: `command` holds something else than strings; write command = [\"…\", \"…\"]"
                .to_owned(),
        ),
        (
            "name = \"a/b\"\ncommand = [\"true\"]",
            format!("2: \"a/b\" is not a valid name; {name_rule}"),
        ),
        (
            "name = \"self\"\ncommand = [\"true\"]",
            "2: the name \"self\" is reserved; choose another name".to_owned(),
        ),
        (
            "name = \"\"\ncommand = [\"true\"]",
            format!("2: \"\" is not a valid name; {name_rule}"),
        ),
    ];
    for (task, expected) in cases {
        refused(&format!("[[task]]\n{task}\n"), &[&expected]);
    }
}

#[test]
fn lists_are_bounded() {
    let strings = |count: usize| vec!["\"x\""; count].join(", ");
    refused_line(
        &format!("messages = [{}]", strings(1_001)),
        "`messages` has 1001 entries; write at most 1000",
    );
    assert!(
        Plan::parse(
            "PLAN.toml",
            &format!(
                "[[task]]\nname = \"a\"\ncommand = [\"true\"]\nmessages = [{}]",
                strings(1_000)
            ),
        )
        .is_ok()
    );
}

#[test]
fn durations_are_read_as_people_write_them() {
    let millis = |text: &str| parse_duration(text).map(|duration| duration.as_millis());
    for (text, expected) in [
        ("500ms", 500),
        ("30s", 30_000),
        ("2m", 120_000),
        ("1h", 3_600_000),
    ] {
        assert_eq!(millis(text), Ok(expected), "{text}");
    }
    assert_eq!(millis("1m30s"), Ok(90_000));
    assert_eq!(millis("0.5s"), Ok(500));
    for text in ["", "s", "5", "5d", "5 s", "1.2.3s", "-1s", "5s,", "1e3s"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}
