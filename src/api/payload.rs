//! Values of users as JSON text, such as can be read again.
//!
//! # Invariants
//! 1. What is written here is no deeper than what the reader of JSON takes: nothing that was
//!    accepted comes back as null.
//!
//! *Not here*: how long the text may be (each verb), what shapes are shown outside (`json`).

use serde::Serialize;
use serde::ser::Error as _;

/// Most arrays and objects within each other: `serde_json` reads no more of them.
pub(super) const DEPTH_MAX: usize = 127;

/// The value as text, unless it is too deep to be read again.
pub(super) fn to_text(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    if is_too_deep(&text) {
        let why = format!("it has more than {DEPTH_MAX} levels of arrays and objects");
        return Err(serde_json::Error::custom(why));
    }
    Ok(text)
}

/// Whether a text is deeper than [`DEPTH_MAX`].
pub(super) fn is_too_deep(json: &str) -> bool {
    // Each level has two ends.
    json.len() > 2 * DEPTH_MAX && depth(json) > DEPTH_MAX
}

/// How many arrays and objects are within each other in a JSON text.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    let mut is_in_text = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_in_text = !is_in_text,
            // What follows is no end of the text.
            b'\\' if is_in_text => drop(bytes.next()),
            b'[' | b'{' if !is_in_text => depth += 1,
            b']' | b'}' if !is_in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
