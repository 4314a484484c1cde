//! One plan text, key by key: the tasks as they were written, each value of the right sort.
//!
//! *Not here*: what tasks say about each other (`order`).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::bounds;
use super::problem::Problems;
use super::read::{Field, fields};
use super::value::{
    PARENT_ENDS, check_name, check_reserved, read_command, read_cwd, read_env, read_kind,
    read_messages, read_retry,
};
use super::{GLOBAL_CLASS, PLAN_BYTES_MAX, PlanBounds, PlanInbox, PlanTask, TASKS_MAX};

const TOP_KEYS: [&str; 3] = ["task", "limits", "bounds"];
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
/// Most tasks that one may come after, and most classes that one may name.
const AFTER_MAX: usize = 1_024;
const CLASSES_MAX: usize = 16;
/// Most tasks that a limit may let run at once.
pub(super) const LIMIT_MAX: u32 = 100_000;

/// The plan as it was written.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) tasks: Vec<Entry>,
    pub(super) limits: BTreeMap<String, NonZeroU32>,
    pub(super) global_limit: Option<NonZeroU32>,
    pub(super) bounds: PlanBounds,
    /// Where they stand.
    pub(super) bounds_at: Range<usize>,
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
            "bounds" => bounds::read(&field, &mut entries, problems),
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
    for item in array {
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
        "after" => entry.after = field.few_strings(AFTER_MAX, problems),
        "kind" => task.kind = read_kind(field, problems),
        "env" => task.env = read_env(field, problems),
        "cwd" => task.cwd = read_cwd(field, problems),
        "timeout" => task.timeout = field.positive_duration(problems),
        "idle_timeout" => task.idle_timeout = field.positive_duration(problems),
        "retry" => task.retry = read_retry(field, problems),
        "limits" => entry.limits = field.few_strings(CLASSES_MAX, problems),
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
