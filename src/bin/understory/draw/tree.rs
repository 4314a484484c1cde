//! The tree as text: a line for each task, indented below its parent.
//!
//! # Invariants
//! 1. A drawing has at most the lines and columns asked for. Tasks that are over give way first,
//!    then pending ones, and the last line counts what is left out.

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
    /// The lines that lead from the parent to it.
    branch: String,
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
#[derive(Debug)]
pub(super) struct Tree {
    /// In the order in which they are drawn.
    rows: Vec<Row>,
    /// The row of each task of the plan.
    row_of: Vec<usize>,
    name_width: usize,
}

impl Tree {
    pub(super) fn new(places: &[Place]) -> Self {
        let mut children = vec![Vec::new(); places.len()];
        let mut roots = Vec::new();
        for (task, place) in places.iter().enumerate() {
            match place.parent {
                Some(parent) => children[parent].push(task),
                None => roots.push(task),
            }
        }
        let mut tree = Self {
            rows: Vec::new(),
            row_of: vec![0; places.len()],
            name_width: 0,
        };
        // The stack holds what is still to be drawn, the next one last.
        let mut stack: Vec<(usize, String, String)> = roots
            .into_iter()
            .rev()
            .map(|root| (root, String::new(), String::new()))
            .collect();
        while let Some((task, branch, indent)) = stack.pop() {
            tree.add(task, places, branch);
            let count = children[task].len();
            for (at, child) in children[task].iter().enumerate().rev() {
                let (corner, below) = if at + 1 == count {
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
        }
        tree
    }

    fn add(&mut self, task: usize, places: &[Place], branch: String) {
        let Place { name, parent } = &places[task];
        let path = match parent {
            Some(parent) => format!("{}/{name}", self.path(*parent)),
            None => name.clone(),
        };
        self.name_width = self.name_width.max(branch.chars().count() + name.len());
        self.row_of[task] = self.rows.len();
        self.rows.push(Row {
            name: name.clone(),
            path,
            branch,
            state: State::Pending,
            note: String::new(),
            said: String::new(),
            started: None,
            ended: None,
        });
    }

    pub(super) fn path(&self, task: usize) -> &str {
        &self.rows[self.row_of[task]].path
    }

    pub(super) fn row_mut(&mut self, task: usize) -> &mut Row {
        &mut self.rows[self.row_of[task]]
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
        let shown = self.choose(room);
        let hidden = self.rows.len() - shown.len();
        let line = |row| self.line(row, since_start, paint, columns);
        let mut drawn: Vec<String> = shown.into_iter().map(line).collect();
        if hidden > 0 {
            drawn.push(fit(&format!("and {hidden} more"), columns).to_owned());
        }
        drawn.join("\n")
    }

    /// The rows to draw, in their order, such that they and a last line fit.
    fn choose(&self, room: usize) -> Vec<&Row> {
        if self.rows.len() <= room {
            return self.rows.iter().collect();
        }
        let mut places: Vec<usize> = (0..self.rows.len()).collect();
        places.sort_by_key(|place| (u8::MAX - self.rows[*place].rank(), *place));
        places.truncate(room - 1);
        places.sort_unstable();
        places.into_iter().map(|place| &self.rows[place]).collect()
    }

    fn line(&self, row: &Row, since_start: Duration, paint: Paint, columns: usize) -> String {
        let (sign, color) = sign(row.state, since_start);
        let padding = " ".repeat(self.name_width - row.branch.chars().count() - row.name.len());
        let time = row.started.map_or_else(String::new, |started| {
            text::duration(row.ended.unwrap_or(since_start).saturating_sub(started))
        });
        let state = text::state(row.state);
        let note = if row.note.is_empty() {
            &row.said
        } else {
            &row.note
        };
        let rest = format!("{}{padding}  {state:<11} {time:>8}  {note}", row.name);
        // The sign and the branch are narrow, though not ASCII.
        let used = row.branch.chars().count() + 2;
        let rest = fit(rest.trim_end(), columns.saturating_sub(used + 1));
        match paint {
            Paint::Plain => format!("{}{sign} {rest}", row.branch),
            Paint::Colored => format!("{}\u{1b}[{color}m{sign}\u{1b}[0m {rest}", row.branch),
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
mod tests {
    use super::*;

    fn tree(places: &[(&str, Option<usize>)]) -> Tree {
        let place = |(name, parent): &(&str, Option<usize>)| Place {
            name: (*name).to_owned(),
            parent: *parent,
        };
        Tree::new(&places.iter().map(place).collect::<Vec<_>>())
    }

    fn crew() -> Tree {
        tree(&[
            ("lead", None),
            ("docs", Some(0)),
            ("other", None),
            ("code", Some(0)),
            ("x", Some(1)),
        ])
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn children_stand_below_their_parent() {
        let mut tree = crew();
        tree.row_mut(0).turn(State::Running, String::new(), at(0));
        tree.row_mut(1).turn(State::Running, String::new(), at(1));
        tree.row_mut(1)
            .turn(State::Failed, "exit code 3".to_owned(), at(3));

        let expected = "\
⠋ lead     running        5.0 s
├─ ✗ docs  failed         2.0 s  exit code 3
│  └─ · x  pending
└─ · code  pending
· other    pending";
        assert_eq!(
            tree.draw(at(5), Paint::Plain, 80, 24)
                .replace(FRAMES[2], FRAMES[0]),
            expected
        );
        assert_eq!(tree.path(4), "lead/docs/x");
    }

    #[test]
    fn drawing_fits_into_its_lines_and_running_tasks_stay() {
        let mut tree = crew();
        tree.row_mut(0).turn(State::Completed, String::new(), at(0));
        tree.row_mut(3).turn(State::Running, String::new(), at(0));
        for lines in 0..8 {
            let drawn = tree.draw(at(0), Paint::Plain, 80, lines);
            assert!(
                drawn.lines().count() <= lines.saturating_sub(LINES_FREE).max(1),
                "{drawn}"
            );
            assert!(drawn.contains("code") || lines <= 3, "{drawn}");
        }
        assert!(
            tree.draw(at(0), Paint::Plain, 80, 5)
                .ends_with("and 3 more")
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut tree = crew();
        tree.row_mut(4).turn(State::Running, "é".repeat(100), at(0));
        for columns in 10..60 {
            let drawn = tree.draw(at(0), Paint::Plain, columns, 24);
            assert!(
                drawn.lines().all(|line| line.chars().count() <= columns),
                "{drawn}"
            );
        }
    }

    #[test]
    fn reason_of_the_state_goes_before_what_was_said_last() {
        let mut tree = tree(&[("a", None)]);
        let mut turn = |state, note: &str| {
            let row = tree.row_mut(0);
            row.said = "9 files".to_owned();
            row.turn(state, note.to_owned(), at(0));
            let drawn = tree.draw(at(0), Paint::Plain, 80, 24);
            drawn.split("  ").last().map(str::to_owned)
        };
        assert_eq!(turn(State::Running, "").as_deref(), Some("9 files"));
        assert_eq!(
            turn(State::Waiting, "for its children").as_deref(),
            Some("for its children")
        );
        assert_eq!(turn(State::Completed, "").as_deref(), Some("9 files"));
    }
}
