use super::*;

/// Checks that the plan is refused with exactly these problems, given as `LINE: text`.
fn refused(text: &str, expected: &[&str]) {
    let problems = Plan::parse("PLAN.toml", text).expect_err("the plan is wrong");
    let expected: Vec<String> = expected
        .iter()
        .map(|line| format!("PLAN.toml:{line}"))
        .collect();
    assert_eq!(problems.lines(), expected, "\n{text}");
}

/// Checks that one line in a task of an otherwise good plan is refused with this problem.
fn refused_line(line: &str, expected: &str) {
    let text = format!("[[task]]\nname = \"a\"\ncommand = [\"true\"]\n{line}\n");
    refused(&text, &[&format!("4: {expected}")]);
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.tasks.iter().map(|task| task.name.as_str()).collect()
}

/// A plan of tasks given as `name`, `parent`, `after` names and further keys.
fn crew(tasks: &[(&str, &str, &str, &str)]) -> String {
    let mut text = String::new();
    for (name, parent, after, more) in tasks {
        let parent = if parent.is_empty() {
            String::new()
        } else {
            format!("parent = {parent:?}")
        };
        let after: Vec<String> = after
            .split_whitespace()
            .map(|name| format!("{name:?}"))
            .collect();
        let after = after.join(", ");
        text += &format!(
            "[[task]]\nname = {name:?}\ncommand = [\"true\"]\n{parent}\nafter = [{after}]\n{more}\n"
        );
    }
    text
}

#[test]
fn every_key_is_read() {
    let plan = Plan::parse(
        "PLAN.toml",
        r#"
        [limits]
        global = 8
        llm = 0x2
        [[task]]
        name = "lead"
        command = ["sh", "-c", "true"]
        [[task]]
        name = "docs"
        command = ["cat"]
        parent = "lead"
        after = ["code"]
        kind = "reader"
        env = { LANG = "C" }
        cwd = "src"
        timeout = "1m30s"
        idle_timeout = 2.5
        retry = { count = 3, delay = "500ms", factor = 1.5, cap = 10 }
        limits = ["llm"]
        on_parent_end = "detach"
        grace = 0
        messages = ["one", "two"]
        inbox = "open"
        [[task]]
        name = "code"
        command = ["cat"]
        retry = 2
        "#,
    )
    .expect("the plan is right");

    assert_eq!(names(&plan), ["lead", "code", "docs"]);
    assert_eq!(plan.global_limit, NonZeroU32::new(8));
    assert_eq!(plan.limits["llm"].get(), 2);
    let docs = &plan.tasks[2];
    assert_eq!(docs.command, ["cat"]);
    assert_eq!(docs.parent.as_deref(), Some("lead"));
    assert_eq!(docs.after, ["code"]);
    assert_eq!(docs.kind.as_deref(), Some("reader"));
    assert_eq!(docs.env["LANG"], "C");
    assert_eq!(docs.cwd.as_deref(), Some(std::path::Path::new("src")));
    assert_eq!(docs.timeout, Some(Duration::from_secs(90)));
    assert_eq!(docs.idle_timeout, Some(Duration::from_millis(2_500)));
    let retry = docs.retry.expect("it was given");
    assert_eq!(
        (retry.count, retry.delay),
        (3, Some(Duration::from_millis(500)))
    );
    assert_eq!(
        (retry.factor, retry.cap),
        (Some(1.5), Some(Duration::from_secs(10)))
    );
    assert_eq!(docs.limits, ["llm"]);
    assert_eq!(docs.on_parent_end, Some(PlanParentEnd::Detach));
    assert_eq!(docs.grace, Some(Duration::ZERO));
    assert_eq!(docs.messages, ["one", "two"]);
    assert_eq!(docs.inbox, PlanInbox::Open);
    assert_eq!(plan.tasks[1].retry.map(|retry| retry.count), Some(2));
    assert_eq!(plan.tasks[1].inbox, PlanInbox::Closed);
}

#[test]
fn wrong_value_is_refused_with_its_line_and_what_to_write() {
    let words = "write \"wait\" or \"cancel\" or \"detach\"";
    let duration = duration::HOW_TO_WRITE;
    let cases = [
        (
            "comand = []",
            "unknown key `comand`; write `command`".to_owned(),
        ),
        (
            "parent = 3",
            "`parent` is not valid (integer); write parent = \"…\"".to_owned(),
        ),
        (
            "after = \"b\"",
            "`after` is not valid (string); write after = [\"…\", \"…\"]".to_owned(),
        ),
        (
            "timeout = \"soon\"",
            format!("`timeout` is not valid (string); {duration}"),
        ),
        (
            "timeout = \"3\"",
            format!("`timeout` is not valid (string); {duration}"),
        ),
        (
            "timeout = -1",
            format!("`timeout` is not valid (integer); {duration}"),
        ),
        (
            "timeout = nan",
            format!("`timeout` is not valid (float); {duration}"),
        ),
        (
            "timeout = \"0s\"",
            "`timeout` is zero; write a longer duration or drop the key".to_owned(),
        ),
        (
            "grace = \"9000h\"",
            "`grace` is not valid (string); write a duration of at most a year, \"8760h\""
                .to_owned(),
        ),
        (
            "on_parent_end = \"stop\"",
            format!("`on_parent_end` is not valid (string); {words}"),
        ),
        (
            "inbox = true",
            "`inbox` is not valid (boolean); write \"open\" or \"closed\"".to_owned(),
        ),
        (
            "retry = \"3\"",
            "`retry` is not valid (string); \
             write retry = 3 or retry = { count = 3, delay = \"1s\" }"
                .to_owned(),
        ),
        (
            "retry = 100",
            "`retry` is not valid (integer); write a whole number from 0 to 99".into(),
        ),
        (
            "retry = { delay = 1 }",
            "`retry` has no count; write { count = 3, … }".into(),
        ),
        (
            "retry = { count = 1, delay = 2, cap = 1 }",
            "the cap of `retry` is below its delay; write a longer cap".into(),
        ),
        (
            "retry = { count = 1, factor = 0.5 }",
            "`factor` is not valid (float); write a number from 1 to 100".into(),
        ),
        (
            "retry = { count = 1, dealy = 1 }",
            "unknown key `dealy`; write `delay`".into(),
        ),
        (
            "limits = [\"llm\"]",
            "unknown limit class \"llm\"; give its size as llm = 2 in [limits]".into(),
        ),
        (
            "limits = [\"global\"]",
            "every task counts as \"global\" by itself; \
             drop it here; [limits] is the place for its size"
                .into(),
        ),
        (
            "env = { A = 1 }",
            "`A` is not valid (integer); write A = \"…\"".into(),
        ),
        (
            "env = { UNDERSTORY_SOCKET = \"x\" }",
            "UNDERSTORY_SOCKET is set by understory itself; choose another name".into(),
        ),
        (
            "env = { \"A=B\" = \"x\" }",
            "\"A=B\" is no name of a variable; write a name without `=`".into(),
        ),
        (
            "cwd = \"\"",
            "`cwd` is empty; write a directory or drop the key".into(),
        ),
        (
            "kind = \"a b\"",
            "\"a b\" is not a valid kind; write 1 to 128 of A-Z a-z 0-9 . _ -".into(),
        ),
        (
            "messages = [\"one\\ntwo\"]",
            "a message has more than one line; write one message for each line".into(),
        ),
        (
            "parent = \"b\"",
            "no task is named \"b\"; write the name of a task of this plan".into(),
        ),
        (
            "after = [\"a\"]",
            "\"a\" would wait for itself; write the name of a task of another branch".into(),
        ),
    ];
    for (line, expected) in cases {
        refused_line(line, &expected);
    }
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
fn wrong_plan_is_refused() {
    let no_task = "1: the plan has no task; write a [[task]] with a name and a command";
    refused("", &[no_task]);
    refused("[limits]\nllm = 2\n", &[no_task]);
    refused("[[tasks]]\n", &["1: unknown key `tasks`; write `task`"]);
    refused(
        "task = 3\n",
        &["1: `task` is not valid (integer); write [[task]] above each task"],
    );
    let good = "[[task]]\nname = \"a\"\ncommand = [\"true\"]\n";
    refused(
        &format!("{good}[limits]\nllm = 0\n"),
        &["5: `llm` is not valid (integer); write a whole number from 1 to 100000"],
    );
    refused(
        &format!("{good}[limits]\n\"l m\" = 1\n"),
        &["5: \"l m\" is not a valid limit class; write 1 to 128 of A-Z a-z 0-9 . _ -"],
    );
    refused(
        &"#".repeat(PLAN_BYTES_MAX + 1),
        &["1: the plan is too long; write at most 1048576 bytes"],
    );
    assert!(Plan::parse("PLAN.toml", &format!("{good}#{}", "#".repeat(100))).is_ok());
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let problems = Plan::parse("PLAN.toml", "[[task]]\nname = \"a\ncommand = [\"true\"]\n")
        .expect_err("a string does not end");
    let lines = problems.lines();
    assert!(lines[0].starts_with("PLAN.toml:2: "), "{lines:?}");
    assert!(lines[0].ends_with("; write valid TOML"), "{lines:?}");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_their_lines() {
    refused(
        "[[task]]\nname = \"a\"\nretry = -1\nafter = [\"c\",\n \"bb\"]\ncommand = []\nfoo = 1\n\
         [[task]]\nname = \"b\"\ncommand = [\"true\"]\n[[task]]\nname = \"b\"\ncommand = [\"true\"]\n",
        &[
            "3: `retry` is not valid (integer); write a whole number from 0 to 99",
            "4: no task is named \"c\"; write the name of a task of this plan",
            "5: no task is named \"bb\"; write \"b\"",
            "6: the command is empty; write command = [\"program\", \"argument\"]",
            &format!("7: unknown key `foo`; the keys are {}", KEYS),
            "12: the name \"b\" is taken by another task; choose another name",
        ],
    );
}

const KEYS: &str = "name, command, parent, after, kind, env, cwd, timeout, idle_timeout, retry, \
                    limits, on_parent_end, grace, messages, inbox";

#[test]
fn after_on_kin_is_refused() {
    refused(
        &crew(&[("a", "", "", ""), ("b", "a", "", ""), ("c", "b", "a", "")]),
        &[
            "17: \"c\" would wait for \"a\", which ends only after what is below it; \
           write the name of a task of another branch",
        ],
    );
    refused(
        &crew(&[("a", "", "c", ""), ("b", "a", "", ""), ("c", "b", "", "")]),
        &[
            "5: \"a\" would wait for \"c\", which starts only after what is above it; \
           write the name of a task of another branch",
        ],
    );
}

#[test]
fn cycle_is_refused_with_the_waits_that_close_it() {
    refused(
        &crew(&[
            ("a", "", "b", ""),
            ("b", "", "c", ""),
            ("c", "", "a", ""),
            ("d", "", "c", ""),
        ]),
        &[
            "5: \"a\" would wait for itself: \"a\" runs after \"b\", \"b\" runs after \"c\", \
           \"c\" runs after \"a\"; drop one of these waits",
        ],
    );
    refused(
        &crew(&[("a", "b", "", ""), ("b", "a", "", "")]),
        &[
            "4: \"a\" would wait for itself: \"a\" starts after its parent \"b\", \
           \"b\" starts after its parent \"a\"; drop one of these waits",
        ],
    );
    // The child of `b` waits for `a`, which waits for `b`, which ends only after its child.
    refused(
        &crew(&[
            ("a", "", "b", ""),
            ("b", "", "", ""),
            ("child", "b", "a", ""),
        ]),
        &[
            "5: \"a\" would wait for itself: \"a\" runs after \"b\", \"b\" ends after its child \"child\", \
           \"child\" runs after \"a\"; drop one of these waits",
        ],
    );
}

#[test]
fn every_cycle_is_told() {
    let problems = Plan::parse(
        "PLAN.toml",
        &crew(&[
            ("a", "", "b", ""),
            ("b", "", "a", ""),
            ("c", "", "d", ""),
            ("d", "", "c", ""),
        ]),
    )
    .expect_err("two rings");
    assert_eq!(problems.lines().len(), 2, "{problems}");
}

#[test]
fn detached_child_may_wait_for_what_waits_for_its_parent() {
    let text = crew(&[
        ("a", "", "b", ""),
        ("b", "", "", ""),
        ("child", "b", "a", "on_parent_end = \"detach\""),
    ]);
    let plan = Plan::parse("PLAN.toml", &text).expect("the parent does not wait for it");
    assert_eq!(names(&plan), ["b", "a", "child"]);
}

#[test]
fn parents_and_targets_come_first() {
    let text = crew(&[
        ("z", "y", "x", ""),
        ("y", "", "", ""),
        ("x", "w", "", ""),
        ("w", "", "", ""),
    ]);
    let plan = Plan::parse("PLAN.toml", &text).expect("the plan is right");
    assert_eq!(names(&plan), ["y", "w", "x", "z"]);
}

#[test]
fn long_chains_are_checked_without_recursion() {
    let count = 5_000;
    let mut text = String::new();
    for at in (0..count).rev() {
        let after = if at == 0 {
            String::new()
        } else {
            format!("after = [\"t{}\"]\n", at - 1)
        };
        text += &format!("[[task]]\nname = \"t{at}\"\ncommand = [\"true\"]\n{after}");
    }
    let plan = Plan::parse("PLAN.toml", &text).expect("a chain is no cycle");
    assert_eq!(plan.tasks.len(), count);
    assert_eq!((names(&plan)[0], names(&plan)[count - 1]), ("t0", "t4999"));
}

#[test]
fn tree_may_be_as_deep_as_the_bound_and_no_deeper() {
    let chain = |count: usize| {
        let task = |at: usize| {
            let parent = at
                .checked_sub(1)
                .map_or(String::new(), |above| format!("t{above}"));
            crew(&[(format!("t{at}").as_str(), parent.as_str(), "", "")])
        };
        (0..count).map(task).collect::<String>()
    };
    assert!(Plan::parse("PLAN.toml", &chain(DEPTH_MAX + 1)).is_ok());
    refused(
        &chain(DEPTH_MAX + 3),
        &["392: more than 64 tasks are above \"t65\"; hang it higher"],
    );
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
