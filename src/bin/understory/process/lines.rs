//! Output, cut into lines: any bytes, any length, in bounded pieces.
//!
//! # Invariants
//! 1. The texts of the pieces up to a whole one, put together, are the line, with what is not UTF-8
//!    replaced. No piece is longer than [`PIECE_BYTES_MAX`] as JSON, which is how it is kept and
//!    told; none is cut within a character.
//! 2. A stream is read only when its last pieces were taken.
//! 3. After the end of the process, a stream that somebody else still holds open is read for
//!    [`SILENCE_MAX`] after its last bytes, not longer.
//!
//! *Not here*: what is shown of them (`draw`).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Ended;

/// Longest piece of a line, in bytes of JSON.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// What a control character takes there, such as `\u0000`.
const CONTROL_BYTES: usize = 6;
/// How long an ended process's output may be silent before it is left.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Where a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamName {
    Stdout,
    Stderr,
}

impl StreamName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A line, or a piece of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) stream: StreamName,
    pub(crate) text: String,
    /// Whether more of the same line follows.
    pub(crate) is_cut: bool,
}

/// What is heard of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Line(Line),
    /// It wrote something that is no whole piece yet.
    Part,
}

/// The output of a process as it comes.
#[derive(Debug)]
pub(crate) struct Lines(mpsc::Receiver<Heard>);

impl Lines {
    /// What comes next; `None` when both streams have ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        self.0.recv().await
    }
}

/// Reads both streams to their ends.
pub(super) fn read(
    stdout: Option<impl AsyncRead + Unpin + Send + 'static>,
    stderr: Option<impl AsyncRead + Unpin + Send + 'static>,
    capacity: usize,
    ended: watch::Receiver<Option<Ended>>,
) -> Lines {
    let (sender, lines) = mpsc::channel(capacity);
    if let Some(stdout) = stdout {
        tokio::spawn(read_stream(
            stdout,
            StreamName::Stdout,
            sender.clone(),
            ended.clone(),
        ));
    }
    if let Some(stderr) = stderr {
        tokio::spawn(read_stream(stderr, StreamName::Stderr, sender, ended));
    }
    Lines(lines)
}

async fn read_stream(
    mut stream: impl AsyncRead + Unpin,
    name: StreamName,
    sender: mpsc::Sender<Heard>,
    mut ended: watch::Receiver<Option<Ended>>,
) {
    let mut cutter = Cutter::default();
    let mut bytes = vec![0; 16 << 10];
    loop {
        let left = async {
            let _ = ended.wait_for(Option::is_some).await;
            sleep(SILENCE_MAX).await;
        };
        let count = tokio::select! {
            biased;
            read = stream.read(&mut bytes) => read.unwrap_or(0),
            () = left => 0,
        };
        let pieces = if count == 0 {
            cutter.finish()
        } else {
            cutter.push(&bytes[..count])
        };
        let part = (count > 0 && pieces.is_empty()).then_some(Heard::Part);
        let line = |(text, is_cut)| {
            Heard::Line(Line {
                stream: name,
                text,
                is_cut,
            })
        };
        for heard in pieces.into_iter().map(line).chain(part) {
            if sender.send(heard).await.is_err() {
                return;
            }
        }
        if count == 0 {
            return;
        }
    }
}

/// A piece and whether more of its line follows.
type Piece = (String, bool);

/// Cuts bytes into pieces.
#[derive(Debug, Default)]
struct Cutter {
    rest: Vec<u8>,
    /// Whether pieces of the line at hand are out already.
    is_within: bool,
}

impl Cutter {
    fn push(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[..end], &mut pieces);
            self.end_line(&mut pieces);
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, &mut pieces);
        pieces
    }

    fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.is_within || !self.rest.is_empty() {
            self.end_line(&mut pieces);
        }
        pieces
    }

    /// Takes bytes of one line.
    fn take(&mut self, mut bytes: &[u8], pieces: &mut Vec<Piece>) {
        while self.rest.len() + bytes.len() > PIECE_BYTES_MAX {
            let (now, later) = bytes.split_at(PIECE_BYTES_MAX - self.rest.len());
            self.rest.extend_from_slice(now);
            bytes = later;
            let end = whole_characters(&self.rest);
            let incomplete = self.rest.split_off(end);
            self.cut(pieces);
            self.rest = incomplete;
        }
        self.rest.extend_from_slice(bytes);
    }

    fn end_line(&mut self, pieces: &mut Vec<Piece>) {
        if self.rest.last() == Some(&b'\r') {
            self.rest.pop();
        }
        self.cut(pieces);
        if let Some((_, is_cut)) = pieces.last_mut() {
            *is_cut = false;
        }
        self.is_within = false;
    }

    /// Moves what is at hand to the pieces, as text. A replaced byte takes three and a control
    /// character six, so it may be several.
    fn cut(&mut self, pieces: &mut Vec<Piece>) {
        let text = String::from_utf8_lossy(&self.rest);
        let mut text = text.as_ref();
        loop {
            let (piece, rest) = text.split_at(piece_end(text));
            pieces.push((piece.to_owned(), true));
            if rest.is_empty() {
                break;
            }
            text = rest;
        }
        self.rest.clear();
        self.is_within = true;
    }
}

/// How much of the text is one piece.
fn piece_end(text: &str) -> usize {
    let mut left = PIECE_BYTES_MAX;
    for (at, char) in text.char_indices() {
        let bytes = match char {
            '"' | '\\' => 2,
            char if char.is_control() => CONTROL_BYTES,
            char => char.len_utf8(),
        };
        if bytes > left {
            return at;
        }
        left -= bytes;
    }
    text.len()
}

/// How many of the bytes are not the beginning of a character that is still incomplete.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Bytes that are no text at all may be cut anywhere but within their last character.
        Err(_) => {
            let tail = bytes.len().saturating_sub(3);
            let starts = |byte: &u8| *byte >= 0xc0;
            let start = bytes[tail..].iter().rposition(starts).map(|at| tail + at);
            match start.map(|at| (at, std::str::from_utf8(&bytes[at..]))) {
                Some((at, Err(error))) if error.error_len().is_none() => at,
                Some((_, Ok(_) | Err(_))) | None => bytes.len(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes the bytes in portions and puts the lines together again.
    fn lines(bytes: &[u8], portion: usize) -> Vec<String> {
        let mut cutter = Cutter::default();
        let mut pieces: Vec<Piece> = Vec::new();
        for bytes in bytes.chunks(portion) {
            pieces.extend(cutter.push(bytes));
        }
        pieces.extend(cutter.finish());
        let mut lines = vec![String::new()];
        for (text, is_cut) in pieces {
            let json = serde_json::to_string(&text).expect("a text is JSON");
            assert!(json.len() <= PIECE_BYTES_MAX + "\"\"".len());
            *lines.last_mut().expect("there is one") += &text;
            if !is_cut {
                lines.push(String::new());
            }
        }
        assert_eq!(lines.pop().as_deref(), Some(""), "the last line has an end");
        lines
    }

    #[test]
    fn lines_are_cut_wherever_the_bytes_come_apart() {
        let text = "one\r\n\ntwo \u{1f333}\nwithout end";
        for portion in 1..=text.len() {
            let expected = ["one", "", "two \u{1f333}", "without end"];
            assert_eq!(lines(text.as_bytes(), portion), expected);
        }
        assert!(lines(b"", 1).is_empty());
        assert_eq!(lines(b"\n", 1), [""]);
    }

    #[test]
    fn long_lines_come_in_pieces_that_make_up_the_line() {
        for length in [
            PIECE_BYTES_MAX - 1,
            PIECE_BYTES_MAX,
            PIECE_BYTES_MAX + 1,
            300_000,
        ] {
            for shift in 0..4 {
                let line = "x".repeat(shift) + &"\u{1f333}".repeat(length / 4);
                let text = line.clone() + "\nnext";
                assert_eq!(lines(text.as_bytes(), 16 << 10), [line.as_str(), "next"]);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut bytes = vec![0xff; PIECE_BYTES_MAX + 10];
        bytes.extend_from_slice("é\0\n".as_bytes());
        let expected = "\u{fffd}".repeat(PIECE_BYTES_MAX + 10) + "é\0";
        assert_eq!(lines(&bytes, 7_000), [expected]);
    }

    #[test]
    fn characters_that_json_escapes_come_in_shorter_pieces() {
        for char in ["\0", "\"", "\\", "\t", "\u{7f}", "\u{9b}"] {
            let line = char.repeat(100_000);
            assert_eq!(lines(line.as_bytes(), 16 << 10), [line]);
        }
    }

    #[test]
    fn cut_does_not_split_a_character_after_broken_bytes() {
        for shift in 0..4 {
            let mut bytes = vec![0xff];
            bytes.extend_from_slice("x".repeat(shift).as_bytes());
            bytes.extend_from_slice("\u{1f333}".repeat(40_000).as_bytes());
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(lines(&bytes, 9_000), [text]);
        }
    }
}
