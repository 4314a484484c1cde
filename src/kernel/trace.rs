//! The W3C trace context in which a task was asked for: carried to its body, never acted upon.
//!
//! # Invariants
//! 1. A value here has the form of <https://www.w3.org/TR/trace-context>, version 00.
//!
//! *Not here*: spans (`actors`), whose context a task takes (the public face).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::InvalidText;

/// Largest `tracestate`, in bytes.
const STATE_BYTES_MAX: usize = 512;
/// Bytes of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// A trace, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    parent: Arc<str>,
    state: Option<Arc<str>>,
}

impl Trace {
    /// Checks the texts of the headers `traceparent` and `tracestate` and takes them.
    ///
    /// # Errors
    /// [`InvalidText`] with the rule that one of them breaks.
    pub fn new(traceparent: &str, tracestate: Option<&str>) -> Result<Self, InvalidText> {
        let invalid = |what, text: &str, rule| InvalidText {
            what,
            text: text.chars().take(PARENT_BYTES).collect(),
            rule,
        };
        if !is_parent(traceparent) {
            let rule = "write 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, not all zeros";
            return Err(invalid("traceparent", traceparent, rule));
        }
        let is_printable = |text: &&str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if let Some(state) = tracestate
            && (state.len() > STATE_BYTES_MAX || !is_printable(&state))
        {
            let rule = "use at most 512 printable characters";
            return Err(invalid("tracestate", state, rule));
        }
        let (parent, state) = (traceparent.into(), tracestate.map(Into::into));
        Ok(Self { parent, state })
    }

    /// The text of the header `traceparent`.
    pub fn traceparent(&self) -> &str {
        &self.parent
    }

    /// The text of the header `tracestate`.
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The same trace, inside the span of this id, which is not zero.
    pub fn within(&self, span: u64) -> Self {
        let (trace, flags) = (&self.parent[..35], &self.parent[52..]);
        let parent = format!("{trace}-{span:016x}{flags}").into();
        let state = self.state.clone();
        Self { parent, state }
    }
}

fn is_parent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut is_hex = |digits: usize, may_be_zero: bool| {
        parts.next().is_some_and(|part| {
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            part.len() == digits
                && part.bytes().all(is_digit)
                && (may_be_zero || part.bytes().any(|byte| byte != b'0'))
        })
    };
    text.len() == PARENT_BYTES
        && text.starts_with("00-")
        && is_hex(2, true)
        && is_hex(32, false)
        && is_hex(16, false)
        && is_hex(2, true)
}
