//! None of a crew that forks survives its end, however it comes.

use rustix::process::{Signal, kill_process};

use crate::crew::{Crew, Run, task};

/// How many rounds of each sort, unless `UNDERSTORY_SURVIVOR_ROUNDS` says otherwise.
const ROUNDS_DEFAULT: usize = 20;
const CREW: usize = 100;

/// A process with a child in its group, one in a session of its own, and two orphaned twice over;
/// it tells when all of these are there.
const FORKING: &str = "trap '' HUP; sleep 1000 & setsid sleep 1000 & \
                       (setsid sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000 & echo up; exit' &); \
                       wait";

fn rounds() -> usize {
    let asked = std::env::var("UNDERSTORY_SURVIVOR_ROUNDS").ok();
    asked.map_or(ROUNDS_DEFAULT, |rounds| {
        rounds.parse().expect("it is a number")
    })
}

fn crew_of_forkers() -> Crew {
    let tasks: String = (0..CREW)
        .map(|at| task(&format!("t{at}"), FORKING, ""))
        .collect();
    Crew::new(&tasks)
}

/// A run of which so many have forked.
fn crew_with(crew: &Crew, count: usize) -> Run {
    let mut run = crew.start(&["--json"]);
    (0..count).for_each(|_| drop(run.line_with("\"text\":\"up\"")));
    run
}

#[test]
fn crew_that_forks_is_gone_after_an_interrupt() {
    for _ in 0..rounds() {
        let crew = crew_of_forkers();
        let run = crew_with(&crew, CREW);
        run.signal(Signal::INT);
        assert_eq!(run.finish().code, Some(130));
        assert_eq!(crew.mark().survivors(), Vec::<String>::new());
    }
}

#[test]
fn crew_that_forks_is_gone_after_understory_was_killed() {
    for _ in 0..rounds() {
        let crew = crew_of_forkers();
        let run = crew_with(&crew, CREW);
        run.signal(Signal::KILL);
        run.wait_killed();
        crew.mark().wait_for_none();
    }
}

#[test]
fn crew_that_is_still_starting_is_gone_after_understory_was_killed() {
    for _ in 0..rounds() {
        let crew = crew_of_forkers();
        let run = crew_with(&crew, CREW / 10);
        run.signal(Signal::KILL);
        run.wait_killed();
        crew.mark().wait_for_none();
    }
}

#[test]
fn what_a_killed_shim_leaves_is_gone_too() {
    let script =
        format!("(sleep 1000 & setsid sleep 1000 &); echo ready; kill -KILL $PPID; {FORKING}");
    let plan = task("a", &script, "") + &task("b", "echo fine", "after = [\"a\"]");
    let done = Crew::new(&plan).run(&[]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("a: failed: its shim was killed"),
        "{done:?}"
    );
}

#[test]
fn stopped_shim_is_ended_all_the_same() {
    let crew = Crew::new(&task(
        "a",
        &format!("kill -STOP $PPID; echo ready; {FORKING}"),
        "",
    ));
    let mut run = crew.start(&["--grace", "10ms"]);
    run.line_with("ready");

    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(130));
    assert_eq!(crew.mark().survivors(), Vec::<String>::new());
}

#[test]
fn slot_is_free_only_when_all_of_a_process_is_dead() {
    // The lock is held by whoever has the file open, so until the sleeper is dead.
    let script = "exec 9> lock; flock -n 9 || exit 1; setsid sleep 1000 & exit 0";
    let tasks: String = (0..20)
        .map(|at| task(&format!("t{at}"), script, "limits = [\"one\"]"))
        .collect();
    let done = Crew::new(&format!("[limits]\none = 1\n{tasks}")).run(&[]);
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn shim_is_not_found_by_the_name_of_understory() {
    // So that `pkill -9 understory` leaves the shims to clean up.
    let done = Crew::new(&task("a", "cat /proc/$PPID/comm", "")).run(&[]);
    assert!(!done.stdout.contains("understory"), "{done:?}");
}

#[test]
fn known_limit_a_shim_killed_together_with_understory_leaves_its_command() {
    let crew = Crew::new(&task("a", "echo $$ $PPID; exec sleep 1000", ""));
    let mut run = crew.start(&[]);
    let [own, shim] = run.pids_after("a | ");

    run.kill_with(shim);

    kill_process(own, Signal::KILL).expect("it runs");
    crew.mark().wait_for_none();
}
