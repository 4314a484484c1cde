//! Defects that several systems share, and ours must not have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use understory::{Cancel, Context, Failure, LateSuccess, Manager, State};

use crate::stage::{rounds, soon, story};

/// Every text of a folder, tests and sources alike.
fn texts(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The options of a type: public functions that take and give the builder itself.
fn options(text: &str, into: &mut BTreeSet<String>) {
    let mut own = false;
    for line in text.lines() {
        if line.starts_with("impl") {
            own = ["Builder {", "TaskBuilder<Once> {", "TaskBuilder<Mode> {"]
                .iter()
                .any(|ending| line.ends_with(ending));
        }
        let Some(rest) = line.trim().strip_prefix("pub fn ") else {
            continue;
        };
        let takes_itself = rest.contains("(self") || rest.contains("(mut self");
        if own && takes_itself && rest.contains("-> Self {") {
            into.insert(rest.split(['(', '<']).next().unwrap().to_owned());
        }
    }
}

#[test]
fn every_option_of_a_task_and_of_a_manager_is_set_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut source, mut tests) = (String::new(), String::new());
    texts(&root.join("src/api"), &mut source);
    texts(&root.join("tests/api"), &mut tests);
    texts(&root.join("tests/peers"), &mut tests);
    let mut all = BTreeSet::new();
    options(&source, &mut all);

    assert!(all.len() > 50, "only {} options were found", all.len());
    let unset = all
        .iter()
        .filter(|name| !tests.contains(&format!(".{name}(")))
        .collect::<Vec<_>>();
    assert!(unset.is_empty(), "no test sets {unset:?}");
}

/// A body that ends in its own way when it is asked to stop.
async fn ends_by_chance(ctx: Context, way: u32) -> Result<u32, Failure> {
    if way.is_multiple_of(4) {
        return Ok(way);
    }
    ctx.cancelled().await;
    match way % 4 {
        1 => Ok(way),
        2 => Err(Failure::new("gave up")),
        _ => std::future::pending().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_timeout_and_end_at_once_make_one_end() {
    let manager = Manager::in_memory();
    for way in 0..rounds(80) {
        let task = manager.scope("s").unnamed();
        let task = task
            .timeout(Duration::from_millis(1))
            .grace(Duration::from_millis(1))
            .late_success([LateSuccess::Cancelled, LateSuccess::Completed][way as usize % 2])
            .spawn(move |ctx| ends_by_chance(ctx, way));
        let task = task.await.unwrap();
        let report = soon(task.cancel(Cancel::because("enough"))).await;
        let report = report.unwrap();

        assert_eq!(report.len(), 1);
        let told = story(&manager, task.id()).await;
        let ends = told.iter().filter(|name| **name == "settled");
        assert_eq!(ends.count(), 1);
        assert!(told.iter().filter(|name| **name == "stop_asked").count() <= 2);
        let state = task.state().unwrap();
        let by_itself = matches!(state, State::Completed | State::TimedOut);
        assert!(by_itself || state == State::Cancelled, "{state}");
    }
}
