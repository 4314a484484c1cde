//! What a body returns when it fails.

use std::error::Error;
use std::fmt::{self, Write};

use crate::kernel::{Fault, FaultKind};

/// Longest message of a failure that is kept, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1_024;

/// Why a body failed: the error type of every body, made by `?` from any error.
///
/// It does not implement [`Error`] itself, so that any error converts into it. What is no
/// [`Error`], like `anyhow::Error` or a boxed one, is told in words:
/// `.map_err(|error| Failure::new(format!("{error:#}")))`.
///
/// ```
/// use understory::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse::<u32>()?)
/// }
/// assert!(parse("seven").is_err());
/// ```
pub struct Failure {
    message: String,
    permanent: bool,
    is_suspension: bool,
}

impl Failure {
    /// Makes a failure with this message, of which at most 4 KiB are kept.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            permanent: false,
            is_suspension: false,
        }
    }

    /// What a body returns that wants to be suspended.
    pub(crate) fn suspension() -> Self {
        Self {
            message: "it suspends, and returned that from another body".to_owned(),
            permanent: false,
            is_suspension: true,
        }
    }

    pub(crate) fn is_suspension(&self) -> bool {
        self.is_suspension
    }

    /// Marks it as one that no retry can mend: no further attempt follows.
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// Whether no retry can mend it.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// The message, with the causes of the error it was made from.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_fault(self) -> Fault {
        let kind = if self.permanent {
            FaultKind::Permanent
        } else {
            FaultKind::Error
        };
        Fault {
            kind,
            message: cut(self.message).into(),
        }
    }
}

/// Cuts a text at [`MESSAGE_BYTES_MAX`], at a character's boundary.
pub(crate) fn cut(mut text: String) -> String {
    let mut end = MESSAGE_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            if message.len() > MESSAGE_BYTES_MAX {
                break;
            }
            write!(message, ": {error}").expect("writing to a string succeeds");
            cause = error.source();
        }
        Self::new(message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
