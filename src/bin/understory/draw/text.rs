//! Small pieces of text: states, durations, and output made harmless.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use understory::State;

/// The size of a terminal that does not tell.
const SIZE_DEFAULT: (usize, usize) = (80, 24);

/// A state in plain words.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::CancelRequested => "stopping",
        State::TimedOut => "timed out",
        State::Pending
        | State::Running
        | State::Waiting
        | State::Suspended
        | State::Completed
        | State::Failed
        | State::Cancelled
        | State::Interrupted => state.as_str(),
    }
}

/// A duration as people read it.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// The text in one line, without escape sequences and other control characters.
pub(crate) fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // The sequence ends with its first letter or sign from here on.
            for end in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&end) {
                    break;
                }
            }
        } else if char == '\n' {
            harmless.push(' ');
        } else if char == '\t' || !char.is_control() {
            harmless.push(char);
        }
    }
    harmless
}

/// The text harmless, and as wide as it has characters of their width: a tab is a blank.
pub(super) fn note(text: &str) -> String {
    harmless(text).replace('\t', " ")
}

/// The value in one line, in which the control characters are escaped that JSON lets stand.
pub(crate) fn json_line(value: &Value) -> String {
    let json = value.to_string();
    let mut line = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_control() {
            write!(line, "\\u{:04x}", u32::from(char)).expect("writing to a string succeeds");
        } else {
            line.push(char);
        }
    }
    line
}

/// The text cut to so many columns; what is not ASCII counts as two, which it is at most.
pub(super) fn fit(text: &str, columns: usize) -> &str {
    let mut left = columns;
    for (at, char) in text.char_indices() {
        let width = if char.is_ascii() { 1 } else { 2 };
        if width > left {
            return &text[..at];
        }
        left -= width;
    }
    text
}

/// Columns and lines of the terminal behind standard error.
pub(super) fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => SIZE_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_cannot_steer_the_terminal() {
        let cases = [
            ("plain \u{1f333}\ttext", "plain \u{1f333}\ttext"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "]0;title"),
            ("over\rwritten\u{8}\u{9b}1m", "overwritten1m"),
            ("\u{1b}[", ""),
            ("two\nlines", "two lines"),
        ];
        for (text, expected) in cases {
            assert_eq!(harmless(text), expected);
        }
    }

    #[test]
    fn note_has_no_character_that_takes_more_columns_than_it_is_counted_for() {
        assert_eq!(note("a\tb\n\u{1b}[2Jc"), "a b c");
    }

    #[test]
    fn text_is_cut_to_the_columns_there_are() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abc", 2), "ab");
        assert_eq!(fit("aéb", 3), "aé");
        assert_eq!(fit("aéb", 2), "a");
    }

    #[test]
    fn durations_are_short() {
        let text = |millis| duration(Duration::from_millis(millis));
        assert_eq!(text(0), "0.0 s");
        assert_eq!(text(1_250), "1.2 s");
        assert_eq!(text(61_000), "1 min 1 s");
        assert_eq!(text(7_260_000), "2 h 1 min");
    }
}
