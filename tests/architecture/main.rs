//! The house: who may import whom, what only one room may touch, and how large things may grow.
//!
//! The table `ROOMS` is the diagram of `ARCHITECTURE.md`. To change the house, change both.
//! Each failure names the file, the line and what to do. Comments and strings do not count.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `lexer` | Rust text into tokens and comments |
//! | `source` | the files of `src`, their rooms, which of their tokens are tests |
//! | `imports` | which rooms a file names |
//! | `rules` | everything else that a file may not do |
//! | `guard` | proof that each rule can fail |

mod guard;
mod imports;
mod lexer;
mod rules;
mod source;

use std::collections::BTreeMap;

use source::{File, Finding, sources};

/// A room, and the rooms that it may import beside itself.
struct Room {
    name: &'static str,
    may_import: &'static [&'static str],
}

const fn room(name: &'static str, may_import: &'static [&'static str]) -> Room {
    Room { name, may_import }
}

/// Layer by layer, from the bottom. A room that is not built yet costs nothing here.
///
/// `sample` is compiled for tests and for the suites of `testing` only, so the compiler keeps it
/// out of all other code.
const ROOMS: &[Room] = &[
    room("kernel", &[]),
    room("kernel_tests", &["kernel"]),
    room("sample", &["kernel"]),
    room("store", &["kernel", "sample"]),
    room("inbox", &["kernel", "sample"]),
    room("meter", &["kernel"]),
    room("index", &["kernel", "sample"]),
    room("shelf", &["kernel", "sample"]),
    room("feed", &["kernel", "sample", "meter"]),
    room("engine", &["kernel", "inbox", "sample", "meter"]),
    room(
        "actors",
        &[
            "kernel", "store", "engine", "inbox", "feed", "index", "shelf", "meter", "sample",
        ],
    ),
    room(
        "api",
        &[
            "kernel", "store", "engine", "inbox", "feed", "index", "shelf", "meter", "actors",
        ],
    ),
    room("models", &["kernel", "feed", "index", "api"]),
    room("http", &["kernel", "api", "models"]),
    room("mcp", &["kernel", "api", "models"]),
];

/// The table of contents: it names every room and does nothing itself.
const LOBBY: &str = "lobby";
/// The binary: a crate of its own, so `crate::` means its own modules there.
const BIN: &str = "bin";

/// A foreign crate, and the only rooms that may name it.
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("ractor", &["actors"]),
    ("clap", &[BIN]),
    ("toml", &[BIN]),
    ("indicatif", &[BIN]),
    ("rustix", &[BIN]),
    ("metrics", &["meter"]),
    ("crc32fast", &["store"]),
    ("rusqlite", &["store"]),
];

/// A foreign crate, and the only file that may name it.
const OWNED_BY_FILE: &[(&str, &str)] = &[("rusqlite", "src/store/sqlite/database.rs")];

/// The one file of the library that throws dice or asks for the time, but for what follows.
const CLOCK: &str = "src/actors/clock.rs";
/// Asks how long the disk takes, on which no decision depends.
const SYNCER: &str = "src/store/sqlite/syncer.rs";
/// The one file of the kernel that may name a hashed map, whose order it hides.
const TABLE: &str = "src/kernel/table.rs";

const FILE_LINES_MAX: usize = 500;
const FILE_LINES_MEDIAN_MAX: usize = 180;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Fails with every finding of `rule` over the sources, one a line.
fn hold(rule: impl Fn(&File) -> Vec<Finding>) {
    let findings: Vec<String> = sources()
        .iter()
        .flat_map(rule)
        .map(|finding| finding.to_string())
        .collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn rooms_import_lower_rooms_only() {
    hold(imports::follow_the_table);
}

#[test]
fn each_room_stands_on_a_higher_layer_of_the_map_than_what_it_imports() {
    let map = include_str!("../../ARCHITECTURE.md");
    let rows = map.lines().filter_map(|line| {
        let (layer, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
        let name = rest.split(['/', '.', '`']).next()?;
        Some((name, layer.parse::<u32>().ok()?))
    });
    let layers: BTreeMap<&str, u32> = rows.collect();
    let mapped = ROOMS.iter().filter(|room| layers.contains_key(room.name));
    assert_eq!(mapped.clone().count(), 11, "{layers:?}");
    for room in mapped {
        for import in room.may_import {
            let is_lower = layers.get(import).is_none_or(|it| *it < layers[room.name]);
            assert!(is_lower, "`{}` is not above `{import}`", room.name);
        }
    }
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    hold(rules::foreign_crates_stay_at_home);
}

#[test]
fn foreign_crates_of_one_file_stay_there() {
    hold(rules::foreign_crates_stay_in_their_file);
}

#[test]
fn clock_and_dice_come_from_one_file() {
    hold(rules::nobody_asks_the_time);
}

#[test]
fn kernel_is_pure() {
    hold(rules::kernel_is_pure);
}

#[test]
fn lobby_has_no_logic() {
    hold(rules::lobby_has_no_logic);
}

#[test]
fn files_begin_with_a_module_header() {
    hold(rules::header_comes_first);
}

#[test]
fn files_and_functions_and_lines_are_small() {
    hold(rules::sizes_are_bounded);
}

#[test]
fn median_file_is_short() {
    let mut sizes: Vec<usize> = sources()
        .iter()
        .filter(|file| !file.is_test())
        .map(|file| file.lines.len())
        .collect();
    sizes.sort_unstable();

    let median = sizes.get(sizes.len() / 2).copied().unwrap_or_default();

    let advice = "split the largest files by concern";
    assert!(
        median <= FILE_LINES_MEDIAN_MAX,
        "the median file has {median} lines: {advice}"
    );
}

#[test]
fn nothing_unsafe_unwrapped_or_unfinished() {
    hold(rules::nothing_is_unfinished);
}
