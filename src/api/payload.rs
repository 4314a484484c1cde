//! Values of users as JSON text, such as can be read again.
//!
//! # Invariants
//! 1. What is written here is no deeper than what the reader of JSON takes: nothing that was
//!    accepted comes back as null.
//!
//! *Not here*: how long the text may be (each verb), what shapes are shown outside (`json`).

use serde::Serialize;
use serde::ser::Error as _;
use serde_json::Value;

/// Most arrays and objects within each other: `serde_json` reads no more of them.
pub(super) const DEPTH_MAX: usize = 127;

/// The value as text, unless it is too deep to be read again.
pub(super) fn to_text(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    if is_too_deep(&text) {
        return Err(too_deep());
    }
    Ok(text)
}

/// The value as such, unless it is too deep: whoever drops or copies it must not run out of stack.
pub(super) fn to_value(value: impl Serialize) -> Result<Value, serde_json::Error> {
    let value = serde_json::to_value(value)?;
    if has_more_levels(&value, DEPTH_MAX) {
        return Err(too_deep());
    }
    Ok(value)
}

/// Whether there are more arrays and objects within each other than these levels.
fn has_more_levels(value: &Value, levels: usize) -> bool {
    let goes_on = |inner: &Value| has_more_levels(inner, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(goes_on),
        Value::Object(fields) => levels == 0 || fields.values().any(goes_on),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn too_deep() -> serde_json::Error {
    let why = format!("it has more than {DEPTH_MAX} levels of arrays and objects");
    serde_json::Error::custom(why)
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
