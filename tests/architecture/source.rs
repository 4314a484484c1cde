//! The files of `src`: their rooms, and which of their tokens are tests.
//!
//! Not here: what is allowed in them (`imports`, `rules`).

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::lexer::{Comment, Lexed, Token, lex};
use crate::{BIN, LOBBY};

/// Where a rule is broken, and what to do.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    pub(crate) line: usize,
    advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

#[derive(Debug)]
pub(crate) struct File {
    /// From the root of the package, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    /// The tokens that are compiled for tests only.
    tests: Vec<Range<usize>>,
}

impl File {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let Lexed { tokens, comments } = lex(text);
        let tests = test_items(&tokens);
        let lines = text.lines().map(str::to_owned).collect();
        Self {
            path: path.to_owned(),
            lines,
            tokens,
            comments,
            tests,
        }
    }

    pub(crate) fn finding(&self, line: usize, advice: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            advice: advice.into(),
        }
    }

    /// The path as modules of its crate: `src/store/memory.rs` is `["store", "memory"]`.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut modules: Vec<&str> = inside.split('/').collect();
        if modules.starts_with(&["kernel", "tests"]) {
            // The lobby declares the proofs, so that `kernel_alone` does not run them again.
            modules.splice(..2, ["kernel_tests"]);
        }
        if matches!(modules.last(), Some(&("mod" | "lib" | "main"))) {
            modules.pop();
        }
        modules
    }

    pub(crate) fn room(&self) -> &str {
        if self.path.starts_with("src/bin/") || self.path == "src/main.rs" {
            return BIN;
        }
        self.modules().first().copied().unwrap_or(LOBBY)
    }

    /// Whether the whole file is compiled for tests only.
    pub(crate) fn is_test(&self) -> bool {
        let path = self.path.trim_end_matches(".rs");
        path.split('/').skip(1).any(|part| part == "tests")
    }

    pub(crate) fn is_test_at(&self, place: usize) -> bool {
        self.is_test() || self.tests.iter().any(|range| range.contains(&place))
    }

    /// The places where these tokens stand in a row.
    pub(crate) fn find(&self, row: &[&str]) -> Vec<usize> {
        let stands = |window: &[Token]| window.iter().zip(row).all(|(token, text)| token.is(text));
        let windows = self.tokens.windows(row.len()).enumerate();
        windows
            .filter(|(_, window)| stands(window))
            .map(|(place, _)| place)
            .collect()
    }
}

/// The place after the bracket that closes the one at `open`.
pub(crate) fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    tokens.len()
}

/// The place after the item that begins at `start`, and where its braces open, if it has any.
pub(crate) fn after_item(tokens: &[Token], start: usize) -> (usize, Option<usize>) {
    let mut place = start;
    while let Some(token) = tokens.get(place) {
        match token.text.as_str() {
            ";" => return (place + 1, None),
            "{" => return (after_group(tokens, place), Some(place)),
            "(" | "[" => place = after_group(tokens, place),
            _ => place += 1,
        }
    }
    (tokens.len(), None)
}

/// The items under `#[cfg(test)]` and its like.
fn test_items(tokens: &[Token]) -> Vec<Range<usize>> {
    let opens = |place: usize| {
        let row = ["#", "[", "cfg", "("];
        tokens[place..]
            .iter()
            .zip(row)
            .filter(|(token, text)| token.is(text))
            .count()
            == row.len()
    };
    (0..tokens.len())
        .filter(|place| opens(*place))
        .filter_map(|start| {
            let end = after_group(tokens, start + 1);
            let condition = &tokens[start..end];
            let asks = |text: &str| condition.iter().any(|token| token.is(text));
            (asks("test") && !asks("not")).then(|| start..after_item(tokens, end).0)
        })
        .collect()
}

/// Every Rust file below `src`, in the order of their paths.
pub(crate) fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = rust_files(&root.join("src"));
    paths.sort();
    let files: Vec<File> = paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).expect("a source file is readable text");
            let inside = path
                .strip_prefix(root)
                .expect("it was found below the root");
            let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
            File::parse(&parts.join("/"), &text)
        })
        .collect();
    assert!(
        files.iter().any(|file| file.room() == LOBBY),
        "no src/lib.rs below {}",
        root.display()
    );
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of sources is readable");
    entries
        .map(|entry| entry.expect("an entry of it is readable").path())
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
