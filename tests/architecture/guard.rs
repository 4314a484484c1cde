//! Proof that each rule can fail, and that comments and strings trip none.
//!
//! Not here: the sources themselves; these are samples.

use crate::source::{File, Finding};
use crate::{imports, rules};

/// Holds when `rule` finds something in `text` on exactly these lines.
fn check(rule: impl Fn(&File) -> Vec<Finding>, path: &str, text: &str, lines: &[usize]) {
    let findings = rule(&File::parse(path, text));
    let found: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
    assert_eq!(found, lines, "{path}\n{text}\n{findings:?}");
}

#[test]
fn upward_imports_are_found() {
    let rule = imports::follow_the_table;
    check(rule, "src/kernel/id.rs", "use crate::store::Store;", &[1]);
    check(
        rule,
        "src/store/memory.rs",
        "use crate::kernel::Batch;\nuse crate::engine::Body;",
        &[2],
    );
    check(
        rule,
        "src/engine/local.rs",
        "use crate::{kernel::Id,\n    inbox,\n    feed::Ring};",
        &[3],
    );
    check(
        rule,
        "src/engine/local.rs",
        "use crate::{kernel::{Id, Name}, inbox};",
        &[],
    );
    check(rule, "src/inbox.rs", "fn f() -> crate::api::Handle;", &[1]);
    check(
        rule,
        "src/actors/manager.rs",
        "use crate::{store, engine, feed, index, kernel};",
        &[],
    );
    check(rule, "src/lib.rs", "pub use crate::api::Manager;", &[]);
}

#[test]
fn crate_of_one_file_is_found_elsewhere() {
    let rule = rules::foreign_crates_stay_in_their_file;
    let text = "fn f() -> rusqlite::Result<()>";
    check(rule, "src/store/sqlite/pen.rs", text, &[1]);
    check(rule, "src/store/sqlite/database.rs", text, &[]);
}

#[test]
fn imports_of_the_lobby_and_of_rooms_without_a_row_are_found() {
    let rule = imports::follow_the_table;
    check(rule, "src/api/spawn.rs", "use crate::Manager;", &[1]);
    check(rule, "src/api/spawn.rs", "use crate::*;", &[1]);
    check(rule, "src/attic/mod.rs", "//! An attic.", &[1]);
}

#[test]
fn climbing_out_of_a_room_is_found() {
    let rule = imports::follow_the_table;
    check(rule, "src/kernel/mod.rs", "use super::store::Store;", &[1]);
    check(rule, "src/kernel/id.rs", "use super::time::Timestamp;", &[]);
    check(
        rule,
        "src/kernel/id.rs",
        "use super::super::store::Store;",
        &[1],
    );
    check(
        rule,
        "src/kernel/id.rs",
        "mod tests {\n use super::super::time::T;\n}",
        &[],
    );
    check(
        rule,
        "src/inbox.rs",
        "mod tests {\n use super::*;\n}\nuse super::api::Handle;",
        &[4],
    );
    check(
        rule,
        "src/kernel/tests/world.rs",
        "use super::model::M;\nuse crate::kernel::Id;",
        &[],
    );
    check(
        rule,
        "src/kernel/tests/world.rs",
        "pub(super) fn f();\nuse crate::store::S;",
        &[2],
    );
}

#[test]
fn foreign_crates_away_from_home_are_found() {
    let rule = rules::foreign_crates_stay_at_home;
    check(rule, "src/actors/task.rs", "use ractor::Actor;", &[]);
    check(
        rule,
        "src/api/spawn.rs",
        "use super::x;\nfn f(a: ractor::ActorRef<()>) {}",
        &[2],
    );
    check(rule, "src/api/spawn.rs", "use ractor as r;", &[1]);
    check(
        rule,
        "src/api/spawn.rs",
        "let ractor = 1; // ractor::Actor",
        &[],
    );
    check(rule, "src/bin/understory/main.rs", "use clap::Parser;", &[]);
}

#[test]
fn clocks_and_dice_elsewhere_are_found() {
    let rule = rules::nobody_asks_the_time;
    let text = "let t = std::time::Instant::now();\nlet id = Uuid::now_v7();\n\"SystemTime::now\";";
    check(rule, "src/api/spawn.rs", text, &[1, 2]);
    check(rule, "src/actors/clock.rs", text, &[]);
    check(rule, "src/bin/understory/main.rs", text, &[]);
    check(rule, "src/kernel/tests/world.rs", text, &[]);
    check(
        rule,
        "src/feed/ring.rs",
        "#[cfg(test)]\nmod t { fn f() { Instant::now(); } }",
        &[],
    );
    check(
        rule,
        "src/feed/ring.rs",
        "#[cfg(not(test))]\nfn f() { Instant::now(); }",
        &[2],
    );
}

#[test]
fn impurities_of_the_kernel_are_found() {
    let rule = rules::kernel_is_pure;
    let text = "use std::collections::HashMap;\nasync fn f() {}\nuse std::env;\n/* tokio */";
    check(rule, "src/kernel/forest.rs", text, &[1, 2, 3]);
    check(rule, "src/kernel/table.rs", text, &[2, 3]);
    check(rule, "src/store/memory.rs", text, &[]);
    check(rule, "src/kernel/tests/world.rs", text, &[]);
}

#[test]
fn logic_in_the_lobby_is_found() {
    let rule = rules::lobby_has_no_logic;
    check(
        rule,
        "src/lib.rs",
        "//! fn main() {}\nmod api;\npub use api::Manager;",
        &[],
    );
    check(rule, "src/lib.rs", "mod api;\nfn f() {}", &[2]);
}

#[test]
fn missing_headers_are_found() {
    let rule = rules::header_comes_first;
    check(rule, "src/inbox.rs", "//! Purpose.\nuse a;", &[]);
    check(rule, "src/inbox.rs", "// Purpose.\nuse a;", &[1]);
    check(rule, "src/inbox.rs", "", &[1]);
}

#[test]
fn what_is_too_large_is_found() {
    let rule = rules::sizes_are_bounded;
    let function =
        |lines: usize| format!("type F = fn(u8);\nfn f() {{\n{}}}", "();\n".repeat(lines));
    check(rule, "src/inbox.rs", &function(68), &[]);
    check(rule, "src/inbox.rs", &function(69), &[2]);
    check(
        rule,
        "src/bin/understory/plan/tests.rs",
        &function(200),
        &[],
    );
    check(rule, "src/inbox.rs", &"\n".repeat(500), &[]);
    check(rule, "src/inbox.rs", &"\n".repeat(501), &[1]);
    check(
        rule,
        "src/inbox.rs",
        &format!("//! {}", "é".repeat(96)),
        &[],
    );
    check(
        rule,
        "src/inbox.rs",
        &format!("\n//! {}", "é".repeat(97)),
        &[2],
    );
    let unlucky = format!(
        "trait T {{ fn f(a: [u8; {{ 1 }}]); }}\n{}",
        "();\n".repeat(100)
    );
    check(rule, "src/inbox.rs", &unlucky, &[]);
}

#[test]
fn unfinished_work_is_found() {
    let rule = rules::nothing_is_unfinished;
    check(
        rule,
        "src/inbox.rs",
        "a.unwrap();\nunsafe {}\ntodo!();\n// FIXME: x",
        &[2, 1, 3, 4],
    );
    check(
        rule,
        "src/inbox.rs",
        "/* a\n TODO */\n#[cfg(test)]\nmod t { fn f() { a.unwrap() } }",
        &[2],
    );
    check(rule, "src/kernel/tests/world.rs", "a.unwrap();", &[]);
    check(
        rule,
        "src/inbox.rs",
        "a.unwrap_or(1); // as a.unwrap() would",
        &[],
    );
}

#[test]
fn strings_and_comments_trip_nothing() {
    let rule = rules::nothing_is_unfinished;
    let quiet = [
        r#""a.unwrap() \" unsafe""#,
        r##"r#"unsafe " unsafe"# ; br"unsafe\" ; c"unsafe""##,
        "/* unsafe /* unsafe */ unsafe */",
        "'\"' ; 'u' ; '\\'' ; b'\\u{1}' ; fn f<'a>(x: &'a str) {}",
        "// unsafe\n\"\n unsafe \\\\\"",
    ];
    for text in quiet {
        check(rule, "src/inbox.rs", text, &[]);
        check(
            rule,
            "src/inbox.rs",
            &format!("{text}\nunsafe"),
            &[text.lines().count() + 1],
        );
    }
    check(rule, "src/inbox.rs", "let r#unsafe = 1;", &[]);
}
