//! Filters from text, as people type them and doors take them.
//!
//! # Invariants
//! 1. A term that is not understood is an error: no condition is ever left out.
//!
//! *Not here*: what the conditions mean (`kernel/filter.rs`).

use std::ops::Range;
use std::str::FromStr;

use crate::kernel::{Date, Filter, InvalidText, State, Timestamp, Wait, What, check_label};

/// The keys of terms; labels are asked for as `label.KEY`.
const KEYS: &str = "scope name kind key task parent root state live hidden wait event label.KEY \
    created started suspended ended";

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A term is not of the form `key=value`.
    #[error("{0:?} is not a term: write key=value")]
    NoTerm(String),
    /// There is no such key.
    #[error("there is no key {0:?}; there are: {KEYS}")]
    UnknownKey(String),
    /// The key has no such value.
    #[error("{key} cannot be {value:?}; use {expected}")]
    UnknownValue {
        /// The key.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// What can be given.
        expected: String,
    },
    /// A key that takes one value is there twice.
    #[error("{0} is there twice, and no task can match both")]
    Twice(String),
    /// An id or a name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
}

impl Filter {
    /// Reads a filter from terms `key=value` with blanks between them, all of which must hold.
    ///
    /// `state`, `wait` and `event` take several values with commas between them. `label.KEY` asks
    /// for a label. `created`, `started`, `suspended` and `ended` take a range of microseconds
    /// since 1970, `FROM..TO`, either of which may be left out; `TO` is not part of it. `live=true`
    /// leaves out settled tasks. `hidden=true` asks for hidden tasks instead of the others,
    /// `hidden=too` for both.
    ///
    /// ```
    /// use understory::{Filter, State};
    ///
    /// let filter = Filter::parse("state=running,waiting label.agent=x")?;
    /// let same = Filter::all().state(State::Running).state(State::Waiting).label("agent", "x");
    /// assert_eq!(filter, same);
    /// let unknown = Filter::parse("agent=x").unwrap_err();
    /// assert!(unknown.to_string().contains("label.KEY"));
    /// # Ok::<(), understory::FilterError>(())
    /// ```
    ///
    /// # Errors
    /// [`FilterError`] says which term is wrong, and what could stand there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self::all();
        let mut seen: Vec<&str> = Vec::new();
        for term in text.split_whitespace() {
            let no_term = || FilterError::NoTerm(term.to_owned());
            let (key, value) = term.split_once('=').ok_or_else(no_term)?;
            if seen.contains(&key) {
                return Err(FilterError::Twice(key.to_owned()));
            }
            seen.push(key);
            filter = filter.with_term(key, value)?;
        }
        Ok(filter)
    }

    fn with_term(self, key: &str, value: &str) -> Result<Self, FilterError> {
        if let Some(label) = key.strip_prefix("label.") {
            check_label(label, value)?;
            return Ok(self.label(label, value));
        }
        let date = |filter: Self, date, name| {
            let range = range_of(name, value);
            range.map(|range| filter.date(date, range))
        };
        Ok(match key {
            "scope" => self.scope(value.parse()?),
            "name" => self.name(value.parse()?),
            "kind" => self.kind(value.parse()?),
            "key" => self.key(value.parse()?),
            "task" => self.task(value.parse()?),
            "parent" => self.parent(value.parse()?),
            "root" => self.root(value.parse()?),
            "live" => match value {
                "true" => self.live(),
                _ => return Err(unknown("live", value, "true".to_owned())),
            },
            "hidden" => match value {
                "true" => self.hidden(),
                "too" => self.with_hidden(),
                _ => return Err(unknown("hidden", value, "true, too".to_owned())),
            },
            "state" => each(value, self, |filter, value| {
                let names = || State::ALL.map(State::as_str).join(", ");
                let state = State::parse(value).ok_or_else(|| unknown("state", value, names()))?;
                Ok(filter.state(state))
            })?,
            "wait" => each(value, self, |filter, value| {
                Ok(filter.waits_for(one_of("wait", value, Wait::NAMES)?))
            })?,
            "event" => each(value, self, |filter, value| {
                Ok(filter.event(one_of("event", value, What::NAMES)?))
            })?,
            "created" => date(self, Date::Created, "created")?,
            "started" => date(self, Date::Started, "started")?,
            "suspended" => date(self, Date::Suspended, "suspended")?,
            "ended" => date(self, Date::Ended, "ended")?,
            _ => return Err(FilterError::UnknownKey(key.to_owned())),
        })
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

fn each(
    values: &str,
    filter: Filter,
    add: impl Fn(Filter, &str) -> Result<Filter, FilterError>,
) -> Result<Filter, FilterError> {
    values.split(',').try_fold(filter, add)
}

fn unknown(key: &'static str, value: &str, expected: String) -> FilterError {
    let value = value.to_owned();
    FilterError::UnknownValue {
        key,
        value,
        expected,
    }
}

fn one_of(
    key: &'static str,
    value: &str,
    names: &'static [&'static str],
) -> Result<&'static str, FilterError> {
    let found = names.iter().copied().find(|name| *name == value);
    found.ok_or_else(|| unknown(key, value, names.join(", ")))
}

fn range_of(key: &'static str, value: &str) -> Result<Range<Timestamp>, FilterError> {
    let wrong = || unknown(key, value, "FROM..TO in microseconds since 1970".to_owned());
    let (from, to) = value.split_once("..").ok_or_else(wrong)?;
    let micros = |text: &str, open: u64| match text {
        "" => Ok(open),
        text => text.parse().map_err(|_| wrong()),
    };
    let (from, to) = (micros(from, 0)?, micros(to, u64::MAX)?);
    Ok(Timestamp::from_micros(from)..Timestamp::from_micros(to))
}
