//! What tasks write and say, whatever bytes it is made of and however slowly it comes or is read.

use serde_json::Value;

use crate::crew::{Crew, Done, task};

fn run(plan: &str, arguments: &[&str]) -> Done {
    let done = Crew::new(plan).run(arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done
}

/// The texts of all output.
fn written(json_lines: &str) -> impl Iterator<Item = String> {
    let lines = json_lines.lines();
    let events = lines.map(|line| serde_json::from_str(line).expect("a line is JSON"));
    let outputs = events.filter(|event: &Value| event["event"] == "output");
    outputs.map(|event| {
        event["data"]["text"]
            .as_str()
            .expect("it has one")
            .to_owned()
    })
}

#[test]
fn control_bytes_come_through_however_many() {
    let script = "head -c 17000000 /dev/zero; echo; echo end";
    let done = run(&task("a", script, ""), &["--no-db"]);
    assert_eq!(done.stdout.matches('\0').count(), 17_000_000);
    assert!(done.stdout.ends_with("\na | end\n"));

    let script = "head -c 300000 /dev/zero; echo";
    let done = run(&task("a", script, ""), &["--json"]);
    assert_eq!(
        written(&done.stdout).collect::<String>(),
        "\0".repeat(300_000)
    );
}

#[test]
fn output_without_an_end_of_line_is_a_sign_of_life() {
    let script = "for i in $(seq 150); do printf .; sleep 0.01; done; echo";
    let done = run(&task("a", script, "idle_timeout = \"1s\""), &[]);
    assert_eq!(done.stdout, format!("a | {}\n", ".".repeat(150)));
}

#[test]
fn process_that_writes_is_not_silent_though_nobody_reads_it() {
    let plan =
        task("a", "seq 100000", "idle_timeout = \"1s\"") + &task("b", "sleep 1.5; echo > late", "");
    let crew = Crew::new(&plan);
    crew.pipe("late");
    let run = crew.start(&[]);
    crew.wait_at("late");

    let done = run.finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(done.stdout.lines().count(), 100_000);
}
