//! Every option that the library takes, and the test that fails when it is ignored.
//!
//! # Invariants
//! 1. `options.tsv` has one line for each option: its type, `::`, its name, a tab, and a test by its
//!    path as in `coverage.tsv`.
//! 2. Options are found in the sources: functions that take a builder and give it back, the ways to
//!    make one of the types in `MADE`, and the variants of the types in `CHOSEN`.
//!
//! *Not here*: proof that the named test fails without its option. Whoever names a test makes the
//! option do nothing once and sees it fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::coverage::tests;

const TABLE: &str = include_str!("options.tsv");

/// Types whose ways to be made are options.
const MADE: &[&str] = &["Cancel", "Class", "Page", "RestartPolicy", "Retry"];
/// Types whose variants are what an option is set to.
const CHOSEN: &[&str] = &[
    "BodyHost",
    "Durability",
    "Grant",
    "Jitter",
    "LateSuccess",
    "Liveness",
    "MissingExecutor",
    "Mode",
    "OnParentEnd",
    "OnScopeClose",
    "Overflow",
    "Reach",
    "SendMode",
    "Since",
    "WhenFull",
];
/// Numbers, whose functions give another number.
const NUMBERS: &[&str] = &["Epoch", "Seq", "Timestamp"];
/// What only changes the type: without it the program is not compiled.
const TYPED: &[&str] = &["TaskBuilder::resumable"];

/// The options of one source file.
#[derive(Default)]
struct Reader {
    /// The type whose functions are read.
    owner: Option<String>,
    /// The type whose variants are read.
    chosen: Option<String>,
    /// A signature that has begun.
    signature: Option<String>,
    options: BTreeSet<String>,
}

impl Reader {
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("impl") {
            self.owner = owner(rest);
        } else if let Some(rest) = line.strip_prefix("pub enum ") {
            let name = word(rest);
            self.chosen = CHOSEN.contains(&name).then(|| name.to_owned());
        } else if line == "}" {
            self.chosen = None;
        }
        let variant = line.strip_prefix("    ").map(word).unwrap_or_default();
        if let Some(chosen) = &self.chosen
            && variant.starts_with(|sign: char| sign.is_ascii_uppercase())
        {
            self.options.insert(format!("{chosen}::{variant}"));
        }
        let begins = ["    pub fn ", "    pub const fn "];
        if let Some(rest) = begins.iter().find_map(|begin| line.strip_prefix(begin)) {
            self.signature = Some(rest.to_owned());
        } else if let Some(signature) = &mut self.signature {
            signature.push(' ');
            signature.push_str(line.trim());
        }
        if let Some(signature) = self.signature.take_if(|text| text.ends_with(['{', ';'])) {
            self.options.extend(self.option(&signature));
        }
    }

    fn option(&self, signature: &str) -> Option<String> {
        let owner = self.owner.as_deref()?;
        let gives = ["Self", "TaskBuilder<Again>"];
        let gives = gives.map(|given| [format!(" -> {given} {{"), format!(" -> {given} where")]);
        if !gives
            .iter()
            .flatten()
            .any(|given| signature.contains(given))
        {
            return None;
        }
        let (name, arguments) = signature.split_once('(')?;
        let first = arguments.trim_start().trim_start_matches("mut ");
        let takes_itself = first.starts_with("self,") || first.starts_with("self)");
        let borrows_itself = first.starts_with('&');
        let option = format!("{owner}::{}", word(name));
        let is_one = (takes_itself && !NUMBERS.contains(&owner))
            || (!takes_itself && !borrows_itself && MADE.contains(&owner));
        (is_one && !TYPED.contains(&option.as_str())).then_some(option)
    }
}

/// The type of an `impl` block, if it is of no trait.
fn owner(rest: &str) -> Option<String> {
    if rest.contains(" for ") {
        return None;
    }
    let name = match rest.strip_prefix('<') {
        Some(generic) => generic.split_once("> ")?.1,
        None => rest.trim_start(),
    };
    Some(word(name).to_owned())
}

/// The name at the beginning of a text.
fn word(text: &str) -> &str {
    let end = text.find(|sign: char| !sign.is_alphanumeric() && sign != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The options of every source file of the library below this folder.
fn below(folder: &Path, options: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        if matches!(name, "bin" | "tests") {
            continue;
        }
        if path.is_dir() {
            below(&path, options);
        } else {
            options.append(&mut of(&fs::read_to_string(&path).unwrap()));
        }
    }
}

fn of(source: &str) -> BTreeSet<String> {
    let mut reader = Reader::default();
    source.lines().for_each(|line| reader.read(line));
    reader.options
}

fn findings(table: &str, options: &BTreeSet<String>, tests: &BTreeSet<String>) -> Vec<String> {
    let (mut rows, mut findings) = (BTreeMap::new(), Vec::new());
    for line in table.lines() {
        match line.split_once('\t') {
            Some((option, test)) if rows.insert(option, test).is_none() => {}
            _ => findings.push(format!("`{line}` is no row, or one more")),
        }
    }
    for (option, test) in &rows {
        if !options.contains(*option) {
            findings.push(format!("{option}: no such option"));
        }
        if !tests.contains(*test) {
            findings.push(format!("{option}: no test `{test}`"));
        }
    }
    let missing = options
        .iter()
        .filter(|option| !rows.contains_key(option.as_str()));
    findings.extend(missing.map(|option| format!("{option}: no row")));
    findings
}

#[test]
fn every_option_has_a_test_that_fails_when_it_is_ignored() {
    let mut options = BTreeSet::new();
    below(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut options,
    );
    assert!(options.len() > 150, "only {} options", options.len());
    let findings = findings(TABLE, &options, &tests());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn option_without_a_row_and_a_row_without_an_option_are_found() {
    let source = "
impl<I: Send + 'static> Class<I> {
    /// Sets it.
    pub fn size(mut self, size: u32) -> Self {
        self
    }

    pub const fn queue(size: u32) -> Self {
    pub fn each(
        self,
        shape: impl Fn(u8) -> u8,
    ) -> Self
    where
        I: Send,
    {
    pub fn is_full(&self) -> bool {
    pub(super) fn hide(self) -> Self {
}
impl Clone for Class {
    pub fn other(self) -> Self {
}
pub enum Mode {
    /// It runs.
    Full,
    Timed {
        after: u32,
    },
}
";
    let options = of(source);
    let wanted = [
        "Class::each",
        "Class::queue",
        "Class::size",
        "Mode::Full",
        "Mode::Timed",
    ];
    assert!(options.iter().eq(&wanted), "{options:?}");

    let tests = BTreeSet::from(["api::it_runs".to_owned()]);
    let full: String = wanted
        .map(|option| format!("{option}\tapi::it_runs\n"))
        .concat();
    assert!(findings(&full, &options, &tests).is_empty());
    for spoiled in [
        full.replace("Mode::Full\tapi::it_runs\n", ""),
        full.replace("Mode::Full\tapi::it_runs", "Mode::Full\tapi::it_walks"),
        full.replace("Mode::Full\t", "Mode::Full "),
        format!("{full}Mode::Empty\tapi::it_runs\n"),
        format!("{full}Mode::Full\tapi::it_runs\n"),
    ] {
        assert!(
            !findings(&spoiled, &options, &tests).is_empty(),
            "{spoiled}"
        );
    }
}
