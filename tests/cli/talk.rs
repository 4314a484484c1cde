//! Processes that talk: inboxes, `understory send`, `understory progress`.

use serde_json::Value;

use crate::crew::{Crew, Done, task};

fn run(plan: &str) -> Done {
    Crew::new(plan).run(&[])
}

#[test]
fn messages_of_the_plan_are_the_input_and_then_it_ends() {
    let done = run(&task(
        "a",
        "cat; echo end",
        "messages = [\"one\", \"zwei ü\", \"\"]",
    ));
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(0), "a | one\na | zwei ü\na | \na | end\n")
    );
}

#[test]
fn input_is_empty_without_messages() {
    let done = run(&task("a", "cat; echo end", ""));
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "a | end\n"));
}

#[test]
fn every_attempt_gets_the_messages_of_the_plan() {
    let more = "messages = [\"hello\"]\nretry = { count = 1, delay = \"1ms\" }";
    let done = run(&task("a", "cat; [ $UNDERSTORY_ATTEMPT = 2 ]", more));
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(0), "a | hello\na | hello\n")
    );
}

#[test]
fn one_process_sends_to_the_inbox_of_another_in_order() {
    let plan = task("lead", "true", "")
        + &task(
            "writer",
            "understory send reader first; seq 3 | understory send reader",
            "parent = \"lead\"",
        )
        + &task(
            "reader",
            "for i in 1 2 3 4 5; do read line; echo \"got $line\"; done",
            "parent = \"lead\"\ninbox = \"open\"\nmessages = [\"from the plan\"]",
        );
    let done = run(&plan);
    let lines: Vec<_> = done.stdout.lines().collect();
    let expected =
        ["from the plan", "first", "1", "2", "3"].map(|line| format!("lead/reader | got {line}"));
    assert_eq!(
        (done.code, lines),
        (Some(0), expected.iter().map(String::as_str).collect())
    );
    assert!(
        done.stderr
            .contains("lead/reader: message from writer: first\n"),
        "{}",
        done.stderr
    );
}

#[test]
fn message_waits_for_a_task_that_has_not_started() {
    let plan = task("lead", "true", "")
        + &task("early", "understory send late hello", "parent = \"lead\"")
        + &task(
            "late",
            "read line; echo $line",
            "parent = \"lead\"\nafter = [\"early\"]\ninbox = \"open\"",
        );
    let done = run(&plan);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(0), "lead/late | hello\n")
    );
}

#[test]
fn child_and_parent_reach_each_other() {
    let plan = task(
        "lead",
        "read line; echo $line; understory send child back",
        "inbox = \"open\"",
    ) + &task(
        "child",
        "understory send parent there; read line; echo $line",
        "parent = \"lead\"\ninbox = \"open\"",
    );
    let done = run(&plan);
    assert_eq!(done.code, Some(0));
    assert_eq!(done.stdout, "lead | there\nlead/child | back\n");
}

#[test]
fn sending_is_refused_with_the_reason() {
    let send = |to: &str| format!("understory send {to} hello; echo code $?");
    let cases = [
        ("other", "no task of this tree is named \"other\""),
        ("nobody", "no task of this tree is named \"nobody\""),
        (
            "closed",
            "the inbox of closed is closed; write inbox = \"open\"",
        ),
        ("gone", "gone has ended"),
        ("parent", "this task has no parent"),
    ];
    for (to, reason) in cases {
        let plan = task("lead", &send(to), "after = [\"ready\"]\ninbox = \"open\"")
            + &task("closed", "true", "parent = \"lead\"")
            + &task("gone", "true", "inbox = \"open\"")
            + &task("other", "true", "inbox = \"open\"")
            + &task("ready", "true", "after = [\"gone\"]");
        // Of a tree of its own it is not even told that it has ended.
        let reason = if to == "gone" {
            "no task of this tree is named \"gone\""
        } else {
            reason
        };
        let done = run(&plan);
        assert_eq!(done.stdout, "lead | code 1\n", "{done:?}");
        assert!(
            done.stderr.contains(&format!("lead ! refused: {reason}")),
            "{done:?}"
        );
    }
}

#[test]
fn sending_to_a_sibling_that_has_ended_is_refused() {
    let plan = task("lead", "true", "")
        + &task("gone", "true", "parent = \"lead\"\ninbox = \"open\"")
        + &task(
            "late",
            "understory send gone hello",
            "parent = \"lead\"\nafter = [\"gone\"]",
        );
    let done = run(&plan);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr
            .contains("lead/late ! refused: gone has ended\n"),
        "{done:?}"
    );
}

#[test]
fn token_of_another_is_worth_nothing_when_it_has_ended_or_is_made_up() {
    let plan = task("early", "echo $UNDERSTORY_TOKEN > token", "")
        + &task(
            "late",
            "UNDERSTORY_TOKEN=$(cat token) understory progress x; echo code $?; \
             UNDERSTORY_TOKEN=made-up understory progress x; echo code $?",
            "after = [\"early\"]",
        );
    let done = run(&plan);
    assert_eq!(done.stdout, "late | code 1\nlate | code 1\n");
    let refusals = done
        .stderr
        .matches("late ! refused: the task that this process belongs to");
    assert_eq!(refusals.count(), 2, "{done:?}");
}

#[test]
fn progress_is_told() {
    let done = run(&task("a", "understory progress '3 of 9'", ""));
    assert_eq!(done.code, Some(0));
    assert!(done.stderr.contains("a: 3 of 9\n"), "{done:?}");
}

#[test]
fn text_that_is_too_long_is_refused() {
    let script = "understory progress \"$(head -c 5000 /dev/zero | tr '\\0' x)\"; echo code $?; \
                  understory send self \"$(head -c 65537 /dev/zero | tr '\\0' x)\"; echo code $?; \
                  understory send self \"$(head -c 65536 /dev/zero | tr '\\0' x)\"; echo code $?";
    let done = run(&task("a", script, "inbox = \"open\""));
    assert_eq!(
        done.stdout, "a | code 1\na | code 2\na | code 0\n",
        "{done:?}"
    );
}

#[test]
fn full_inbox_refuses_and_loses_nothing_it_took() {
    // The reader does not read before the writer has failed.
    let plan = task("lead", "true", "")
        + &task(
            "writer",
            "seq 5000 | understory send reader; echo code $?; exit 0",
            "parent = \"lead\"",
        )
        + &task(
            "reader",
            "sed -n '/^end$/q;p' | sort -n | \
             awk '$1 != NR { exit } END { print \"read up to \" NR }'",
            "parent = \"lead\"\nafter = [\"writer\"]\ninbox = \"open\"",
        )
        + &task(
            "ender",
            "until understory send reader end; do :; done 2>&-",
            "parent = \"lead\"\nafter = [\"writer\"]",
        );
    let done = run(&plan);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("lead/writer | code 1\n"), "{done:?}");
    assert!(
        done.stderr
            .contains("the inbox of reader is full (1024 messages)"),
        "{done:?}"
    );
    assert!(
        done.stdout.contains("lead/reader | read up to 1024\n"),
        "{done:?}"
    );
}

#[test]
fn every_message_that_was_sent_is_told_as_delivered_lost_or_undelivered() {
    // More than the window and the pipe hold, so one is being written when the reader ends.
    let plan = task("lead", "true", "")
        + &task(
            "writer",
            "text=$(head -c 65536 /dev/zero | tr '\\0' x); \
             for i in 1 2 3 4 5 6 7 8; do understory send reader \"$text\" || exit 1; done; \
             echo > sent",
            "parent = \"lead\"",
        )
        + &task(
            "reader",
            "read line < sent",
            "parent = \"lead\"\ninbox = \"open\"",
        );
    let crew = Crew::new(&plan);
    crew.pipe("sent");
    let done = crew.run(&["--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let events = done.stdout.lines();
    let events: Vec<Value> = events
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let told = |label: &str| {
        let of_label = |event: &&Value| event["data"]["type"] == label;
        events.iter().filter(of_label).count() as u64
    };
    let left: u64 = events
        .iter()
        .filter_map(|event| event["data"]["undelivered"].as_u64())
        .sum();
    let counts = (told("message"), told("message_lost"), left);
    assert_eq!(counts.0 + counts.1 + left, 8, "{counts:?}");
}
