//! Durations as people write them: `"500ms"`, `"30s"`, `"1m30s"`, `"2h"`.
//!
//! *Not here*: bare numbers of seconds, which are a matter of TOML (`read`).

use std::time::Duration;

/// Longest duration that a plan may hold: a year, far below what a clock can add.
pub(super) const DURATION_MAX: Duration = Duration::from_hours(365 * 24);
/// What to write, for those who wrote something else.
pub(crate) const HOW_TO_WRITE: &str =
    "write a duration such as \"500ms\", \"30s\", \"2m\" or \"1h30m\"";

/// Parses one or more numbers, each with its unit (`ms`, `s`, `m`, `h`).
///
/// # Errors
/// What to write instead.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(HOW_TO_WRITE.to_owned());
    }
    while !rest.is_empty() {
        let (part, after) = part(rest).ok_or(HOW_TO_WRITE)?;
        total = total.saturating_add(part);
        rest = after;
    }
    bounded(total)
}

/// Refuses what is longer than a year.
pub(super) fn bounded(duration: Duration) -> Result<Duration, String> {
    if duration > DURATION_MAX {
        return Err("write a duration of at most a year, \"8760h\"".to_owned());
    }
    Ok(duration)
}

/// So many seconds, or as many as there are; none below zero.
pub(super) fn from_seconds(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// The first number with its unit, and what stands after it.
fn part(text: &str) -> Option<(Duration, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Some((from_seconds(number * seconds)?, rest))
}
