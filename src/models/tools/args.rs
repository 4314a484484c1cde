//! The arguments of a call, taken one by one.
//!
//! # Invariants
//! 1. What nobody took is an error.

use std::time::Duration;

use serde_json::{Map, Value};

use super::ToolError;

/// The longest time that a tool waits: an hour.
const WAIT_MS_MAX: u64 = 3_600_000;

pub(super) struct Args {
    left: Map<String, Value>,
}

impl Args {
    pub(super) fn new(args: Value) -> Result<Self, ToolError> {
        match args {
            Value::Object(left) => Ok(Self { left }),
            Value::Null => Ok(Self { left: Map::new() }),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(ToolError::invalid("the arguments must be an object"))
            }
        }
    }

    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, ToolError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, &other, "a string")),
        }
    }

    pub(super) fn need_text(&mut self, key: &str) -> Result<String, ToolError> {
        self.text(key)?.ok_or_else(|| missing(key))
    }

    pub(super) fn need(&mut self, key: &str) -> Result<Value, ToolError> {
        // Null is a value where any value will do.
        self.left.remove(key).ok_or_else(|| missing(key))
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<u64>, ToolError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(key, &value, "a whole number")),
            },
        }
    }

    /// A time, at most an hour.
    pub(super) fn time(&mut self, key: &str) -> Result<Option<Duration>, ToolError> {
        let millis = self.number(key)?;
        if millis.is_some_and(|millis| millis > WAIT_MS_MAX) {
            return Err(ToolError::invalid(format!(
                "{key} is at most {WAIT_MS_MAX}"
            )));
        }
        Ok(millis.map(Duration::from_millis))
    }

    /// Whole numbers by name.
    pub(super) fn numbers(&mut self, key: &str) -> Result<Option<Vec<(String, u64)>>, ToolError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let numbers = value.as_object().and_then(|values| {
            let pairs = values.iter();
            let pairs = pairs.map(|(name, value)| Some((name.clone(), value.as_u64()?)));
            pairs.collect::<Option<Vec<_>>>()
        });
        numbers
            .map(Some)
            .ok_or_else(|| wrong(key, &value, "an object of whole numbers"))
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, ToolError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let texts = value.as_array().and_then(|values| {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        });
        texts
            .map(Some)
            .ok_or_else(|| wrong(key, &value, "a list of strings"))
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ToolError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let found = choices.iter().find(|(word, _)| *word == text);
        let words = || {
            choices
                .iter()
                .map(|(word, _)| *word)
                .collect::<Vec<_>>()
                .join(", ")
        };
        match found {
            Some((_, choice)) => Ok(Some(*choice)),
            None => Err(wrong(
                key,
                &Value::String(text),
                &format!("one of {}", words()),
            )),
        }
    }

    /// Checks that nothing is left over.
    pub(super) fn end(self) -> Result<(), ToolError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => Err(ToolError::invalid(format!("there is no argument {key:?}"))),
        }
    }
}

fn missing(key: &str) -> ToolError {
    ToolError::invalid(format!("{key} is missing"))
}

fn wrong(key: &str, value: &Value, expected: &str) -> ToolError {
    ToolError::invalid(format!("{key} must be {expected}, not {value}"))
}
