//! The terminal below the live tree, as `indicatif` draws on it.
//!
//! # Invariants
//! 1. Between two drawings the cursor stands at the start of an empty line below the tree. So the
//!    `^C` that a terminal shows lands there, where the next drawing clears it, and shifts nothing.
//! 2. A drawing goes out in one piece.
//!
//! *Not here*: what is drawn (`tree`).

use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::out::write_all;
use super::text::terminal_size;

#[derive(Debug, Default)]
pub(super) struct Terminal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is drawn since the last flush.
    text: String,
    /// Whether the line of the cursor has something on it.
    is_line_used: bool,
    /// Whether the cursor stands below the tree.
    is_below: bool,
}

impl State {
    /// Brings the cursor back to the last line of the tree, where `indicatif` left it.
    fn come_back(&mut self) {
        if self.is_below {
            self.is_below = false;
            self.text.push_str("\r\u{1b}[2K\u{1b}[1A");
        }
    }

    fn move_cursor(&mut self, count: usize, direction: char) {
        self.come_back();
        if count > 0 {
            write!(self.text, "\u{1b}[{count}{direction}").expect("writing to a string succeeds");
        }
    }
}

impl Terminal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        u16::try_from(terminal_size().0).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(terminal_size().1).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.state().move_cursor(count, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.state().move_cursor(count, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.state().move_cursor(count, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.state().move_cursor(count, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        let mut state = self.state();
        state.come_back();
        state.text.push_str(text);
        state.text.push_str("\r\n");
        state.is_line_used = false;
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut state = self.state();
        state.come_back();
        state.is_line_used |= !text.is_empty();
        state.text.push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut state = self.state();
        state.come_back();
        state.text.push_str("\r\u{1b}[2K");
        state.is_line_used = false;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.is_line_used {
            state.text.push_str("\r\n");
            state.is_line_used = false;
            state.is_below = true;
        }
        let text = std::mem::take(&mut state.text);
        drop(state);
        Ok(write_all(&io::stderr(), text.as_bytes())?)
    }
}
