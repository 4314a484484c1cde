//! Which rooms a file names, by `crate::…` or by climbing out with `super::…`.
//!
//! Not here: foreign crates (`rules`).

use crate::lexer::Token;
use crate::source::{File, Finding, after_group};
use crate::{BIN, LOBBY, ROOMS};

/// Rooms import what their row of the table names, and nothing of the lobby.
pub(crate) fn follow_the_table(file: &File) -> Vec<Finding> {
    let here = file.room();
    if here == LOBBY || here == BIN {
        return Vec::new();
    }
    let Some(row) = ROOMS.iter().find(|room| room.name == here) else {
        let advice = format!("the room `{here}` has no row in ROOMS: add it, with its layer");
        return vec![file.finding(1, advice)];
    };
    let mut findings = Vec::new();
    for (line, name) in named_at_root(file) {
        if name == here || row.may_import.contains(&name.as_str()) {
            continue;
        }
        let advice = if ROOMS.iter().any(|room| room.name == name) {
            format!("`{here}` may not import `{name}`: move the code up, or what it needs down")
        } else {
            format!("`crate::{name}` is not a room: name the room in which it lives")
        };
        findings.push(file.finding(line, advice));
    }
    findings
}

/// What stands right after the root of the crate, wherever a path of `file` starts or lands there.
fn named_at_root(file: &File) -> Vec<(usize, String)> {
    let tokens = &file.tokens;
    let file_depth = file.modules().len();
    let mut named = Vec::new();
    let mut inline_ends = Vec::new();
    for place in 0..tokens.len() {
        inline_ends.retain(|end| place < *end);
        if tokens[place].is("mod") && tokens.get(place + 2).is_some_and(|token| token.is("{")) {
            inline_ends.push(after_group(tokens, place + 2));
        }
        let continues_path = place > 0 && tokens[place - 1].is("::");
        let root = if tokens[place].is("crate") {
            place
        } else if tokens[place].is("super") && !continues_path {
            let climbed = climb(&tokens[place..]);
            if climbed < file_depth + inline_ends.len() {
                continue;
            }
            place + 2 * (climbed - 1)
        } else {
            continue;
        };
        if tokens.get(root + 1).is_some_and(|token| token.is("::")) {
            named.extend(heads(tokens, root + 2));
        }
    }
    named
}

/// How many `super` stand in the path that begins here.
fn climb(tokens: &[Token]) -> usize {
    let steps = tokens.chunks(2);
    steps
        .take_while(|step| step[0].is("super") && step.get(1).is_some_and(|t| t.is("::")))
        .count()
}

/// The first names of a path or of each path of a group.
fn heads(tokens: &[Token], start: usize) -> Vec<(usize, String)> {
    let Some(first) = tokens.get(start) else {
        return Vec::new();
    };
    if !first.is("{") {
        return vec![(first.line, first.text.clone())];
    }
    let end = after_group(tokens, start) - 1;
    let mut named = Vec::new();
    let mut place = start + 1;
    while place < end {
        named.push((tokens[place].line, tokens[place].text.clone()));
        while place < end && !tokens[place].is(",") {
            place = if tokens[place].is("{") {
                after_group(tokens, place)
            } else {
                place + 1
            };
        }
        place += 1;
    }
    named
}
