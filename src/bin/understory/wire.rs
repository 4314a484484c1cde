//! What understory and a shim say to each other over one stream.
//!
//! A frame is a tag, the length of its payload (four bytes, little endian) and the payload.
//!
//! # Invariants
//! 1. A frame has at most [`FRAME_BYTES_MAX`] bytes of payload; a longer or unknown one ends the
//!    talk.
//! 2. Understory has at most [`INPUT_WINDOW`] bytes on their way to the command that were not
//!    reported as taken, so the shim can always read on.
//!
//! *Not here*: who carries an order out (`shim`), who gives it (`process`).

use std::io;

/// Longest payload of one frame.
pub(crate) const FRAME_BYTES_MAX: usize = 32 << 10;
/// Most bytes of standard input that are sent and not yet taken by the command.
pub(crate) const INPUT_WINDOW: usize = 256 << 10;

const HEAD_BYTES: usize = 5;

/// From understory to the shim. The end of the stream is the order to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Bytes for the standard input of the command.
    Input(Vec<u8>),
    /// Close the standard input once all bytes are in it.
    CloseInput,
    /// SIGTERM to the group.
    Terminate,
}

/// From the shim to understory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command could not be started; nothing follows.
    NotStarted {
        reason: String,
        /// Whether trying again would find the same.
        is_final: bool,
    },
    /// So many more bytes of input are in the pipe.
    Taken(u32),
    /// The command reads its input no more.
    InputGone,
    /// The command has ended and nothing of it is left; nothing follows.
    Ended(Exit),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    pub(crate) fn from_status(code: Option<i32>, signal: Option<i32>) -> Self {
        match (code, signal) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl Order {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Input(bytes) => frame(b'I', bytes),
            Self::CloseInput => frame(b'C', &[]),
            Self::Terminate => frame(b'T', &[]),
        }
    }

    pub(crate) fn decode(tag: u8, payload: &[u8]) -> io::Result<Self> {
        match tag {
            b'I' => Ok(Self::Input(payload.to_vec())),
            b'C' => Ok(Self::CloseInput),
            b'T' => Ok(Self::Terminate),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Report {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::NotStarted { reason, is_final } => frame(
                if *is_final { b'N' } else { b'A' },
                &reason.as_bytes()[..reason.len().min(FRAME_BYTES_MAX)],
            ),
            Self::Taken(count) => frame(b'T', &count.to_le_bytes()),
            Self::InputGone => frame(b'G', &[]),
            Self::Ended(Exit::Code(code)) => frame(b'E', &code.to_le_bytes()),
            Self::Ended(Exit::Signal(signal)) => frame(b'K', &signal.to_le_bytes()),
        }
    }

    pub(crate) fn decode(tag: u8, payload: &[u8]) -> io::Result<Self> {
        let number = || -> io::Result<[u8; 4]> {
            payload
                .try_into()
                .map_err(|_| io::ErrorKind::InvalidData.into())
        };
        Ok(match tag {
            b'N' | b'A' => Self::NotStarted {
                reason: String::from_utf8_lossy(payload).into_owned(),
                is_final: tag == b'N',
            },
            b'T' => Self::Taken(u32::from_le_bytes(number()?)),
            b'G' => Self::InputGone,
            b'E' => Self::Ended(Exit::Code(i32::from_le_bytes(number()?))),
            b'K' => Self::Ended(Exit::Signal(i32::from_le_bytes(number()?))),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

fn frame(tag: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("invariant 1 bounds the payload");
    let mut frame = Vec::with_capacity(HEAD_BYTES + payload.len());
    frame.push(tag);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Puts frames together from bytes that come in any portions.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, as its tag and payload.
    ///
    /// # Errors
    /// When a frame is too long: the stream makes no sense any more.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [tag, length @ ..] = *head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.bytes.drain(..HEAD_BYTES + length);
        Ok(Some((tag, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_portions() {
        let orders = [
            Order::Input(vec![0, 255, 10]),
            Order::CloseInput,
            Order::Terminate,
        ];
        let bytes: Vec<u8> = orders.iter().flat_map(Order::encode).collect();
        for portion in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut orders_read = Vec::new();
            for bytes in bytes.chunks(portion) {
                decoder.push(bytes);
                while let Some((tag, payload)) = decoder.next_frame().expect("no frame is long") {
                    orders_read
                        .push(Order::decode(tag, &payload).expect("it was encoded as an order"));
                }
            }
            assert_eq!(orders_read, orders);
        }
    }

    #[test]
    fn reports_come_back_as_they_were() {
        let not_started = |reason: &str, is_final| Report::NotStarted {
            reason: reason.to_owned(),
            is_final,
        };
        let reports = [
            not_started("no such file", true),
            not_started("text file busy", false),
            Report::Taken(70_000),
            Report::InputGone,
            Report::Ended(Exit::Code(-1)),
            Report::Ended(Exit::Signal(9)),
        ];
        for report in reports {
            let mut decoder = Decoder::default();
            decoder.push(&report.encode());
            let (tag, payload) = decoder
                .next_frame()
                .expect("it is short")
                .expect("it is whole");
            assert_eq!(
                Report::decode(tag, &payload).expect("it is a report"),
                report
            );
        }
    }

    #[test]
    fn frame_beyond_the_limit_is_refused() {
        let head = |length: usize| {
            let length = u32::try_from(length).expect("it is small");
            [b"I", length.to_le_bytes().as_slice()].concat()
        };
        for (length, is_fine) in [(FRAME_BYTES_MAX, true), (FRAME_BYTES_MAX + 1, false)] {
            let mut decoder = Decoder::default();
            decoder.push(&head(length));
            assert_eq!(decoder.next_frame().is_ok(), is_fine, "{length}");
        }
        assert!(Order::decode(b'?', &[]).is_err());
        assert!(Report::decode(b'T', &[1]).is_err());
    }
}
