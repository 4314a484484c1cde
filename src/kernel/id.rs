//! Names of things: validated, bounded newtypes that are cheap to copy or clone.
//!
//! # Invariants
//! 1. A value of a text type here has passed its check; nothing else in the tree checks it again.
//! 2. Ids order by time of creation, because they are version 7 UUIDs.
//!
//! *Not here*: making ids (dice and clock belong to the actors), resolving names (`names`).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Longest name, kind, limit class, label key or path segment, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest scope, label value or idempotency key, in bytes.
pub const SCOPE_BYTES_MAX: usize = 256;
/// Names that address something else than a task of that name.
pub const RESERVED_NAMES: [&str; 5] = ["parent", "self", "root", "all", "broadcast"];

/// The identity of a task: a version 7 UUID, so ids sort by the time they were made.
// In halves, the upper one first: an `Option` of 128 bits in one would take 32 bytes, not 24.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TaskId(u64, u64);

impl TaskId {
    /// The id with these 128 bits.
    #[allow(clippy::cast_possible_truncation, reason = "each half is 64 bits")]
    pub const fn from_u128(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }

    /// The 128 bits of this id.
    pub const fn as_u128(self) -> u128 {
        (self.0 as u128) << 64 | self.1 as u128
    }

    /// The last eight hexadecimal digits: what a path shows for a task without a name.
    pub fn short(self) -> String {
        format!("{:08x}", self.1 & 0xffff_ffff)
    }
}

/// As one number: that takes no branch, and ids are compared often.
impl Ord for TaskId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_u128().cmp(&other.as_u128())
    }
}

impl PartialOrd for TaskId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn lt(&self, other: &Self) -> bool {
        self.as_u128() < other.as_u128()
    }

    #[inline]
    fn le(&self, other: &Self) -> bool {
        self.as_u128() <= other.as_u128()
    }
}

impl Hash for TaskId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.as_u128());
    }
}

impl From<Uuid> for TaskId {
    fn from(uuid: Uuid) -> Self {
        Self::from_u128(uuid.as_u128())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_u128(self.as_u128()), f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidText::new("task id", text, "write it as a UUID");
        Uuid::parse_str(text).map(Self::from).map_err(|_| invalid())
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The fencing number of one run of a body: higher is newer, zero has never run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The number of an event in the log: 1, 2, 3, … without a gap.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a valid name, scope, kind or other identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidText {
    /// What it was meant to be.
    pub what: &'static str,
    /// The text, cut at [`NAME_BYTES_MAX`] bytes.
    pub text: String,
    /// What a valid one looks like.
    pub rule: &'static str,
}

impl InvalidText {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        let text = text.chars().take(NAME_BYTES_MAX).collect();
        Self { what, text, rule }
    }
}

/// Checks a label: its key like a name, its value by length.
///
/// # Errors
/// [`InvalidText`] with the rule that key or value breaks.
pub fn check_label(key: &str, value: &str) -> Result<(), InvalidText> {
    if !(1..=NAME_BYTES_MAX).contains(&key.len()) || !key.bytes().all(is_name_byte) {
        return Err(InvalidText::new("label key", key, NAME_RULE));
    }
    if value.len() > SCOPE_BYTES_MAX {
        return Err(InvalidText::new(
            "label value",
            value,
            "use at most 256 bytes",
        ));
    }
    Ok(())
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a valid {}: {}",
            self.text, self.what, self.rule
        )
    }
}

impl std::error::Error for InvalidText {}

const NAME_RULE: &str = "use 1 to 128 of A-Z a-z 0-9 . _ -";
const SCOPE_RULE: &str = "use 1 to 256 of A-Z a-z 0-9 . _ - : @ /";
const RESERVED_RULE: &str = "this word is reserved; choose another";

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn is_scope_byte(byte: u8) -> bool {
    is_name_byte(byte) || matches!(byte, b':' | b'@' | b'/')
}

macro_rules! text {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal, $max:expr, $byte:expr, $rule:expr, $reserved:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and takes it.
            ///
            /// # Errors
            /// [`InvalidText`] with the rule that the text breaks.
            pub fn new(text: &str) -> Result<Self, InvalidText> {
                let fits = (1..=$max).contains(&text.len()) && text.bytes().all($byte);
                if !fits {
                    return Err(InvalidText::new($what, text, $rule));
                }
                if $reserved && RESERVED_NAMES.contains(&text) {
                    return Err(InvalidText::new($what, text, RESERVED_RULE));
                }
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidText;

            fn try_from(text: &str) -> Result<Self, InvalidText> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text!(
    /// Who owns tasks: a thread, a session, a tenant. Names, limits and queries are per scope.
    Scope, "scope", SCOPE_BYTES_MAX, is_scope_byte, SCOPE_RULE, false
);
text!(
    /// The name of a task, unique among the live tasks of its scope.
    Name, "name", NAME_BYTES_MAX, is_name_byte, NAME_RULE, true
);
text!(
    /// What sort of work a task is; an executor is registered under it.
    Kind, "kind", NAME_BYTES_MAX, is_name_byte, NAME_RULE, false
);
text!(
    /// The name of a limit class.
    ClassName, "limit class", NAME_BYTES_MAX, is_name_byte, NAME_RULE, false
);
text!(
    /// What a budget counts: tokens, turns, cents.
    Counter, "counter", NAME_BYTES_MAX, is_name_byte, NAME_RULE, false
);
text!(
    /// A caller's key that makes asking twice the same as asking once.
    Key, "key", SCOPE_BYTES_MAX, is_scope_byte, SCOPE_RULE, false
);
