//! One plan text, key by key: the tasks as they were written, each value of the right sort.
//!
//! *Not here*: what tasks say about each other (`order`).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;
use super::read::{Field, fields};
use super::{
    GLOBAL_CLASS, MESSAGE_BYTES_MAX, PLAN_BYTES_MAX, PlanInbox, PlanParentEnd, PlanRetry, PlanTask,
    TASKS_MAX,
};

const TOP_KEYS: [&str; 2] = ["task", "limits"];
const TASK_KEYS: [&str; 15] = [
    "name",
    "command",
    "parent",
    "after",
    "kind",
    "env",
    "cwd",
    "timeout",
    "idle_timeout",
    "retry",
    "limits",
    "on_parent_end",
    "grace",
    "messages",
    "inbox",
];
const RETRY_KEYS: [&str; 4] = ["count", "delay", "factor", "cap"];
/// Names that address something else than a task of that name.
const RESERVED_NAMES: [&str; 4] = ["parent", "self", "all", "broadcast"];
/// Variables that understory itself sets begin with this.
const OWN_VARIABLES: &str = "UNDERSTORY_";
const NAME_BYTES_MAX: usize = 128;
/// Most messages of one task: they wait in its inbox before it starts.
const MESSAGES_MAX: usize = 1_000;
/// Most retries of one task.
const RETRIES_MAX: u32 = 99;
/// Most tasks that a limit may let run at once.
const LIMIT_MAX: u32 = 100_000;

/// The plan as it was written.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) tasks: Vec<Entry>,
    pub(super) limits: BTreeMap<String, NonZeroU32>,
    pub(super) global_limit: Option<NonZeroU32>,
}

/// One `[[task]]` with the places of the names it mentions.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where the task stands, for problems of the task as a whole.
    pub(super) at: Range<usize>,
    pub(super) parent: Option<Spanned<String>>,
    pub(super) after: Vec<Spanned<String>>,
    pub(super) limits: Vec<Spanned<String>>,
    /// All the rest; its mentions of names are filled in by `order`.
    pub(super) task: PlanTask,
}

pub(super) fn read(text: &str, problems: &mut Problems) -> Entries {
    let mut entries = Entries::default();
    if text.len() > PLAN_BYTES_MAX {
        let write = format!("write at most {PLAN_BYTES_MAX} bytes");
        problems.add(0..0, "the plan is too long", write);
        return entries;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().unwrap_or(0..0);
        problems.add(at, error.message().replace('\n', ", "), "write valid TOML");
    }
    if !errors.is_empty() {
        return entries;
    }
    for field in fields(document.get_ref()) {
        match field.key {
            "task" => read_tasks(&field, &mut entries, problems),
            "limits" => read_limits(&field, &mut entries, problems),
            _ => field.unknown(&TOP_KEYS, problems),
        }
    }
    if entries.tasks.is_empty() && problems.is_empty() {
        problems.add(
            0..0,
            "the plan has no task",
            "write a [[task]] with a name and a command",
        );
    }
    entries
}

fn read_tasks(field: &Field<'_>, entries: &mut Entries, problems: &mut Problems) {
    let write = "write [[task]] above each task";
    let Some(array) = field.value.get_ref().as_array() else {
        field.wrong(problems, write);
        return;
    };
    if array.len() > TASKS_MAX {
        let wrong = format!("the plan has {} tasks", array.len());
        problems.add(
            field.key_at.clone(),
            wrong,
            format!("write at most {TASKS_MAX}"),
        );
        return;
    }
    for item in array.iter() {
        match item.get_ref() {
            DeValue::Table(table) => entries.tasks.push(read_task(item.span(), table, problems)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => problems.add(item.span(), "a task is no table", write),
        }
    }
}

fn read_limits(field: &Field<'_>, entries: &mut Entries, problems: &mut Problems) {
    let Some(table) = field.value.get_ref().as_table() else {
        field.wrong(problems, "write [limits] with lines such as class = 2");
        return;
    };
    for field in fields(table) {
        check_name(field.key, field.key_at.clone(), "limit class", problems);
        let size = field.positive(LIMIT_MAX, problems);
        if field.key == GLOBAL_CLASS {
            entries.global_limit = size;
        } else {
            // A class of a wrong size is known all the same: its users are not to blame.
            entries
                .limits
                .insert(field.key.to_owned(), size.unwrap_or(NonZeroU32::MIN));
        }
    }
}

fn read_task<'a>(at: Range<usize>, table: &'a DeTable<'a>, problems: &mut Problems) -> Entry {
    let mut entry = Entry::empty(at);
    for field in fields(table) {
        read_field(&field, &mut entry, problems);
    }
    if !table.contains_key("name") {
        problems.add(entry.at.clone(), "a task has no name", "write name = \"…\"");
    }
    if !table.contains_key("command") {
        let wrong = format!("task {:?} has no command", entry.task.name);
        problems.add(
            entry.at.clone(),
            wrong,
            "write command = [\"program\", \"argument\"]",
        );
    }
    entry
}

fn read_field(field: &Field<'_>, entry: &mut Entry, problems: &mut Problems) {
    let task = &mut entry.task;
    match field.key {
        "name" => {
            if let Some(name) = field.string(problems) {
                check_name(name.get_ref(), name.span(), "name", problems);
                check_reserved(&name, problems);
                entry.at = name.span();
                task.name = name.into_inner();
            }
        }
        "command" => task.command = read_command(field, problems),
        "parent" => entry.parent = field.string(problems),
        "after" => entry.after = field.strings(problems),
        "kind" => task.kind = read_kind(field, problems),
        "env" => task.env = read_env(field, problems),
        "cwd" => task.cwd = read_cwd(field, problems),
        "timeout" => task.timeout = field.positive_duration(problems),
        "idle_timeout" => task.idle_timeout = field.positive_duration(problems),
        "retry" => task.retry = read_retry(field, problems),
        "limits" => entry.limits = field.strings(problems),
        "on_parent_end" => task.on_parent_end = field.word(&PARENT_ENDS, problems),
        "grace" => task.grace = field.duration(problems),
        "messages" => task.messages = read_messages(field, problems),
        "inbox" => {
            let words = [("open", PlanInbox::Open), ("closed", PlanInbox::Closed)];
            task.inbox = field.word(&words, problems).unwrap_or_default();
        }
        _ => field.unknown(&TASK_KEYS, problems),
    }
}

const PARENT_ENDS: [(&str, PlanParentEnd); 3] = [
    ("wait", PlanParentEnd::Wait),
    ("cancel", PlanParentEnd::Cancel),
    ("detach", PlanParentEnd::Detach),
];

fn read_command(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
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

fn read_kind(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let kind = field.string(problems)?;
    check_name(kind.get_ref(), kind.span(), "kind", problems);
    Some(kind.into_inner())
}

fn read_env(field: &Field<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
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

fn read_cwd(field: &Field<'_>, problems: &mut Problems) -> Option<PathBuf> {
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

fn read_retry(field: &Field<'_>, problems: &mut Problems) -> Option<PlanRetry> {
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

fn read_messages(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let messages = field.strings(problems);
    if messages.len() > MESSAGES_MAX {
        field.wrong(problems, format!("write at most {MESSAGES_MAX} messages"));
    }
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

fn check_name(name: &str, at: Range<usize>, what: &str, problems: &mut Problems) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(fits) {
        let wrong = format!("{name:?} is not a valid {what}");
        problems.add(at, wrong, "write 1 to 128 of A-Z a-z 0-9 . _ -");
    }
}

fn check_reserved(name: &Spanned<String>, problems: &mut Problems) {
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

impl Entry {
    fn empty(at: Range<usize>) -> Self {
        let task = PlanTask {
            name: String::new(),
            command: Vec::new(),
            parent: None,
            after: Vec::new(),
            kind: None,
            env: BTreeMap::new(),
            cwd: None,
            timeout: None,
            idle_timeout: None,
            retry: None,
            limits: Vec::new(),
            on_parent_end: None,
            grace: None,
            messages: Vec::new(),
            inbox: PlanInbox::Closed,
        };
        Self {
            at,
            parent: None,
            after: Vec::new(),
            limits: Vec::new(),
            task,
        }
    }
}
