//! Tasks and events as text for a model.
//!
//! *Not here*: when a text is due (`idle`).

use std::borrow::Cow;
use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;

use crate::kernel::{Event, Outcome, Payload, Record, State, TaskId, Wait};

/// Puts the running tasks in front of a message, one a line; without any the message is unchanged.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::models::enrich_message_with_running_tasks;
/// use understory::{Filter, Manager, Page};
///
/// let manager = Manager::in_memory();
/// let running = || manager.list(&Filter::all().live(), &Page::default()).records;
/// assert_eq!(enrich_message_with_running_tasks("Go on.", &running()), "Go on.");
/// let task = manager.scope("s").task("docs").kind("reader");
/// let task = task.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
/// let text = enrich_message_with_running_tasks("Go on.", &running());
/// assert!(text.starts_with("<running-tasks>\n- reader docs"));
/// assert!(text.ends_with("</running-tasks>\n\nGo on."));
/// # drop(task);
/// # Ok(()) }
/// ```
pub fn enrich_message_with_running_tasks<'a>(
    message: &'a str,
    tasks: &[Arc<Record>],
) -> Cow<'a, str> {
    enrich_message_with(message, tasks, line_of)
}

/// The same with lines of your own. They are taken as they are.
pub fn enrich_message_with<'a>(
    message: &'a str,
    tasks: &[Arc<Record>],
    mut format_task: impl FnMut(&Record) -> String,
) -> Cow<'a, str> {
    let lines: Vec<_> = tasks.iter().map(|task| format_task(task)).collect();
    enriched(message, &lines)
}

/// The same with lines that take their time, one after the other.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
pub async fn enrich_message_with_async<'a, F, Fut>(
    message: &'a str,
    tasks: &[Arc<Record>],
    mut format_task: F,
) -> Cow<'a, str>
where
    F: FnMut(Arc<Record>) -> Fut,
    Fut: Future<Output = String>,
{
    let mut lines = Vec::with_capacity(tasks.len());
    for task in tasks {
        lines.push(format_task(Arc::clone(task)).await);
    }
    enriched(message, &lines)
}

fn enriched<'a>(message: &'a str, lines: &[String]) -> Cow<'a, str> {
    if lines.is_empty() {
        return Cow::Borrowed(message);
    }
    let lines = lines.join("\n");
    Cow::Owned(format!(
        "<running-tasks>\n{lines}\n</running-tasks>\n\n{message}"
    ))
}

/// A task in one line: what it is, its id, its state, and how far it is.
fn line_of(record: &Record) -> String {
    let mut line = format!("- {} (task {}): {}", title(record), record.id, record.state);
    if let Some(progress) = &record.progress {
        _ = write!(line, ", {}", plain(progress));
    }
    line
}

/// What to answer a model whose tool call became a task: the real result comes later.
///
/// ```
/// use understory::{TaskId, models::placeholder};
///
/// let text = placeholder(TaskId::from_u128(7));
/// assert!(text.starts_with("Background task started. Task ID: 00000000-"));
/// ```
pub fn placeholder(task: TaskId) -> String {
    format!(
        "Background task started. Task ID: {task}. Its result is not here yet; you will be told \
         when it has ended."
    )
}

/// What to tell a model of tasks that have ended or are suspended, grouped by what became of them;
/// `None` when there is nothing to tell. Live tasks that are not suspended are left out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::{Failure, Manager, models::continuation};
///
/// let scope = Manager::in_memory().scope("s");
/// let sum = scope.task("sum").spawn(|_| async { Ok(5) }).await?;
/// let read = scope.task("read").spawn(|_| async { Err::<(), _>(Failure::new("no file")) });
/// let records = [sum.settled().await?, read.await?.settled().await?];
/// let text = continuation(&records).ok_or("nothing to tell")?;
/// assert!(text.contains("Completed:\n- sum (task "));
/// assert!(text.contains("Failed:\n- read (task "));
/// assert_eq!(continuation(&[]), None);
/// # Ok(()) }
/// ```
pub fn continuation(tasks: &[Arc<Record>]) -> Option<String> {
    const GROUPS: [(State, &str); 6] = [
        (State::Completed, "Completed"),
        (State::Failed, "Failed"),
        (State::TimedOut, "Timed out"),
        (State::Cancelled, "Cancelled"),
        (
            State::Interrupted,
            "Interrupted, so that the outcome is unknown",
        ),
        (State::Suspended, "Suspended, and waiting for an answer"),
    ];
    let mut text = String::new();
    for (state, heading) in GROUPS {
        let members = tasks.iter().filter(|task| task.state == state);
        let lines: Vec<_> = members.map(|task| ending(task)).collect();
        if !lines.is_empty() {
            _ = write!(text, "\n{heading}:\n{}\n", lines.join("\n"));
        }
    }
    if text.is_empty() {
        return None;
    }
    Some(format!(
        "<background-tasks>\nBackground tasks have news. Go on with what they bring.\n{text}\
         </background-tasks>"
    ))
}

fn ending(record: &Record) -> String {
    let why_stopped = || {
        let stop = record.stop.as_ref();
        stop.map_or_else(String::new, |stop| escape(&stop.reason))
    };
    let what = match (record.outcome.as_deref(), &record.wait) {
        (Some(Outcome::Completed(value)), _) => plain(value),
        (Some(Outcome::Failed(fault)), _) => escape(&fault.to_string()),
        (Some(Outcome::TimedOut { .. } | Outcome::Cancelled { .. }), _) => why_stopped(),
        (Some(Outcome::Interrupted(evidence)), _) => escape(evidence),
        (None, Some(Wait::Resume(payload))) => plain(payload),
        (None, _) => String::new(),
    };
    format!("- {} (task {}): {what}", title(record), record.id)
}

/// An event as a message inside a tag, which names the task, the type and the number.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::{FeedItem, Manager, Since, models::event_message};
///
/// let manager = Manager::in_memory();
/// let mut feed = manager.subscribe(Since::Now).await?;
/// manager.scope("s").task("t").spawn(|_| async { Ok(()) }).await?;
/// let Some(FeedItem::Event(event)) = feed.next().await else { panic!("an event") };
/// let text = event_message(&event);
/// assert!(text.starts_with("<background-task-event task=\""));
/// assert!(text.contains(" type=\"accepted\" seq=\"1\""));
/// # Ok(()) }
/// ```
pub fn event_message(event: &Event) -> String {
    let kind = event.spec.kind.as_ref().map_or("", |kind| kind.as_str());
    let data = event.to_json()["data"].to_string();
    format!(
        "<background-task-event task=\"{}\" name=\"{}\" kind=\"{kind}\" type=\"{}\" \
         seq=\"{}\">\n{}\n</background-task-event>",
        event.task,
        event.spec.segment(event.task),
        event.what.name(),
        event.seq,
        escape(&data),
    )
}

/// What a task is called: its kind, if it has one, and its name or short id.
fn title(record: &Record) -> String {
    let name = record.spec.segment(record.id);
    match &record.spec.kind {
        Some(kind) => format!("{kind} {name}"),
        None => name,
    }
}

/// A value as text: a string without its quotes, anything else as JSON.
fn plain(payload: &Payload) -> String {
    let json = payload.as_json();
    let text = serde_json::from_str::<String>(json);
    escape(text.as_deref().unwrap_or(json))
}

/// What a task wrote cannot end the tag it stands in.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
