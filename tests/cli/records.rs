//! The file of a run: where it is, who may use it, and what the verbs read in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use understory::store::sqlite::{Options, SqliteStore};
use understory::store::{LEASE_TTL, LeaseAsk, Owner, Store};

use crate::crew::{Crew, Done, Run, task};

/// A lead with a child that has completed and one that goes on, in the file `crew.db`.
fn family() -> (Crew, Run) {
    let plan = task("lead", "exec sleep 1000", "")
        + &task("code", "echo typed", "parent = \"lead\"\nkind = \"writer\"")
        + &task(
            "docs",
            "echo up; exec sleep 1000",
            "parent = \"lead\"\nafter = [\"code\"]",
        );
    let crew = Crew::new(&plan);
    let mut run = crew.start(&["--db", "crew.db"]);
    run.line_with("docs | up");
    (crew, run)
}

fn stop(run: Run) -> Done {
    run.signal(Signal::INT);
    run.finish()
}

/// The files in the folder that understory chose itself.
fn own_files(crew: &Crew) -> Vec<PathBuf> {
    let entries = fs::read_dir(crew.file("state/understory"))
        .into_iter()
        .flatten();
    let paths = entries.map(|entry| entry.expect("the directory is ours").path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "db"))
        .collect()
}

fn json_lines(done: &Done) -> Vec<Value> {
    assert_eq!(done.code, Some(0), "{done:?}");
    let lines = done.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[test]
fn run_keeps_its_records_in_a_file_of_its_own_and_tells_where() {
    let crew = Crew::new(&task("a", "echo hello", ""));
    let done = crew.run(&[]);
    let files = own_files(&crew);
    assert_eq!(files.len(), 1, "{done:?}");
    let told = format!("records in {}\n", files[0].display());
    assert!(done.stderr.starts_with(&told), "{done:?}");
    assert!(done.stderr.ends_with(&told), "{done:?}");

    // With no run that goes on, its records answer, and the source is told.
    let listed = crew.say(&["ls"]);
    assert!(listed.stdout.ends_with("process       a\n"), "{listed:?}");
    let source = format!(
        "no run is found; these are the records in {}\n",
        files[0].display()
    );
    assert_eq!(listed.stderr, source);

    crew.run(&[]);
    assert_eq!(own_files(&crew).len(), 2, "each run has a file");
}

#[test]
fn run_that_is_to_keep_nothing_leaves_no_file() {
    for options in [&["--no-db"][..], &["--db", ":memory:"]] {
        let crew = Crew::new(&task("a", "true", ""));
        let done = crew.run(options);
        assert_eq!(done.code, Some(0));
        assert!(!done.stderr.contains("records in"), "{done:?}");
        assert!(own_files(&crew).is_empty());
        assert!(!crew.file(":memory:").exists());
        let listed = crew.say(&["ls"]);
        assert_eq!(listed.code, Some(2), "{listed:?}");
    }
}

#[test]
fn records_are_private_and_their_folder_too() {
    use std::os::unix::fs::PermissionsExt;
    let crew = Crew::new(&task("a", "true", ""));
    crew.run(&[]);
    let mode = |path: &PathBuf| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
    };
    assert_eq!(mode(&crew.file("state/understory")) & 0o777, 0o700);
    assert_eq!(mode(&own_files(&crew)[0]) & 0o777, 0o600);
}

#[test]
fn verbs_read_the_file_while_a_run_writes_it_and_after_it_was_killed() {
    let (crew, run) = family();
    let look = |crew: &Crew| {
        let records = json_lines(&crew.say(&["ls", "--json", "--db", "crew.db"]));
        let of = |path: &str| {
            let found = records.iter().find(|record| record["path"] == path);
            found
                .unwrap_or_else(|| panic!("{path}: {records:?}"))
                .clone()
        };
        assert_eq!(of("lead")["state"], "running");
        assert_eq!(of("lead/docs")["state"], "running");
        assert_eq!(of("lead/code")["state"], "completed");
        assert_eq!(of("lead/code")["command"][2], "echo typed");
        records
    };
    let live = json_lines(&crew.say(&["ls", "--json"]));
    assert_eq!(look(&crew), live, "both sources tell the same");
    let said = crew.say(&["ls", "--db", "crew.db"]);
    assert_eq!(said.stderr, "", "its run goes on");
    crew.crash(run);

    look(&crew);
    let tree = crew.say(&["tree", "--db", "crew.db", "--kind", "writer"]);
    assert_eq!(tree.stdout, "lead running\n└─ code completed\n");
    assert!(
        tree.stderr.contains("the run of crew.db was interrupted"),
        "{tree:?}"
    );
    let tree = crew.say(&["tree", "--db", "crew.db", "--json"]);
    assert_eq!(json_lines(&tree).len(), 3);
    let listed = crew.say(&["ls", "--db", "crew.db", "--state", "completed"]);
    assert!(listed.stdout.ends_with("lead/code\n"), "{listed:?}");
    assert_eq!(listed.stdout.lines().count(), 1);
}

#[test]
fn one_task_is_shown_from_the_file_by_name_path_and_id() {
    let (crew, run) = family();
    stop(run);
    let show = |target: &str, more: &[&str]| {
        crew.say(&[&["show", target, "--db", "crew.db"], more].concat())
    };
    let record = &json_lines(&show("lead/docs", &["--json"]))[0];
    assert_eq!(record["state"], "cancelled");
    let id = record["id"].as_str().expect("it has one");
    for target in ["docs", "lead/docs", id] {
        let shown = show(target, &[]);
        let lines: Vec<_> = shown.stdout.lines().collect();
        assert!(lines.contains(&"path         lead/docs"), "{shown:?}");
        assert!(lines.contains(&"state        cancelled"), "{shown:?}");
    }
    let missing = show("nobody", &[]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(
        missing.stderr.contains("`understory ls --db crew.db`"),
        "{missing:?}"
    );
}

#[test]
fn events_are_read_from_the_file_without_a_gap_and_from_a_number_on() {
    let (crew, run) = family();
    stop(run);
    let events = json_lines(&crew.say(&["events", "--json", "--db", "crew.db"]));
    let numbers = events.iter().map(|event| event["seq"].as_u64());
    assert!(numbers.eq((1..=events.len() as u64).map(Some)));
    let output = events.iter().find(|event| event["event"] == "output");
    let output = output.expect("code wrote something");
    assert_eq!(
        (&output["path"], &output["data"]["text"]),
        (&"lead/code".into(), &"typed".into())
    );
    let settled = events.iter().filter(|event| event["event"] == "settled");
    assert_eq!(settled.count(), 3);

    let last = events.len();
    let since = (last - 2).to_string();
    let told = crew.say(&["events", "--db", "crew.db", "--since", &since]);
    let first = told.stdout.lines().next().expect("two are told");
    assert!(first.starts_with(&format!("{} ", last - 1)), "{told:?}");
    assert_eq!(told.stdout.lines().count(), 2);
    let follow = crew.say(&["events", "--db", "crew.db", "--follow"]);
    assert_eq!(follow.code, Some(2), "a file is not followed: {follow:?}");
}

#[test]
fn second_run_on_the_file_is_refused_and_told_who_uses_it() {
    let (crew, run) = family();
    for options in [&["--db", "crew.db"][..], &["--db", "crew.db", "--resume"]] {
        let plan = ["run", "PLAN.toml"];
        let second = crew.say(&[&plan, options].concat());
        assert_eq!(second.code, Some(3), "{second:?}");
        let holder = format!("crew.db is in use by process {}: stop that one", run.pid());
        assert!(second.stderr.contains(&holder), "{second:?}");
    }
    assert_eq!(
        stop(run).code,
        Some(130),
        "the first goes on as if nothing was"
    );
}

#[test]
fn file_of_a_run_takes_no_other_run() {
    let crew = Crew::new(&task("a", "echo run >> ran", ""));
    assert_eq!(crew.run(&["--db", "crew.db"]).code, Some(0));
    let again = crew.run(&["--db", "crew.db"]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(
        again.stderr.contains("the records of a run that has ended"),
        "{again:?}"
    );
    let ran = fs::read_to_string(crew.file("ran")).expect("it ran");
    assert_eq!(ran, "run\n");
}

#[test]
fn file_that_cannot_be_used_is_told_with_a_code_of_its_own() {
    let crew = Crew::new(&task("a", "echo ran > ran", ""));
    fs::write(
        crew.file("other.db"),
        "not a database, but long enough\n".repeat(100),
    )
    .expect("the directory is ours");
    let mode = |mode| {
        let rights = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(crew.file("other.db"), rights).expect("it is ours");
    };
    mode(0o644);
    symlink(crew.file("elsewhere.db"), crew.file("link.db")).expect("the directory is ours");
    fs::create_dir(crew.file("folder.db")).expect("the directory is ours");
    let cases = [
        ("link.db", "is a symbolic link; use the path"),
        (
            "other.db",
            "can be read or written by others; take that away",
        ),
        ("folder.db", "is no file; choose another path"),
        ("no/such/folder.db", "No such file or directory"),
    ];
    for (file, why) in cases {
        let done = crew.run(&["--db", file]);
        assert_eq!(done.code, Some(3), "{file}: {done:?}");
        assert!(done.stderr.contains(why), "{file}: {done:?}");
    }
    mode(0o600);
    let done = crew.run(&["--db", "other.db"]);
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("is no file of understory"), "{done:?}");
    let listed = crew.say(&["ls", "--db", "other.db"]);
    assert_eq!(listed.code, Some(3), "{listed:?}");
    let missing = crew.say(&["ls", "--db", "missing.db"]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(
        !crew.file("ran").exists(),
        "nothing runs without its records"
    );
}

#[test]
fn run_says_why_it_ends_when_somebody_else_has_its_records() {
    let crew = Crew::new(&task("a", "read line < gate; echo over", ""));
    crew.pipe("gate");
    let mut run = crew.start(&["--db", "crew.db"]);
    run.error_with("a: running");
    fs::remove_file(crew.file("crew.db.lock")).expect("it is there");
    let other = SqliteStore::open(crew.file("crew.db"), Options::default()).expect("it is whole");
    let claim = LeaseAsk::Claim {
        owner: Owner::from_u128(1),
        ttl: LEASE_TTL,
        instead_of: other.lease(&LeaseAsk::Look).expect("it is whole"),
    };
    other.lease(&claim).expect("it is the one that was seen");
    crew.release("gate");

    run.error_with("the manager has ended, and the run with it: the store was taken over");

    let done = run.finish();
    assert_eq!(done.code, Some(1), "{done:?}");
}

#[test]
fn run_waits_while_its_records_cannot_be_written_and_then_goes_on() {
    let crew = Crew::new(&task("a", "read line < gate; seq 20000", ""));
    crew.pipe("gate");
    let mut run = crew.start_with_file_limit(300, &["--db", "crew.db"]);
    run.error_with("a: running");
    crew.release("gate");
    run.error_with("the records cannot be written, and without them nothing goes on");

    run.lift_limit();

    run.error_with("the records are written again");
    let done = run.finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(done.stdout.lines().count(), 20_000, "no line is lost");
    let events = crew.say(&["events", "--json", "--db", "crew.db"]);
    let outputs = events.stdout.matches("\"event\":\"output\"").count();
    assert_eq!(outputs, 20_000);
}

#[test]
fn trouble_is_told_beside_the_json_too() {
    let crew = Crew::new(&task("a", "seq 20000", ""));
    let mut run = crew.start_with_file_limit(300, &["--json", "--db", "crew.db"]);
    run.close_stdout();
    run.error_with("the records cannot be written, and without them nothing goes on");

    run.lift_limit();

    run.error_with("the records are written again");
    assert_eq!(run.finish().code, Some(0));
}
