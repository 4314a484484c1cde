//! Processes that ask and are answered, that suspend themselves and are resumed.

use crate::crew::{Crew, task};

/// Waits until a task is stuck so.
fn until_stuck(crew: &Crew, name: &str, how: &str) {
    let stuck = crew.say(&["wait", "--or-stuck", name]);
    let expected = format!("{name} {how}\n");
    assert_eq!((stuck.code, stuck.stdout), (Some(3), expected));
}

#[test]
fn question_is_shown_and_answered_from_another_terminal() {
    let script = "echo up; understory ask deploy 'Deploy to production?'; echo code $?; \
                  understory ask deploy 'Really?'";
    let crew = Crew::new(&task("lead", script, ""));
    let mut run = crew.start(&[]);
    run.line_with("lead | up");
    until_stuck(&crew, "lead", "asks deploy");
    let shown = crew.say(&["show", "lead"]).stdout;
    let question = "asks         deploy: Deploy to production?\n";
    assert!(shown.contains(question), "{shown}");
    let wrong = crew.say(&["respond", "lead", "deplot", "yes"]);
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("has asked no question deplot"),
        "{wrong:?}"
    );
    let answered = crew.say(&["respond", "lead", "deploy", "yes, do"]);
    assert_eq!(answered.code, Some(0), "{answered:?}");

    // Asked again by its key it is the same question.
    assert_eq!(run.line_with("lead | yes"), "lead | yes, do");
    run.line_with("lead | code 0");
    let done = run.finish();
    assert_eq!((done.code, &*done.stdout), (Some(0), "lead | yes, do\n"));
    assert!(
        done.stderr
            .contains("lead: asks deploy: Deploy to production?\n"),
        "{done:?}"
    );
}

#[test]
fn parent_answers_its_child_and_a_stranger_may_not() {
    let plan = task(
        "lead",
        "understory wait --or-stuck child; understory respond child color red",
        "",
    ) + &task("child", "understory ask color which", "parent = \"lead\"")
        + &task(
            "other",
            "understory respond child color blue; echo code $?",
            "",
        );
    let done = Crew::new(&plan).run(&[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("lead/child | red\n"), "{done:?}");
    assert!(done.stdout.contains("other | code 1\n"), "{done:?}");
    assert!(
        done.stderr.contains("no task below this one is \"child\""),
        "{done:?}"
    );
}

#[test]
fn question_of_a_task_that_is_cancelled_is_not_waited_for() {
    let script = "trap : TERM; echo up; understory ask never 'any?' & wait; wait";
    let crew = Crew::new(&task("lead", script, ""));
    let mut run = crew.start(&[]);
    run.line_with("lead | up");
    until_stuck(&crew, "lead", "asks never");
    assert_eq!(crew.say(&["cancel", "lead"]).code, Some(0));
    let done = run.finish();
    assert_eq!(done.code, Some(1));
}

#[test]
fn suspended_task_has_no_process_and_goes_on_with_what_it_is_told() {
    let script = "if [ -z \"${UNDERSTORY_RESUMED+set}\" ]; then \
                    understory suspend 'may I pay 20 EUR?'; echo asked; exit 0; \
                  fi; \
                  echo \"attempt $UNDERSTORY_ATTEMPT: $UNDERSTORY_RESUMED\"";
    let crew = Crew::new(&task("pay", script, ""));
    let mut run = crew.start(&[]);
    run.line_with("pay | asked");
    until_stuck(&crew, "pay", "suspended");
    crew.mark().wait_until_left(1);

    let shown = crew.say(&["show", "pay"]);
    assert!(
        shown
            .stdout
            .contains("waits        to be resumed: may I pay 20 EUR?\n"),
        "{shown:?}"
    );
    let resumed = crew.say(&["resume", "pay", "yes, you may"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let done = run.finish();
    assert_eq!(
        (done.code, &*done.stdout),
        (Some(0), "pay | attempt 1: yes, you may\n")
    );
    assert!(done.stderr.contains("may I pay 20 EUR?"), "{done:?}");
}

#[test]
fn what_a_resumed_task_starts_was_not_resumed_itself() {
    let script = "echo up; \
                  if [ -z \"${UNDERSTORY_RESUMED+set}\" ]; then understory suspend x; exit 0; fi; \
                  understory spawn --wait -- sh -c 'echo \"child ${UNDERSTORY_RESUMED-none}\"'";
    let crew = Crew::new(&task("lead", script, ""));
    let mut run = crew.start(&[]);
    run.line_with("lead | up");
    until_stuck(&crew, "lead", "suspended");
    // Without a text it is empty, and set all the same.
    assert_eq!(crew.say(&["resume", "lead"]).code, Some(0));
    let done = run.finish();
    assert!(done.stdout.contains("lead | child none\n"), "{done:?}");
}

#[test]
fn failure_goes_before_a_suspension() {
    let crew = Crew::new(&task("lead", "understory suspend x; exit 3", ""));
    let done = crew.run(&[]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("exit code 3"), "{done:?}");
}

#[test]
fn only_a_suspended_task_is_resumed_and_only_a_process_suspends() {
    let crew = Crew::new(&task("lead", "echo up; read line < gate", ""));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    run.line_with("lead | up");
    let early = crew.say(&["resume", "lead", "x"]);
    assert_eq!(early.code, Some(1));
    assert!(
        early.stderr.contains("not suspended but running"),
        "{early:?}"
    );
    assert_eq!(crew.say(&["resume", "nobody", "x"]).code, Some(1));
    for words in [&["suspend", "x"][..], &["ask", "key", "x"]] {
        let outside = crew.say(words);
        assert_eq!(outside.code, Some(1), "{outside:?}");
        assert!(
            outside.stderr.contains("only a process of a task can"),
            "{outside:?}"
        );
    }
    let large = "x".repeat(65_537);
    let large = crew.say(&["resume", "lead", &large]);
    assert_eq!(large.code, Some(2), "{large:?}");
    crew.release("gate");
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn wait_ends_with_what_is_stuck_if_that_counts() {
    let plan = task("lead", "echo up; read line < gate", "")
        + &task("asks", "understory ask color which", "parent = \"lead\"")
        + &task(
            "sleeps",
            "[ \"${UNDERSTORY_RESUMED+set}\" ] || understory suspend 'may I?'",
            "parent = \"lead\"",
        )
        + &task("fails", "exit 3", "parent = \"lead\"");
    let crew = Crew::new(&plan);
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    run.line_with("lead | up");

    let stuck = crew.say(&["wait", "--or-stuck", "asks"]);
    assert_eq!(
        (stuck.code, &*stuck.stdout),
        (Some(3), "lead/asks asks color\n")
    );
    let stuck = crew.say(&["wait", "--or-stuck", "sleeps"]);
    assert_eq!(
        (stuck.code, &*stuck.stdout),
        (Some(3), "lead/sleeps suspended\n")
    );
    let worst = crew.say(&["wait", "--or-stuck", "asks", "fails", "sleeps"]);
    assert_eq!(worst.code, Some(1), "{worst:?}");
    assert_eq!(worst.stdout.lines().count(), 3, "{worst:?}");
    let ordinary = crew.say(&["wait", "asks", "--timeout", "1ms"]);
    assert_eq!((ordinary.code, &*ordinary.stdout), (Some(124), ""));

    assert_eq!(crew.say(&["respond", "asks", "color", "red"]).code, Some(0));
    assert_eq!(crew.say(&["resume", "sleeps"]).code, Some(0));
    let ended = crew.say(&["wait", "--or-stuck", "asks", "sleeps"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    crew.release("gate");
    assert_eq!(run.finish().code, Some(1));
}

#[test]
fn task_with_long_questions_and_answers_is_shown_like_any_other() {
    let script = "text=$(head -c 65000 /dev/zero | tr '\\0' x); \
                  for key in $(seq 36); do \
                    (until understory respond self $key \"$text\"; do :; done 2>&-) & \
                    understory ask $key \"$text\" > answer; \
                    wait; \
                  done; \
                  echo up; read line < gate";
    let crew = Crew::new(&task("lead", script, ""));
    crew.pipe("gate");
    let mut run = crew.start(&["--json"]);
    run.line_with("\"text\":\"up\"");
    let listed = crew.say(&["ls"]);
    assert_eq!((listed.code, listed.stdout.lines().count()), (Some(0), 1));
    let shown = crew.say(&["show", "lead", "--json"]);
    let record: serde_json::Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    let questions = record["questions"].as_object().expect("it has asked");
    let bytes: usize = questions.values().map(|it| it.to_string().len()).sum();
    assert!(questions.len() == 36 && bytes > 4 << 20, "{bytes} bytes");
    crew.release("gate");
    assert_eq!(run.finish().code, Some(0));
}
