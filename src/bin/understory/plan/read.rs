//! Typed reading of one TOML value: the value, or a problem that says what to write.
//!
//! *Not here*: which keys there are (`entry`), what they mean together (`order`).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::duration;
use super::problem::{Problems, nearest};

/// A key of a table with its value.
pub(super) struct Field<'a> {
    pub(super) key: &'a str,
    pub(super) key_at: Range<usize>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl Field<'_> {
    /// Adds a problem at the value: `retry = "3" is a string; write …`.
    pub(super) fn wrong(&self, problems: &mut Problems, write: impl std::fmt::Display) {
        let kind = self.value.get_ref().type_str();
        problems.add(
            self.value.span(),
            format!("`{}` is not valid ({kind})", self.key),
            write,
        );
    }

    /// Adds a problem at a value that is no number of those that fit: `retry is 100; write …`.
    fn beyond(&self, problems: &mut Problems, write: impl std::fmt::Display) {
        let value = self.value.get_ref();
        let whole = value.as_integer().map(ToString::to_string);
        let number = whole.or_else(|| value.as_float().map(|number| number.as_str().to_owned()));
        match number {
            Some(number) => {
                let wrong = format!("`{}` is {number}", self.key);
                problems.add(self.value.span(), wrong, write);
            }
            None => self.wrong(problems, write),
        }
    }

    pub(super) fn string(&self, problems: &mut Problems) -> Option<Spanned<String>> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.wrong(problems, format!("write {} = \"…\"", self.key));
            return None;
        };
        Some(Spanned::new(self.value.span(), text.to_owned()))
    }

    /// An array of strings.
    pub(super) fn strings(&self, problems: &mut Problems) -> Vec<Spanned<String>> {
        let write = format!("write {} = [\"…\", \"…\"]", self.key);
        let Some(array) = self.value.get_ref().as_array() else {
            self.wrong(problems, write);
            return Vec::new();
        };
        let mut strings = Vec::with_capacity(array.len());
        for item in array {
            if let Some(text) = item.get_ref().as_str() {
                strings.push(Spanned::new(item.span(), text.to_owned()));
            } else {
                let wrong = format!("`{}` holds something else than strings", self.key);
                problems.add(item.span(), wrong, &write);
            }
        }
        strings
    }

    /// An array of at most `max` strings.
    pub(super) fn few_strings(&self, max: usize, problems: &mut Problems) -> Vec<Spanned<String>> {
        let strings = self.strings(problems);
        if strings.len() > max {
            let wrong = format!("`{}` has {} entries", self.key, strings.len());
            problems.add(self.value.span(), wrong, format!("write at most {max}"));
        }
        strings
    }

    /// A table of strings.
    pub(super) fn string_map(&self, problems: &mut Problems) -> BTreeMap<String, Spanned<String>> {
        let mut map = BTreeMap::new();
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong(
                problems,
                format!("write {} = {{ KEY = \"value\" }}", self.key),
            );
            return map;
        };
        for field in fields(table) {
            if let Some(text) = field.string(problems) {
                map.insert(field.key.to_owned(), text);
            }
        }
        map
    }

    /// A string such as `"30s"`, or a number of seconds.
    pub(super) fn duration(&self, problems: &mut Problems) -> Option<Duration> {
        let value = self.value.get_ref();
        let seconds = value
            .as_integer()
            .and_then(|number| integer(number)?.to_string().parse().ok());
        let seconds: Option<f64> = seconds.or_else(|| {
            value
                .as_float()
                .and_then(|number| number.as_str().parse().ok())
        });
        let parsed = match (value.as_str(), seconds) {
            (Some(text), _) => duration::parse(text),
            (None, Some(seconds)) => duration::from_seconds(seconds)
                .ok_or_else(|| duration::HOW_TO_WRITE.to_owned())
                .and_then(duration::bounded),
            (None, None) => Err(duration::HOW_TO_WRITE.to_owned()),
        };
        parsed.map_err(|write| self.wrong(problems, write)).ok()
    }

    /// A duration above zero.
    pub(super) fn positive_duration(&self, problems: &mut Problems) -> Option<Duration> {
        let duration = self.duration(problems)?;
        if duration.is_zero() {
            let wrong = format!("`{}` is zero", self.key);
            problems.add(
                self.value.span(),
                wrong,
                "write a longer duration or drop the key",
            );
            return None;
        }
        Some(duration)
    }

    /// A whole number from `min` to `max`.
    pub(super) fn number(&self, min: u32, max: u32, problems: &mut Problems) -> Option<u32> {
        let number = self.value.get_ref().as_integer().and_then(integer);
        let fits = number.and_then(|number| u32::try_from(number).ok());
        let fits = fits.filter(|number| (min..=max).contains(number));
        if fits.is_none() {
            self.beyond(
                problems,
                format!("write a whole number from {min} to {max}"),
            );
        }
        fits
    }

    /// A whole number above zero.
    pub(super) fn positive(&self, max: u32, problems: &mut Problems) -> Option<NonZeroU32> {
        self.number(1, max, problems).and_then(NonZeroU32::new)
    }

    /// A number of at least `min`, whole or not.
    pub(super) fn float(&self, min: f64, max: f64, problems: &mut Problems) -> Option<f64> {
        let value = self.value.get_ref();
        let whole = value
            .as_integer()
            .and_then(integer)
            .map(|number| number.to_string());
        let text = whole.or_else(|| value.as_float().map(|number| number.as_str().to_owned()));
        let number = text.and_then(|text| text.parse().ok());
        let fits = number.filter(|number| (min..=max).contains(number));
        if fits.is_none() {
            self.beyond(problems, format!("write a number from {min} to {max}"));
        }
        fits
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.value.get_ref().as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == text);
        if found.is_none() {
            let known: Vec<String> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            self.wrong(problems, format!("write {}", known.join(" or ")));
        }
        found.map(|(_, value)| *value)
    }

    /// Adds the problem that no such key is known.
    pub(super) fn unknown(&self, known: &[&str], problems: &mut Problems) {
        let write = match nearest(self.key, known.iter().copied()) {
            Some(near) => format!("write `{near}`"),
            None => format!("the keys are {}", known.join(", ")),
        };
        problems.add(
            self.key_at.clone(),
            format!("unknown key `{}`", self.key),
            write,
        );
    }
}

/// The keys of a table with their values.
pub(super) fn fields<'a>(table: &'a DeTable<'a>) -> impl Iterator<Item = Field<'a>> {
    table.iter().map(|(key, value)| Field {
        key: key.get_ref(),
        key_at: key.span(),
        value,
    })
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
