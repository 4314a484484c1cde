//! The values of single keys of a task, each with its rule.
//!
//! *Not here*: which key has which (`entry`), what tasks say about each other (`order`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::problem::Problems;
use super::read::{Field, fields};
use super::{MESSAGE_BYTES_MAX, PlanParentEnd, PlanRetry, RETRIES_MAX};

const RETRY_KEYS: [&str; 4] = ["count", "delay", "factor", "cap"];
/// Names that address something else than a task of that name.
const RESERVED_NAMES: [&str; 5] = ["parent", "self", "root", "all", "broadcast"];
/// Variables that understory itself sets begin with this.
const OWN_VARIABLES: &str = "UNDERSTORY_";
const NAME_BYTES_MAX: usize = 128;
/// Most messages of one task: they wait in its inbox before it starts.
const MESSAGES_MAX: usize = 1_000;
/// The words of `on_parent_end`.
pub(super) const PARENT_ENDS: [(&str, PlanParentEnd); 3] = [
    ("wait", PlanParentEnd::Wait),
    ("cancel", PlanParentEnd::Cancel),
    ("detach", PlanParentEnd::Detach),
];

pub(super) fn read_command(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let write = "write command = [\"program\", \"argument\"]";
    if field.value.get_ref().is_str() {
        field.wrong(
            problems,
            "write [\"sh\", \"-c\", \"…\"] to have a shell read a command line",
        );
        return Vec::new();
    }
    let strings = field.strings(problems);
    let is_empty_array = field
        .value
        .get_ref()
        .as_array()
        .is_some_and(|array| array.is_empty());
    let no_program = strings
        .first()
        .is_some_and(|program| program.get_ref().is_empty());
    if is_empty_array || no_program {
        problems.add(field.value.span(), "the command is empty", write);
    }
    for string in &strings {
        check_no_nul(string, problems);
    }
    strings.into_iter().map(Spanned::into_inner).collect()
}

pub(super) fn read_kind(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let kind = field.string(problems)?;
    check_name(kind.get_ref(), kind.span(), "kind", problems);
    Some(kind.into_inner())
}

pub(super) fn read_env(field: &Field<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (key, value) in field.string_map(problems) {
        if key.is_empty() || key.contains(['=', '\0']) {
            let wrong = format!("{key:?} is no name of a variable");
            problems.add(value.span(), wrong, "write a name without `=`");
        }
        if key.starts_with(OWN_VARIABLES) {
            let wrong = format!("{key} is set by understory itself");
            problems.add(value.span(), wrong, "choose another name");
        }
        check_no_nul(&value, problems);
        env.insert(key, value.into_inner());
    }
    env
}

pub(super) fn read_cwd(field: &Field<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let cwd = field.string(problems)?;
    check_no_nul(&cwd, problems);
    if cwd.get_ref().is_empty() {
        problems.add(
            cwd.span(),
            "`cwd` is empty",
            "write a directory or drop the key",
        );
    }
    Some(PathBuf::from(cwd.into_inner()))
}

pub(super) fn read_retry(field: &Field<'_>, problems: &mut Problems) -> Option<PlanRetry> {
    let mut retry = PlanRetry {
        count: 0,
        delay: None,
        factor: None,
        cap: None,
    };
    let Some(table) = field.value.get_ref().as_table() else {
        if !field.value.get_ref().is_integer() {
            field.wrong(
                problems,
                "write retry = 3 or retry = { count = 3, delay = \"1s\" }",
            );
            return None;
        }
        retry.count = field.number(0, RETRIES_MAX, problems)?;
        return Some(retry);
    };
    for field in fields(table) {
        match field.key {
            "count" => retry.count = field.number(0, RETRIES_MAX, problems).unwrap_or(0),
            "delay" => retry.delay = field.duration(problems),
            "factor" => retry.factor = field.float(1.0, 100.0, problems),
            "cap" => retry.cap = field.positive_duration(problems),
            _ => field.unknown(&RETRY_KEYS, problems),
        }
    }
    if !table.contains_key("count") {
        problems.add(
            field.value.span(),
            "`retry` has no count",
            "write { count = 3, … }",
        );
    }
    if let (Some(delay), Some(cap)) = (retry.delay, retry.cap)
        && cap < delay
    {
        let wrong = "the cap of `retry` is below its delay";
        problems.add(field.value.span(), wrong, "write a longer cap");
    }
    Some(retry)
}

pub(super) fn read_messages(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let messages = field.few_strings(MESSAGES_MAX, problems);
    for message in &messages {
        let text = message.get_ref();
        if text.contains('\n') {
            let write = "write one message for each line";
            problems.add(message.span(), "a message has more than one line", write);
        }
        if text.len() > MESSAGE_BYTES_MAX {
            let write = format!("write at most {MESSAGE_BYTES_MAX} bytes");
            problems.add(message.span(), "a message is too long", write);
        }
    }
    messages.into_iter().map(Spanned::into_inner).collect()
}

pub(super) fn check_name(name: &str, at: Range<usize>, what: &str, problems: &mut Problems) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(fits) {
        let wrong = format!("{name:?} is not a valid {what}");
        problems.add(at, wrong, "write 1 to 128 of A-Z a-z 0-9 . _ -");
    }
}

pub(super) fn check_reserved(name: &Spanned<String>, problems: &mut Problems) {
    if RESERVED_NAMES.contains(&name.get_ref().as_str()) {
        let wrong = format!("the name {:?} is reserved", name.get_ref());
        problems.add(name.span(), wrong, "choose another name");
    }
}

fn check_no_nul(text: &Spanned<String>, problems: &mut Problems) {
    if text.get_ref().contains('\0') {
        problems.add(
            text.span(),
            "a NUL byte cannot be handed to a process",
            "leave it out",
        );
    }
}
