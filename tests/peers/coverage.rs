//! The list of rows that the specification of the union knows, and the test that shows each.
//!
//! # Invariants
//! 1. `coverage.tsv` has one line for each row: its id, a tab, and the tests that show it, separated
//!    by `, `; or `out:` and the reason, in words.
//! 2. A test is named by its path: the binary in `tests/` (or `lib` for a unit test), the modules as
//!    the file tree has them, the function.
//!
//! *Not here*: what the rows mean; each test says it in its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("coverage.tsv");

/// Prefix, and first and last number, of each family of rows.
const FAMILIES: &[(&str, u32)] = &[
    ("M", 56),
    ("A", 28),
    ("N", 19),
    ("L", 53),
    ("B", 21),
    ("C", 23),
    ("D-M", 27),
    ("D-A", 17),
    ("D-N", 15),
    ("D-L", 17),
    ("D-X", 13),
    ("E", 27),
];

/// Rows that stand between two numbers.
const ODD: &[&str] = &["D-A9b"];

/// Fewest words of a reason.
const REASON_WORDS: usize = 5;
/// Most rows that may be left out.
const OUT_MAX: usize = 12;

fn expected() -> BTreeSet<String> {
    let numbered = FAMILIES
        .iter()
        .flat_map(|(prefix, last)| (1..=*last).map(move |number| format!("{prefix}{number}")));
    numbered
        .chain(ODD.iter().map(ToString::to_string))
        .collect()
}

/// The rows of a table; a line that is none is a finding.
fn rows(table: &str) -> (BTreeMap<&str, &str>, Vec<String>) {
    let (mut rows, mut findings) = (BTreeMap::new(), Vec::new());
    for (number, line) in table.lines().enumerate() {
        match line.split_once('\t') {
            Some((id, shown)) if rows.insert(id, shown).is_none() => {}
            Some((id, _)) => findings.push(format!("line {}: {id} is there twice", number + 1)),
            None => findings.push(format!("line {}: no tab", number + 1)),
        }
    }
    (rows, findings)
}

fn findings(table: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let (rows, mut findings) = rows(table);
    let expected = expected();
    for id in &expected {
        if !rows.contains_key(id.as_str()) {
            findings.push(format!("{id}: no line"));
        }
    }
    let mut left_out = 0;
    for (id, shown) in rows {
        if !expected.contains(id) {
            findings.push(format!("{id}: no such row"));
        }
        if let Some(reason) = shown.strip_prefix("out:") {
            left_out += 1;
            if reason.split_whitespace().count() < REASON_WORDS {
                findings.push(format!("{id}: left out without a reason"));
            }
            continue;
        }
        let missing = shown.split(", ").filter(|test| !tests.contains(*test));
        findings.extend(missing.map(|test| format!("{id}: no test `{test}`")));
    }
    if left_out > OUT_MAX {
        findings.push(format!("{left_out} rows are left out, more than {OUT_MAX}"));
    }
    findings
}

/// Every test of the repository, by its path.
pub(crate) fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("tests"), &mut files);
    collect(&root.join("src"), &mut files);
    let mut tests = BTreeSet::new();
    for file in files {
        let module = module_of(file.strip_prefix(root).unwrap());
        for name in names(&fs::read_to_string(&file).unwrap()) {
            tests.insert(format!("{module}::{name}"));
        }
    }
    tests
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// `tests/api/storm/scale.rs` is `api::storm::scale`, `src/feed/tests.rs` is `lib::feed::tests`.
fn module_of(file: &Path) -> String {
    let stem = file.with_extension("");
    let mut parts: Vec<_> = stem.iter().map(|part| part.to_str().unwrap()).collect();
    if matches!(parts.last(), Some(&("main" | "mod"))) {
        parts.pop();
    }
    if parts[0] == "src" {
        parts[0] = "lib";
    } else {
        parts.remove(0);
    }
    parts.join("::")
}

/// The functions below an attribute that makes them tests.
fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
            && std::mem::take(&mut is_test)
        {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            names.push(name.to_owned());
        }
    }
    names
}

#[test]
fn every_row_is_shown_by_a_test_or_left_out_for_a_reason() {
    let findings = findings(TABLE, &tests());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn table_without_a_row_or_with_a_false_one_is_found() {
    let tests = BTreeSet::from(["api::spawn::it_runs".to_owned()]);
    let lines = expected()
        .into_iter()
        .map(|id| id + "\tapi::spawn::it_runs\n");
    let full: String = lines.collect();
    assert!(findings(&full, &tests).is_empty());
    let spoiled = [
        full.replace("M1\t", "M99\t"),
        full.replace("L7\tapi::spawn::it_runs", "L7\tapi::spawn::it_walks"),
        full.replace("C3\tapi::spawn::it_runs", "C3\tout:"),
        full.replace("N5\t", "N5 "),
        format!("{full}M1\tapi::spawn::it_runs\n"),
        full.replace(
            "\tapi::spawn::it_runs",
            "\tout: it is a screen of theirs alone",
        ),
    ];
    for table in spoiled {
        assert!(!findings(&table, &tests).is_empty());
    }
}

#[test]
fn this_very_test_is_among_those_found() {
    let own = "peers::coverage::this_very_test_is_among_those_found";
    assert!(tests().contains(own));
}
