//! What a file may not do, apart from imports of our own rooms.
//!
//! Not here: who imports which room (`imports`).

use crate::source::{File, Finding, after_item};
use crate::{
    BIN, CLOCK, COLUMNS_MAX, FILE_LINES_MAX, FUNCTION_LINES_MAX, LOBBY, OWNED_BY_FILE,
    OWNED_CRATES, SYNCER, TABLE,
};

/// A foreign crate is named in the rooms that own it.
pub(crate) fn foreign_crates_stay_at_home(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, owners) in OWNED_CRATES {
        if owners.contains(&file.room()) {
            continue;
        }
        let roots = file.find(&[name, "::"]).into_iter().filter(|place| {
            // `plan::toml::x` is a module of ours that has the same name.
            *place == 0 || !file.tokens[place - 1].is("::")
        });
        let renamed = file.find(&["use", name]).into_iter().map(|place| place + 1);
        for place in roots.chain(renamed) {
            let owners = owners.join(", ");
            let advice = format!("only {owners} may name `{name}`: ask that room for it");
            findings.push(file.finding(file.tokens[place].line, advice));
        }
    }
    findings
}

/// A foreign crate that one file hides is named nowhere else.
pub(crate) fn foreign_crates_stay_in_their_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, owner) in OWNED_BY_FILE {
        if file.path == *owner {
            continue;
        }
        for place in file.find(&[name, "::"]) {
            let advice = format!("only {owner} may name `{name}`: ask that file for it");
            findings.push(file.finding(file.tokens[place].line, advice));
        }
    }
    findings
}

/// Time and dice come as arguments, so that every run can be repeated.
pub(crate) fn nobody_asks_the_time(file: &File) -> Vec<Finding> {
    const ASKING: &[&[&str]] = &[
        &["Instant", "::", "now"],
        &["SystemTime", "::", "now"],
        &["Uuid", "::", "now_v7"],
        &["Uuid", "::", "new_v4"],
        &["Utc"],
        &[".", "elapsed", "("],
    ];
    if file.path == CLOCK || file.path == SYNCER || file.room() == BIN {
        return Vec::new();
    }
    let places = ASKING.iter().flat_map(|row| file.find(row));
    let asked = places.filter(|place| !file.is_test_at(*place));
    let advice = format!("only {CLOCK} asks for the time or throws dice: take it as an argument");
    asked
        .map(|place| file.finding(file.tokens[place].line, advice.clone()))
        .collect()
}

/// The kernel decides: no waiting, no sharing, no outside, no order that changes from run to run.
pub(crate) fn kernel_is_pure(file: &File) -> Vec<Finding> {
    const WORDS: &[&str] = &[
        "HashMap",
        "HashSet",
        "RandomState",
        "async",
        "await",
        "Future",
        "tokio",
        "futures_core",
        "dashmap",
        "ractor",
        "thread_local",
        "Mutex",
        "RwLock",
        "Condvar",
        "mpsc",
        "println",
        "eprintln",
    ];
    const OUTSIDE: &[&str] = &["fs", "net", "env", "process", "io", "thread"];
    if file.room() != "kernel" {
        return Vec::new();
    }
    let words = file
        .tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| WORDS.contains(&token.text.as_str()))
        .filter(|(_, token)| file.path != TABLE || !token.is("HashMap"));
    let outside = OUTSIDE
        .iter()
        .flat_map(|name| file.find(&["std", "::", name]));
    let places = words
        .map(|(place, _)| place)
        .chain(outside.map(|place| place + 2));
    places
        .map(|place| {
            let token = &file.tokens[place];
            let advice = format!(
                "the kernel knows no `{}`: return an effect instead",
                token.text
            );
            file.finding(token.line, advice)
        })
        .collect()
}

/// The lobby declares and re-exports.
pub(crate) fn lobby_has_no_logic(file: &File) -> Vec<Finding> {
    if file.room() != LOBBY {
        return Vec::new();
    }
    let logic = ["fn", "impl", "macro_rules"]
        .iter()
        .flat_map(|word| file.find(&[word]));
    let advice = "the lobby has no logic: move this into a room";
    logic
        .map(|place| file.finding(file.tokens[place].line, advice))
        .collect()
}

/// A reader learns from the first lines why a file is there.
pub(crate) fn header_comes_first(file: &File) -> Vec<Finding> {
    let first = file.lines.iter().find(|line| !line.trim().is_empty());
    if first.is_some_and(|line| line.starts_with("//! ")) {
        return Vec::new();
    }
    vec![file.finding(
        1,
        "begin with a `//!` header: its purpose, invariants, what is not here",
    )]
}

/// Files, functions and lines stay small enough to be read at once.
pub(crate) fn sizes_are_bounded(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.lines.len() > FILE_LINES_MAX {
        let advice = format!(
            "{} lines, {FILE_LINES_MAX} at most: split it",
            file.lines.len()
        );
        findings.push(file.finding(1, advice));
    }
    for (place, text) in file.lines.iter().enumerate() {
        let columns = text.chars().count();
        if columns > COLUMNS_MAX {
            let advice = format!("{columns} columns, {COLUMNS_MAX} at most: break the line");
            findings.push(file.finding(place + 1, advice));
        }
    }
    let functions = file.find(&["fn"]).into_iter();
    // The length of a test is mostly that of its table of cases.
    for place in functions.filter(|place| !file.is_test_at(*place)) {
        let Some(name) = file.tokens.get(place + 1).filter(|token| token.is_word()) else {
            continue;
        };
        let (after, Some(_)) = after_item(&file.tokens, place) else {
            continue;
        };
        let lines = file.tokens[after - 1].line - file.tokens[place].line + 1;
        if lines > FUNCTION_LINES_MAX {
            let advice = format!(
                "`{}` has {lines} lines, {FUNCTION_LINES_MAX} at most: name its parts",
                name.text
            );
            findings.push(file.finding(file.tokens[place].line, advice));
        }
    }
    findings
}

/// No unsafe code, no unexplained panic, nothing that waits for a later hand.
pub(crate) fn nothing_is_unfinished(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for place in file.find(&["unsafe"]) {
        findings.push(file.finding(file.tokens[place].line, "no `unsafe`: there is a safe way"));
    }
    for place in file.find(&[".", "unwrap", "("]) {
        if !file.is_test_at(place) {
            let advice = "no `unwrap()`: return an error, or `expect(\"why it cannot fail\")`";
            findings.push(file.finding(file.tokens[place].line, advice));
        }
    }
    for name in ["todo", "unimplemented"] {
        for place in file.find(&[name, "!"]) {
            let advice = format!("no `{name}!`: build it, or leave the whole feature out");
            findings.push(file.finding(file.tokens[place].line, advice));
        }
    }
    for comment in &file.comments {
        let mut words = comment.text.split(|sign: char| !sign.is_alphanumeric());
        if words.any(|word| word == "TODO" || word == "FIXME") {
            let advice = "no notes for later in the code: do it, or file an issue";
            findings.push(file.finding(comment.line, advice));
        }
    }
    findings
}
