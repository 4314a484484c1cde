//! What happened and was not read at once: it is told all the same.

use std::fs;

use serde_json::Value;

use crate::crew::{Crew, task};

/// The numbers of events, of which no other line stands among them.
fn numbers(lines: &str) -> Vec<u64> {
    let number = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("an event is JSON");
        event["seq"].as_u64()
    };
    let numbers = lines.lines().map(|line| number(line).ok_or(line));
    numbers.map(|number| number.expect("it has one")).collect()
}

#[test]
fn events_that_only_the_file_holds_are_told_by_the_run() {
    let crew = Crew::new(&task("a", "seq 3000; echo up; read line < gate", ""));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    run.line_with("a | up");

    let told = numbers(&crew.say(&["events", "--since", "100", "--json"]).stdout);

    assert!(told.len() > 2_900, "{} events", told.len());
    assert!((101..).zip(&told).all(|(due, number)| due == *number));
    crew.release("gate");
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn screen_that_nobody_reads_misses_nothing_however_much_happens() {
    // The writer is held up while nobody reads; what happens to the others is not.
    let more = "retry = { count = 99, delay = \"1ms\" }";
    let mut plan = task("writer", "echo > up; seq 2000", "");
    for name in ["one", "two", "three", "four", "five"] {
        plan += &task(name, "exit 3", more);
    }
    let crew = Crew::new(&plan);
    crew.pipe("up");
    let run = crew.start(&["--json"]);
    crew.wait_at("up");
    let ends = crew.say(&["wait", "one", "two", "three", "four", "five"]);
    assert_eq!(ends.stdout.matches(" failed\n").count(), 5, "{ends:?}");

    let told = numbers(&run.finish().stdout);

    assert!(told.len() > 3_000, "{} events", told.len());
    assert!((1..).zip(&told).all(|(due, number)| due == *number));
}

#[test]
fn file_alone_tells_all_of_a_run_that_has_ended_though_it_was_read_meanwhile() {
    let crew = Crew::new(&task("a", "seq 3000; echo up; read line < gate", ""));
    crew.pipe("gate");
    let mut run = crew.start(&["--db", "crew.db"]);
    run.line_with("a | up");
    let told = numbers(&crew.say(&["events", "--since", "0", "--json"]).stdout);
    assert!(told.len() > 3_000, "{} events", told.len());
    crew.release("gate");
    assert_eq!(run.finish().code, Some(0));

    assert!(!crew.file("crew.db-wal").exists(), "its log is in it");
    fs::copy(crew.file("crew.db"), crew.file("copy.db")).expect("the directory is ours");
    let kept = numbers(&crew.say(&["events", "--db", "copy.db", "--json"]).stdout);
    assert!(
        kept.starts_with(&told) && kept.len() > told.len(),
        "{kept:?}"
    );
    let listed = crew.say(&["ls", "--db", "copy.db"]);
    assert!(listed.stdout.contains("completed"), "{listed:?}");
}
