//! One request and one answer, each a line of JSON.
//!
//! `{"token":"…","verb":"send","to":"NAME","text":"…"}` or
//! `{"token":"…","verb":"progress","text":"…"}`; `{"ok":true}` or `{"ok":false,"error":"…"}`.
//!
//! *Not here*: who may ask (`socket`).

use serde::{Deserialize, Serialize};

use crate::plan::MESSAGE_BYTES_MAX;

/// Longest request, in bytes: a byte of text may take six in JSON.
pub(super) const REQUEST_BYTES_MAX: usize = 6 * MESSAGE_BYTES_MAX + 1_024;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) token: String,
    #[serde(flatten)]
    pub(super) verb: Verb,
}

/// What a process asks its task to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub(crate) enum Verb {
    /// A line for the inbox of another task.
    Send { to: String, text: String },
    /// How far it is.
    Progress { text: String },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Verb {
    /// Checks what can be checked without knowing the run.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn check(&self) -> Result<(), String> {
        let (Self::Send { text, .. } | Self::Progress { text }) = self;
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(format!(
                "the text is too long; write at most {MESSAGE_BYTES_MAX} bytes"
            ));
        }
        if matches!(self, Self::Send { .. }) && text.contains('\n') {
            return Err("a message is one line; send each line by itself".to_owned());
        }
        Ok(())
    }
}

impl Request {
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        if !line.ends_with('\n') {
            return Err(format!(
                "a request is one line of at most {REQUEST_BYTES_MAX} bytes"
            ));
        }
        let request: Self =
            serde_json::from_str(line).map_err(|error| format!("not a request: {error}"))?;
        request.verb.check()?;
        Ok(request)
    }

    pub(super) fn to_line(&self) -> String {
        line_of(self)
    }
}

impl Answer {
    pub(super) fn to_line(&self) -> String {
        line_of(self)
    }
}

impl From<Result<(), String>> for Answer {
    fn from(result: Result<(), String>) -> Self {
        Self {
            ok: result.is_ok(),
            error: result.err(),
        }
    }
}

fn line_of(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("strings and booleans are valid JSON");
    line.push('\n');
    line
}
