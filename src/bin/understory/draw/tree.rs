//! The tree as text: a line for each task, indented below its parent.
//!
//! # Invariants
//! 1. A drawing has at most the lines and columns asked for. Tasks that are over give way first,
//!    then pending ones, and the last line counts what is left out.

use std::collections::BTreeMap;
use std::time::Duration;

use understory::State;

use super::Place;
use super::text::{self, fit};

/// The pictures of a running task, one after the other.
const FRAMES: [&str; 8] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧"];
/// How long each of them is shown.
const FRAME_MILLIS: u128 = 100;
/// Lines of the terminal that are left free, for one line of output above and the cursor below.
const LINES_FREE: usize = 2;

/// Whether the tree has colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Colored,
    Plain,
}

/// One task as it is drawn.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    path: String,
    parent: Option<usize>,
    children: Vec<usize>,
    state: State,
    /// Why it is in this state, or what it waits for.
    note: String,
    /// What it said last.
    pub(super) said: String,
    started: Option<Duration>,
    ended: Option<Duration>,
}

impl Row {
    /// It comes to a state, so long after the start of the run.
    pub(super) fn turn(&mut self, state: State, note: String, since_start: Duration) {
        if state == State::Running && self.state == State::Pending {
            self.started = Some(since_start);
        }
        if state.is_terminal() {
            self.ended = Some(since_start);
        }
        self.note = note;
        self.state = state;
    }

    /// How readily it gives way when there is no room.
    fn rank(&self) -> u8 {
        match self.state {
            State::Completed | State::Cancelled => 0,
            State::Pending => 1,
            State::Failed | State::TimedOut | State::Interrupted => 2,
            State::Waiting | State::Suspended => 3,
            State::Running | State::CancelRequested => 4,
        }
    }
}

/// All tasks of a run, each below its parent.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// By the numbers of the tasks, which rise.
    rows: BTreeMap<usize, Row>,
    roots: Vec<usize>,
}

/// A row and the lines that lead from its parent to it.
type Placed<'a> = (String, &'a Row);

impl Tree {
    pub(super) fn new(places: &[Place]) -> Self {
        let mut tree = Self::default();
        for (task, place) in places.iter().enumerate() {
            tree.add(task, place);
        }
        tree
    }

    /// Adds a task; its parent comes before it.
    pub(super) fn add(&mut self, task: usize, Place { name, parent }: &Place) {
        let above = parent.and_then(|parent| self.rows.get_mut(&parent));
        let path = if let Some(above) = above {
            above.children.push(task);
            format!("{}/{name}", above.path)
        } else {
            self.roots.push(task);
            name.clone()
        };
        self.rows.insert(
            task,
            Row {
                name: name.clone(),
                path,
                parent: *parent,
                children: Vec::new(),
                state: State::Pending,
                note: String::new(),
                said: String::new(),
                started: None,
                ended: None,
            },
        );
    }

    /// Leaves a task out from now on; what is below it stands where it stood.
    pub(super) fn forget(&mut self, task: usize) {
        let Some(row) = self.rows.remove(&task) else {
            return;
        };
        for child in &row.children {
            if let Some(child) = self.rows.get_mut(child) {
                child.parent = row.parent;
            }
        }
        let above = row.parent.and_then(|parent| self.rows.get_mut(&parent));
        let siblings = above.map_or(&mut self.roots, |above| &mut above.children);
        if let Some(at) = siblings.iter().position(|sibling| *sibling == task) {
            siblings.splice(at..=at, row.children);
        }
    }

    pub(super) fn path(&self, task: usize) -> &str {
        self.rows.get(&task).map_or("", |row| &row.path)
    }

    pub(super) fn row_mut(&mut self, task: usize) -> Option<&mut Row> {
        self.rows.get_mut(&task)
    }

    /// All rows in the order in which they are drawn.
    fn placed(&self) -> Vec<Placed<'_>> {
        let mut placed = Vec::with_capacity(self.rows.len());
        // The stack holds what is still to be drawn, the next one last.
        let roots = self.roots.iter().rev();
        let mut stack: Vec<(usize, String, String)> = roots
            .map(|root| (*root, String::new(), String::new()))
            .collect();
        while let Some((task, branch, indent)) = stack.pop() {
            let Some(row) = self.rows.get(&task) else {
                continue;
            };
            for (at, child) in row.children.iter().enumerate().rev() {
                let (corner, below) = if at + 1 == row.children.len() {
                    ("└─ ", "   ")
                } else {
                    ("├─ ", "│  ")
                };
                stack.push((
                    *child,
                    format!("{indent}{corner}"),
                    format!("{indent}{below}"),
                ));
            }
            placed.push((branch, row));
        }
        placed
    }

    /// Draws what fits into so many columns and lines.
    pub(super) fn draw(
        &self,
        since_start: Duration,
        paint: Paint,
        columns: usize,
        lines: usize,
    ) -> String {
        let room = lines.saturating_sub(LINES_FREE).max(1);
        let mut placed = self.placed();
        for (branch, _) in &mut placed {
            shorten(branch, columns / 2);
        }
        let width = |(branch, row): &Placed<'_>| branch.chars().count() + row.name.len();
        let name_width = placed.iter().map(width).max().unwrap_or(0);
        let shown = choose(&placed, room);
        let hidden = placed.len() - shown.len();
        let look = Look {
            since_start,
            paint,
            columns,
            name_width,
        };
        let mut drawn: Vec<String> = shown.into_iter().map(|row| look.line(row)).collect();
        if hidden > 0 {
            drawn.push(fit(&format!("and {hidden} more"), columns).to_owned());
        }
        drawn.join("\n")
    }
}

/// Leaves so many columns of a branch, those next to the row.
fn shorten(branch: &mut String, columns: usize) {
    // Its characters are narrow, though not ASCII.
    let more = branch.chars().count().saturating_sub(columns);
    if let Some((at, _)) = branch.char_indices().nth(more) {
        branch.drain(..at);
    } else {
        branch.clear();
    }
}

/// The rows to draw, in their order, such that they and a last line fit.
fn choose<'a, 'b>(placed: &'b [Placed<'a>], room: usize) -> Vec<&'b Placed<'a>> {
    if placed.len() <= room {
        return placed.iter().collect();
    }
    let mut chosen: Vec<usize> = (0..placed.len()).collect();
    chosen.sort_by_key(|at| (u8::MAX - placed[*at].1.rank(), *at));
    chosen.truncate(room - 1);
    chosen.sort_unstable();
    chosen.into_iter().map(|at| &placed[at]).collect()
}

/// What all lines of one drawing share.
struct Look {
    since_start: Duration,
    paint: Paint,
    columns: usize,
    name_width: usize,
}

impl Look {
    fn line(&self, (branch, row): &Placed<'_>) -> String {
        let (sign, color) = sign(row.state, self.since_start);
        let branch_width = branch.chars().count();
        let padding = " ".repeat(self.name_width - branch_width - row.name.len());
        let time = row.started.map_or_else(String::new, |started| {
            text::duration(
                row.ended
                    .unwrap_or(self.since_start)
                    .saturating_sub(started),
            )
        });
        let state = text::state(row.state);
        let note = if row.note.is_empty() {
            &row.said
        } else {
            &row.note
        };
        let rest = format!("{}{padding}  {state:<11} {time:>8}  {note}", row.name);
        // The sign and the branch are narrow, though not ASCII.
        let rest = fit(
            rest.trim_end(),
            self.columns.saturating_sub(branch_width + 3),
        );
        match self.paint {
            Paint::Plain => format!("{branch}{sign} {rest}"),
            Paint::Colored => format!("{branch}\u{1b}[{color}m{sign}\u{1b}[0m {rest}"),
        }
    }
}

/// The sign of a state and the number of its color.
fn sign(state: State, since_start: Duration) -> (&'static str, u8) {
    let frame = usize::try_from(since_start.as_millis() / FRAME_MILLIS).unwrap_or(0) % FRAMES.len();
    match state {
        State::Pending => ("·", 2),
        State::Running => (FRAMES[frame], 36),
        State::Waiting | State::Suspended => ("◦", 36),
        State::CancelRequested => (FRAMES[frame], 33),
        State::Completed => ("✓", 32),
        State::Failed | State::TimedOut | State::Interrupted => ("✗", 31),
        State::Cancelled => ("–", 33),
    }
}

#[cfg(test)]
mod tests;
