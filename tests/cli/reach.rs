//! What a caller may see and change: its own subtree, and as the user of the run all of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::crew::{Crew, Done, task};

/// Two trees; the one named `other` writes down its id and its token, and `script` runs in a child
/// of `lead` beside a sibling.
fn run(script: &str) -> Done {
    let plan = task("lead", "true", "inbox = \"open\"")
        + &task(
            "other",
            "echo $UNDERSTORY_TASK_ID > id; echo $UNDERSTORY_TOKEN > token; \
                          echo > ready; read line < gate",
            "inbox = \"open\"",
        )
        + &task("sibling", "read line < gate2", "parent = \"lead\"")
        + &task(
            "me",
            &format!("read line < ready; {script}\necho > gate; echo > gate2"),
            "parent = \"lead\"",
        );
    let crew = Crew::new(&plan);
    for name in ["ready", "gate", "gate2"] {
        crew.pipe(name);
    }
    crew.run(&[])
}

#[test]
fn foreign_task_is_not_found_by_any_verb() {
    let verbs = [
        "show TARGET",
        "cancel TARGET",
        "wait TARGET --timeout 1ms",
        "spawn --parent TARGET -- true",
        "spawn --after TARGET -- true",
    ];
    let mut script = String::new();
    for target in [
        "$(cat id)",
        "other",
        "sibling",
        "lead",
        "lead/sibling",
        "nobody",
    ] {
        for verb in verbs {
            let verb = verb.replace("TARGET", target);
            script += "understory ";
            script += &verb;
            script += "; echo code $?\n";
        }
    }
    let done = run(&script);
    assert_eq!(done.stdout.matches("| code 1\n").count(), 30, "{done:?}");
    assert_eq!(done.stdout.lines().count(), 30, "{done:?}");
    let refusals = done
        .stderr
        .matches("refused: no task below this one is ")
        .count();
    assert_eq!((done.code, refusals), (Some(0), 30), "{done:?}");
}

#[test]
fn caller_sees_what_is_below_it_and_nothing_else() {
    let done = run(
        "understory spawn --name x -- true > /dev/null; understory wait x; \
                    understory ls; understory tree; understory events",
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    for foreign in ["other", "sibling", "lead/me/lead", " lead ", "lead running"] {
        let own = |line: &&str| line.starts_with("lead/me | ");
        let lines = done.stdout.lines().filter(own);
        let mut said = lines.filter_map(|line| line.strip_prefix("lead/me | "));
        assert!(
            !said.any(|line| line.contains(foreign)),
            "{foreign}: {done:?}"
        );
    }
    // That its wait is over may not be recorded yet.
    let me = |state: &str| format!("lead/me | me {state}");
    let lines: Vec<_> = done.stdout.lines().collect();
    let is_tree = |two: &[&str]| {
        let is_me = two[0] == me("running") || two[0].starts_with(&me("waiting: for "));
        is_me && two[1] == "lead/me | └─ x completed"
    };
    assert!(lines.windows(2).any(is_tree), "{done:?}");
    assert!(
        done.stdout.contains(" lead/me/x settled completed\n"),
        "{done:?}"
    );
}

#[test]
fn message_reaches_the_parent_and_its_tree_but_no_other_tree() {
    let done = run(
        "understory send parent a; understory send lead b; understory send self c; \
                    understory send other d; understory send $(cat id) e",
    );
    let refused = |reason: &str| {
        done.stderr
            .contains(&format!("lead/me ! refused: {reason}"))
    };
    assert!(refused("the inbox of self is closed"), "{done:?}");
    assert!(
        refused("no task of this tree is named \"other\""),
        "{done:?}"
    );
    assert_eq!(
        done.stderr.matches("no task of this tree").count(),
        2,
        "{done:?}"
    );
}

#[test]
fn token_of_another_task_or_a_forged_one_or_none_is_refused() {
    let done = run(
        "UNDERSTORY_TOKEN=$(cat token) understory ls; echo code $?; \
         UNDERSTORY_TOKEN=made-up understory ls; echo code $?; \
         (unset UNDERSTORY_TOKEN; understory ls; echo code $?); \
         run=\"$UNDERSTORY_SOCKET\"; unset UNDERSTORY_SOCKET UNDERSTORY_TOKEN; \
         understory ls --run \"$run\"; echo code $?; \
         setsid understory cancel other --run \"$run\"; echo code $?",
    );
    let said: Vec<_> = done.stdout.lines().collect();
    let expected = [1, 1, 2, 1, 1].map(|code| format!("lead/me | code {code}"));
    assert_eq!(said, expected, "{done:?}");
    for reason in [
        "does not belong to the task whose token it shows",
        "the task that this process belongs to does not run any more",
        "UNDERSTORY_TOKEN is not set",
        "belongs to a task and shows no token",
    ] {
        assert!(done.stderr.contains(reason), "{reason}: {done:?}");
    }
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn user_of_the_run_reaches_all_of_it_by_number_socket_or_alone() {
    let plan = task(
        "lead",
        "echo up; echo $UNDERSTORY_SOCKET; read line; echo $line",
        "inbox = \"open\"",
    );
    let crew = Crew::new(&plan);
    let mut run = crew.start(&[]);
    run.line_with("lead | up");
    let socket = run.line_with("run.sock").replace("lead | ", "");
    let directory = socket.strip_suffix("/run.sock").expect("it ends so");
    let (_, number) = directory.rsplit_once("understory-").expect("it has one");
    for choice in [
        &[][..],
        &["--run", &socket],
        &["--run", number],
        &["--run", directory],
    ] {
        let listed = crew.say(&[&["ls"], choice].concat());
        assert!(
            listed.stdout.ends_with("  lead\n"),
            "{choice:?}: {listed:?}"
        );
    }

    assert_eq!(crew.say(&["progress", "half"]).code, Some(1));
    assert_eq!(crew.say(&["send", "lead", "hello"]).code, Some(0));
    let done = run.finish();
    assert!(done.stdout.contains("lead | hello\n"), "{done:?}");
    assert!(
        done.stderr.contains("lead: message from host: hello\n"),
        "{done:?}"
    );
    let gone = crew.say(&["ls", "--run", &socket]);
    assert_eq!(gone.code, Some(2));
    assert!(gone.stderr.contains("perhaps it has ended"), "{gone:?}");
}

#[test]
fn run_that_does_not_exist_is_told_by_each_verb_that_names_one() {
    let crew = Crew::new("");
    // Left by a run that was killed: nobody answers there.
    let dead = crew.file("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("it is short"));
    let long = "x".repeat(200);
    for run in [
        "bogus",
        "no/such/run.sock",
        &long,
        &dead.display().to_string(),
    ] {
        for verb in [
            &["send", "x", "y"][..],
            &["ls"],
            &["tree"],
            &["show", "x"],
            &["cancel", "x"],
            &["wait", "x"],
            &["events"],
            &["events", "--follow"],
            &["respond", "x", "key", "y"],
            &["resume", "x"],
        ] {
            let said = crew.say(&[verb, &["--run", run]].concat());
            assert_eq!(said.code, Some(2), "{verb:?}: {said:?}");
            assert!(said.stderr.starts_with("no run is at "), "{said:?}");
        }
        let said = crew.say(&["spawn", "--run", run, "--", "true"]);
        assert_eq!(said.code, Some(2), "{said:?}");
    }
}

#[test]
fn several_runs_are_told_apart() {
    let crew = Crew::new(&task("lead", "echo up; sleep 1000", ""));
    let (mut one, mut two) = (crew.start(&[]), crew.start(&[]));
    one.line_with("up");
    two.line_with("up");

    let told = crew.say(&["progress", "half"]);
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(
        !told.stderr.contains("--run"),
        "it has no such choice: {told:?}"
    );
    let listed = crew.say(&["ls"]);

    assert_eq!(listed.code, Some(2));
    let runs: Vec<_> = listed
        .stderr
        .lines()
        .filter(|line| line.contains("  --run "))
        .collect();
    assert_eq!(runs.len(), 2, "{listed:?}");
    for run in runs {
        let socket = run.trim().strip_prefix("--run ").expect("it begins so");
        assert_eq!(crew.say(&["cancel", "lead", "--run", socket]).code, Some(0));
    }
    // Each finds what the other has left in their directory, so only the codes are looked at.
    drop((one, two));
    crew.mark().wait_for_none();
}

#[test]
fn old_and_foreign_clients_are_told_and_harm_nothing() {
    let crew = Crew::new(&task(
        "lead",
        "echo $UNDERSTORY_SOCKET; read line < gate",
        "",
    ));
    crew.pipe("gate");
    let mut run = crew.start(&[]);
    let socket = run.line_with("run.sock").replace("lead | ", "");
    let speak = |text: &str| {
        let mut stream = UnixStream::connect(&socket).expect("the run goes on");
        stream.write_all(text.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };

    let old = speak("{\"token\":\"\",\"verb\":\"progress\",\"text\":\"x\"}\n");
    assert!(
        old.contains("the request is of version null; use the `understory`"),
        "{old}"
    );
    assert!(speak("GET / HTTP/1.1\r\n").contains("not a request"));
    drop(UnixStream::connect(&socket));
    // Half a request, and gone.
    let mut half = UnixStream::connect(&socket).expect("the run goes on");
    half.write_all(b"{\"v\":1,").expect("it reads");
    drop(half);

    assert_eq!(crew.say(&["show", "lead"]).code, Some(0));
    crew.release("gate");
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn foreign_server_is_told() {
    // The path of a socket must be short.
    let directory = tempfile::tempdir_in("/tmp").expect("there is a temporary directory");
    let path = directory.path().join("other.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("it is short");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        stream
            .write_all(b"{\"ok\":true}\n")
            .expect("the client reads");
        let mut asked = String::new();
        stream.read_to_string(&mut asked)
    });
    let crew = Crew::new("");
    let said = crew.say(&["ls", "--run", &path.display().to_string()]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.stderr.contains("no run that this program understands"),
        "{said:?}"
    );
    drop(server.join());
}
