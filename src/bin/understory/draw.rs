//! What a person sees of a run: a live tree on a terminal, plain lines anywhere else, JSON when
//! asked.
//!
//! What tasks write to standard output goes to standard output; all else goes to standard error.
//!
//! # Invariants
//! 1. A reader that is gone (a closed pipe) ends the showing, never the run; one that is slow holds
//!    it up. What cannot be written for another reason is told (`out`).
//! 2. On a terminal, nothing that a task writes can move the cursor or change colors.
//! 3. What a task says of itself is one line anywhere.
//!
//! *Not here*: where the news comes from (`run`).

mod out;
mod terminal;
mod text;
mod tree;

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use understory::State;

use crate::process::StreamName;
use out::Out;
pub(crate) use out::write_all;
use terminal::Terminal;
pub(crate) use text::{duration as duration_text, harmless, json_line};
use tree::{Paint, Tree};

/// How often a live tree is drawn anew.
pub(crate) const DRAW_PERIOD: Duration = Duration::from_millis(100);
/// Output that is gathered before it is shown above a live tree, in bytes.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// Something to show of a task, which is meant by its number.
#[derive(Debug)]
pub(crate) enum Sight {
    /// It has come to this state; the note says why, or what it waits for.
    State {
        task: usize,
        state: State,
        note: String,
    },
    /// It wrote a line, or a piece of one.
    Output {
        task: usize,
        stream: StreamName,
        text: String,
        is_cut: bool,
    },
    /// It told how far it is.
    Progress { task: usize, text: String },
    /// Something else that happened to it.
    Note { task: usize, text: String },
}

/// Where a task hangs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) parent: Option<usize>,
}

/// Shows the news of one run.
#[derive(Debug)]
pub(crate) enum Screen {
    Live(Live),
    Plain(Plain),
    Json(Out),
}

impl Screen {
    /// JSON lines on standard output, and on standard error nothing but what goes wrong.
    pub(crate) fn json() -> Self {
        Self::Json(Out::default())
    }

    /// A live tree if standard error is a terminal that can show one.
    pub(crate) fn for_people(places: &[Place]) -> Self {
        let tree = Tree::new(places);
        let is_able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        if io::stderr().is_terminal() && is_able {
            Self::Live(Live::new(tree))
        } else {
            Self::Plain(Plain {
                tree,
                out: Out::default(),
                is_stdout_terminal: io::stdout().is_terminal(),
                is_stderr_terminal: io::stderr().is_terminal(),
            })
        }
    }

    /// Shows a task that has joined the run.
    pub(crate) fn add(&mut self, task: usize, place: &Place) {
        if let Some(tree) = self.tree() {
            tree.add(task, place);
        }
    }

    /// Leaves out a task that has been over for long.
    pub(crate) fn forget(&mut self, task: usize) {
        if let Some(tree) = self.tree() {
            tree.forget(task);
        }
    }

    /// Tells in which file the records are, where all is that could be shown.
    pub(crate) fn keep_in(&mut self, file: &Path) {
        self.out().keep_in(file);
        self.say(&format!("records in {}", file.display()));
    }

    /// Whether something could not be shown, though nobody went away.
    pub(crate) fn has_lost(&mut self) -> bool {
        self.out().has_lost()
    }

    fn out(&mut self) -> &mut Out {
        match self {
            Self::Live(live) => &mut live.out,
            Self::Plain(plain) => &mut plain.out,
            Self::Json(out) => out,
        }
    }

    fn tree(&mut self) -> Option<&mut Tree> {
        match self {
            Self::Live(live) => Some(&mut live.tree),
            Self::Plain(plain) => Some(&mut plain.tree),
            Self::Json(_) => None,
        }
    }

    pub(crate) fn show(&mut self, sight: Sight) {
        match self {
            Self::Live(live) => live.show(sight),
            Self::Plain(plain) => plain.show(&sight),
            Self::Json(_) => {}
        }
    }

    /// Shows one line of JSON.
    pub(crate) fn show_json(&mut self, value: &Value) {
        match self {
            Self::Json(out) => out.stdout(&format!("{}\n", json_line(value))),
            Self::Live(_) | Self::Plain(_) => {}
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// To be called every [`DRAW_PERIOD`].
    pub(crate) fn tick(&mut self) {
        match self {
            Self::Live(live) => live.draw(),
            Self::Plain(_) | Self::Json(_) => {}
        }
    }

    /// Tells the person at the keyboard something about the run as a whole.
    pub(crate) fn say(&mut self, text: &str) {
        match self {
            Self::Live(live) => live.say(text),
            Self::Plain(plain) => plain.out.stderr(&format!("{text}\n")),
            Self::Json(_) => {}
        }
    }

    /// Tells what goes wrong with the run as a whole, also beside JSON.
    pub(crate) fn warn(&mut self, text: &str) {
        match self {
            Self::Json(out) => out.stderr(&format!("{text}\n")),
            Self::Live(_) | Self::Plain(_) => self.say(text),
        }
    }

    /// Shows the end of the run.
    pub(crate) fn finish(&mut self, summary: &str) {
        match self {
            Self::Live(live) => live.finish(summary),
            Self::Plain(plain) => plain.out.stderr(&format!("{summary}\n")),
            Self::Json(_) => {}
        }
    }
}

/// One line for each thing that happens.
#[derive(Debug)]
pub(crate) struct Plain {
    tree: Tree,
    out: Out,
    is_stdout_terminal: bool,
    is_stderr_terminal: bool,
}

impl Plain {
    fn show(&mut self, sight: &Sight) {
        match sight {
            // What a task waits for would be said again for each of those that end.
            Sight::State {
                state: State::Pending,
                ..
            } => {}
            Sight::State { task, state, note } => {
                let state = text::state(*state);
                let note = if note.is_empty() {
                    String::new()
                } else {
                    format!(": {note}")
                };
                self.line(*task, &format!(": {state}{note}"));
            }
            Sight::Output {
                task,
                stream,
                text,
                is_cut,
            } => {
                let is_terminal = match stream {
                    StreamName::Stdout => self.is_stdout_terminal,
                    StreamName::Stderr => self.is_stderr_terminal,
                };
                let text = if is_terminal {
                    Cow::Owned(text::harmless(text))
                } else {
                    Cow::Borrowed(text.as_str())
                };
                let line = output_line(self.tree.path(*task), *stream, &text, *is_cut);
                self.out.write(*stream, &line);
            }
            Sight::Progress { task, text } | Sight::Note { task, text } => {
                self.line(*task, &format!(": {text}"));
            }
        }
    }

    fn line(&mut self, task: usize, text: &str) {
        let path = self.tree.path(task);
        let text = text::note(text);
        self.out.stderr(&format!("{path}{text}\n"));
    }
}

/// A line of output with its task; of a long line each piece but the last ends with `…`.
fn output_line(path: &str, stream: StreamName, text: &str, is_cut: bool) -> String {
    let mark = match stream {
        StreamName::Stdout => "|",
        StreamName::Stderr => "!",
    };
    let more = if is_cut { "…" } else { "" };
    format!("{path} {mark} {text}{more}\n")
}

/// A tree that is drawn anew as it changes, below the output of its tasks.
#[derive(Debug)]
pub(crate) struct Live {
    tree: Tree,
    bar: ProgressBar,
    out: Out,
    paint: Paint,
    started: Instant,
    /// Output that is not shown yet, with where it goes.
    gathered: Vec<(StreamName, String)>,
    gathered_bytes: usize,
}

impl Live {
    fn new(tree: Tree) -> Self {
        let bar = ProgressBar::with_draw_target(
            None,
            ProgressDrawTarget::term_like(Box::<Terminal>::default()),
        );
        let style = ProgressStyle::with_template("{msg}").expect("the template is valid");
        bar.set_style(style);
        let is_colored = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            tree,
            bar,
            out: Out::default(),
            paint: if is_colored {
                Paint::Colored
            } else {
                Paint::Plain
            },
            started: Instant::now(),
            gathered: Vec::new(),
            gathered_bytes: 0,
        }
    }

    fn show(&mut self, sight: Sight) {
        let since_start = self.started.elapsed();
        match sight {
            Sight::State { task, state, note } => {
                if let Some(row) = self.tree.row_mut(task) {
                    row.turn(state, text::note(&note), since_start);
                }
            }
            Sight::Output {
                task,
                stream,
                text,
                is_cut,
            } => {
                let text = text::harmless(&text);
                let line = output_line(self.tree.path(task), stream, &text, is_cut);
                self.gather(stream, line);
            }
            Sight::Progress { task, text } | Sight::Note { task, text } => {
                if let Some(row) = self.tree.row_mut(task) {
                    row.said = text::note(&text);
                }
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.gather(StreamName::Stderr, format!("{text}\n"));
    }

    fn gather(&mut self, stream: StreamName, line: String) {
        self.gathered_bytes += line.len();
        self.gathered.push((stream, line));
        if self.gathered_bytes > GATHERED_BYTES_MAX {
            self.draw();
        }
    }

    fn draw(&mut self) {
        self.pour_out();
        let (columns, lines) = text::terminal_size();
        let text = self
            .tree
            .draw(self.started.elapsed(), self.paint, columns, lines);
        self.bar.set_message(text);
        self.bar.tick();
    }

    /// Shows the gathered output above the tree.
    fn pour_out(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        if gathered.is_empty() {
            return;
        }
        let out = &mut self.out;
        self.bar.suspend(|| {
            for (stream, line) in gathered {
                out.write(stream, &line);
            }
        });
    }

    fn finish(&mut self, summary: &str) {
        self.pour_out();
        self.bar.finish_and_clear();
        let (columns, _) = text::terminal_size();
        let all = usize::MAX;
        let tree = self
            .tree
            .draw(self.started.elapsed(), self.paint, columns, all);
        self.out.stderr(&format!("{tree}\n{summary}\n"));
    }
}
