//! What is wrong with a plan: a line, the fault, and what to write instead.
//!
//! *Not here*: finding the faults (`entry`, `order`).

use std::fmt;
use std::ops::Range;

/// Problems shown of one plan; the rest are counted.
const SHOWN_MAX: usize = 100;
/// A name this many edits away may be what was meant.
const EDITS_MAX: usize = 2;

/// All problems of one plan, in the order of its lines.
#[derive(Debug)]
pub(crate) struct Problems {
    file: String,
    line_starts: Vec<usize>,
    found: Vec<Problem>,
}

#[derive(Debug)]
struct Problem {
    line: usize,
    text: String,
}

impl Problems {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self {
            file: file.to_owned(),
            line_starts,
            found: Vec::new(),
        }
    }

    /// Adds a fault at a place of the text and what to write instead.
    pub(super) fn add(
        &mut self,
        at: Range<usize>,
        wrong: impl fmt::Display,
        write: impl fmt::Display,
    ) {
        let line = self
            .line_starts
            .partition_point(|start| *start <= at.start)
            .max(1);
        let place = self.found.partition_point(|problem| problem.line <= line);
        self.found.insert(
            place,
            Problem {
                line,
                text: format!("{wrong}; {write}"),
            },
        );
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> Vec<String> {
        self.to_string().lines().map(str::to_owned).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.found.iter().take(SHOWN_MAX).enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(
                f,
                "{separator}{}:{}: {}",
                self.file, problem.line, problem.text
            )?;
        }
        match self.found.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n{}: {more} more problems", self.file),
        }
    }
}

/// The known word that was probably meant by `word`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate));
    let (distance, best) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= EDITS_MAX.min(word.chars().count() / 2)).then_some(best)
}

/// How many letters must be added, dropped or replaced to make `a` of `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
