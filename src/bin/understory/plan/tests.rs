//! Plans that are right, and all that is said of those that are not.

mod order;
mod values;

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
    let text = |(name, parent, after, more): &(&str, &str, &str, &str)| {
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
        format!(
            "[[task]]\nname = {name:?}\ncommand = [\"true\"]\n{parent}\nafter = [{after}]\n{more}\n"
        )
    };
    tasks.iter().map(text).collect()
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
        &["5: `llm` is 0; write a whole number from 1 to 100000"],
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
        "[[task]]\nname = \"a\"\nretry = -1\nafter = [\"c\",\n \"bb\"]\n\
         command = []\nfoo = 1\n\
         [[task]]\nname = \"b\"\ncommand = [\"true\"]\n\
         [[task]]\nname = \"b\"\ncommand = [\"true\"]\n",
        &[
            "3: `retry` is -1; write a whole number from 0 to 99",
            "4: no task is named \"c\"; write the name of a task of this plan",
            "5: no task is named \"bb\"; write \"b\"",
            "6: the command is empty; write command = [\"program\", \"argument\"]",
            &format!("7: unknown key `foo`; the keys are {KEYS}"),
            "12: the name \"b\" is taken by another task; choose another name",
        ],
    );
}

const KEYS: &str = "name, command, parent, after, kind, env, cwd, timeout, idle_timeout, retry, \
                    limits, on_parent_end, grace, messages, inbox";
