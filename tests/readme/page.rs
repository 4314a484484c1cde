//! The tests that the README names exist, its files too, and its numbers are the defaults.

use std::fs;
use std::path::Path;
use std::time::Duration;

use understory::kernel::Bounds;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn readme() -> String {
    fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the README is in the package")
}

/// The rows of the table below this heading, each as its cells.
fn rows(readme: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = readme.split_once(heading).expect("the heading exists");
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let table = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    table.map(cells).collect()
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// All text of the Rust files below this directory.
fn rust_below(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("it is a directory of the package") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            rust_below(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("Rust is text"));
        }
    }
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let mut sources = String::new();
    for directory in ["src", "tests"] {
        rust_below(&Path::new(ROOT).join(directory), &mut sources);
    }
    let readme = readme();
    let promises = rows(&readme, "## What is promised");

    assert!(promises.len() > 10, "the table of promises was found");
    for promise in promises {
        let held_by = promise.last().expect("a row has cells");
        let tests: Vec<&str> = code(held_by).collect();
        assert!(!tests.is_empty(), "{:?} names no test", promise[0]);
        for test in tests {
            let is_there = sources.contains(&format!("fn {test}("));
            assert!(
                is_there,
                "{:?} names {test}, which does not exist",
                promise[0]
            );
        }
    }
}

#[test]
fn every_yes_of_the_comparison_links_to_tests() {
    let readme = readme();
    let rows = rows(&readme, "## Compared with others");
    assert!(rows.len() > 25, "the table was found");
    for row in rows.iter().filter(|row| row[1] != "not yet") {
        let links: Vec<&str> = row[1].split("](").skip(1).collect();
        assert!(!links.is_empty(), "{:?} links to no test", row[0]);
        for link in links {
            let file = link.split(')').next().unwrap_or(link);
            let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
            let has_tests = text.contains("#[test]") || text.contains("#[tokio::test");
            assert!(has_tests, "{:?}: no test in {file}", row[0]);
        }
    }
}

#[test]
fn files_that_the_readme_names_exist() {
    let readme = readme();
    let words = readme.split(|sign: char| sign.is_whitespace() || "`()|,".contains(sign));
    let words = words.map(|word| word.trim_end_matches('.'));
    let files: Vec<&str> = words
        .filter(|word| {
            [".md", ".toml", ".rs"]
                .iter()
                .any(|end| word.ends_with(end))
        })
        .filter(|word| *word != "PLAN.toml")
        .collect();
    assert!(files.len() > 5, "the names of files were found");

    let is_missing = |file: &&str| !Path::new(ROOT).join(file).exists();
    let missing: Vec<&str> = files.into_iter().filter(is_missing).collect();

    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn bounds_of_the_readme_are_the_defaults() {
    let bounds = Bounds::default();
    let thousands = |number: usize| {
        let digits = number.to_string();
        let groups = digits.as_bytes().rchunks(3).rev();
        let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
        groups.join(",")
    };
    let time = |duration: Duration| match (duration.as_secs(), duration.subsec_millis()) {
        (0, millis) => format!("{millis} ms"),
        (seconds, _) if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        (seconds, _) => format!("{seconds} s"),
    };
    let depth_max = usize::try_from(bounds.depth_max).expect("it is small");
    let expected = [
        ("live_max", thousands(bounds.live_max)),
        ("depth_max", thousands(depth_max)),
        ("children_max", thousands(bounds.children_max)),
        ("settled_max", thousands(bounds.settled_max)),
        ("grace", time(bounds.grace)),
        ("abort_window", time(bounds.abort_window)),
        ("key_window", time(bounds.key_window)),
    ];
    let readme = readme();
    let table = rows(&readme, "## Bounds");

    for (method, default) in expected {
        let row = table.iter().find(|row| row[1] == format!("`{method}`"));
        let row = row.unwrap_or_else(|| panic!("{method} is missing"));
        assert_eq!(row[2], default, "{method}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn plans_of_the_readme_are_right() {
    let readme = readme();
    let plans = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let plans: Vec<&str> = plans.filter(|block| block.contains("[[task]]")).collect();
    assert!(!plans.is_empty(), "it shows a plan");

    for plan in plans {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let path = directory.path().join("PLAN.toml");
        fs::write(&path, plan).expect("the directory is ours");
        let check = std::process::Command::new(env!("CARGO_BIN_EXE_understory"))
            .arg("check")
            .arg(&path)
            .output()
            .expect("the binary is built");
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stderr)
        );
    }
}
