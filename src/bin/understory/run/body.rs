//! The body of every task of a run: one process per attempt.
//!
//! # Invariants
//! 1. The body ends only when everything that its process started is dead and its output is told.
//! 2. To stop it is SIGTERM to the group, the grace, SIGKILL; neither input nor output can hold
//!    that up.
//! 3. A message that was taken out of the inbox is told as delivered or as lost; one that was not
//!    waits for the next attempt, or is counted as undelivered when there is none.
//!
//! *Not here*: what a process may ask for (`calls`), how it is killed (`process`, `shim`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;
use understory::{BoxFuture, Context, Executor, Failure, Message, Sender};

use super::accept::GRACE_MARGIN;
use super::calls::FrontDesk;
use super::crew::{Crew, Member};
use super::doors::Doors;
use super::history::History;
use super::input::Input;
use super::throttle::Throttle;
use crate::plan::PlanInbox;
use crate::process::{
    Ended, Heard, Keeper, Launch, Line, Lines, Process, RESUMED_VARIABLE, StreamName,
};
use crate::socket::{Desk, SOCKET_VARIABLE, TOKEN_VARIABLE, Voice};
use crate::wire::Exit;

/// How often a stopping task looks whether its grace was cut short.
const STOP_LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Signs of life within the time that a task may be silent.
const SIGNS_OF_LIFE: u32 = 4;
/// Lines of standard error that are kept to say why a process failed.
const LAST_LINES: usize = 5;
/// So much of each, in bytes: with its name and number they fit into a failure.
const LAST_LINE_BYTES: usize = 400;

/// Runs processes; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ProcessExecutor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    crew: Arc<Crew>,
    keeper: Arc<Keeper>,
    desk: Desk,
    throttle: Throttle,
    doors: Arc<Doors>,
    history: History,
    /// The directory of our own binary goes first, so that processes find it.
    path: OsString,
}

impl ProcessExecutor {
    pub(super) fn new(
        crew: &Arc<Crew>,
        keeper: &Arc<Keeper>,
        desk: &Desk,
        throttle: &Throttle,
        doors: &Arc<Doors>,
        history: &History,
    ) -> Self {
        let shared = Shared {
            crew: Arc::clone(crew),
            keeper: Arc::clone(keeper),
            desk: desk.clone(),
            throttle: throttle.clone(),
            doors: Arc::clone(doors),
            history: history.clone(),
            path: own_directory(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn crew(&self) -> &Arc<Crew> {
        &self.shared.crew
    }

    pub(super) fn doors(&self) -> &Doors {
        &self.shared.doors
    }

    pub(super) fn history(&self) -> &History {
        &self.shared.history
    }
}

impl Executor for ProcessExecutor {
    fn run(&self, context: Context, _input: Value) -> BoxFuture<Result<Value, Failure>> {
        let executor = self.clone();
        Box::pin(async move { attempt(&executor, &context).await })
    }
}

async fn attempt(executor: &ProcessExecutor, context: &Context) -> Result<Value, Failure> {
    let shared = &*executor.shared;
    let member = shared.crew.by_id(context.id());
    let member = &*member.ok_or_else(|| Failure::new("no task of this run").permanent())?;
    let voice = shared.desk.admit();
    let launch = launch(shared, context, member, &voice)?;
    let (process, lines) = Process::start(&shared.keeper, &launch)?;
    voice.comes_from(process.shim());
    let desk = FrontDesk::of_task(executor, context);
    let mut last = LastLines::default();
    // The stop goes first: a flood of output must not use up the turns of the others.
    let ended = tokio::select! {
        biased;
        never = stop(&process, context, member) => match never {},
        never = desk.attend(voice) => match never {},
        // Joined, as the feeder may hold a message that it still has to tell of.
        (ended, ()) = async { tokio::join!(
            until_ended(&process, (lines, &mut last), context, shared, member),
            feed(&process, context, shared, member),
        ) } => ended,
    };
    member.note_end(&ended);
    outcome(ended, &last, member)
}

fn launch(
    shared: &Shared,
    context: &Context,
    member: &Member,
    voice: &Voice,
) -> Result<Launch, Failure> {
    let task = member.task();
    let cwd = place(&member.input);
    if let Some(cwd) = cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        let cwd = task.cwd.as_ref().unwrap_or(cwd);
        let message = format!("its cwd {} is no directory", cwd.display());
        return Err(Failure::new(message).permanent());
    }
    let own = |name: &str, value: String| (OsString::from(name), OsString::from(value));
    let mut env: Vec<_> = task
        .env
        .iter()
        .map(|(name, value)| own(name, value.clone()))
        .collect();
    env.push(own("UNDERSTORY_TASK_ID", context.id().to_string()));
    env.push(own("UNDERSTORY_PATH", context.path()));
    env.push(own("UNDERSTORY_ATTEMPT", context.attempt().to_string()));
    env.push((SOCKET_VARIABLE.into(), shared.desk.path().into()));
    env.push(own(TOKEN_VARIABLE, voice.token().to_owned()));
    if let Some(data) = context.resumed() {
        let text = data
            .as_str()
            .map_or_else(|| data.to_string(), str::to_owned);
        env.push(own(RESUMED_VARIABLE, text));
    }
    env.push((
        "PATH".into(),
        search_path(&shared.path, task.env.get("PATH")),
    ));
    Ok(Launch {
        command: task.command.clone(),
        env,
        unset: member.input.unset.clone(),
        cwd,
    })
}

/// Where a process starts: where the run was first started, unless its task says otherwise.
fn place(input: &Input) -> Option<PathBuf> {
    let wish = input.task.cwd.clone();
    match (&input.directory, wish) {
        (Some(directory), Some(wish)) => Some(directory.join(wish)),
        (directory, wish) => wish.or_else(|| directory.clone()),
    }
}

/// Tells the output until both streams and the process have ended.
async fn until_ended(
    process: &Process,
    (mut lines, last): (Lines, &mut LastLines),
    context: &Context,
    shared: &Shared,
    member: &Member,
) -> Ended {
    while let Some(heard) = lines.next().await {
        let line = match heard {
            Heard::Line(line) => line,
            Heard::Part => {
                context.touch();
                continue;
            }
        };
        if line.stream == StreamName::Stderr {
            last.push(&line.text);
        }
        awake(context, member, tell(line, context, shared, member)).await;
    }
    process.wait().await
}

async fn tell(line: Line, context: &Context, shared: &Shared, member: &Member) {
    shared.throttle.enter().await;
    let mut piece = json!({ "stream": line.stream.as_str(), "text": line.text });
    if line.is_cut {
        piece["cut"] = Value::Bool(true);
    }
    if context.output(piece).await.is_err() {
        // The attempt is over for the manager; the process still has to be heard out.
        shared.throttle.release();
    }
    hand_on(line, context, member).await;
}

/// Does work for a task that may have to wait for others. Meanwhile its process is not heard, which
/// is no silence of its own.
async fn awake<T>(context: &Context, member: &Member, work: impl Future<Output = T>) -> T {
    let Some(limit) = member.task().idle_timeout else {
        return work.await;
    };
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep(limit / SIGNS_OF_LIFE) => context.touch(),
        }
    }
}

/// Hands a line to whoever waits for this task. As with a pipe, it is not read faster than that one
/// reads, unless the task is asked to stop.
async fn hand_on(line: Line, context: &Context, member: &Member) {
    let Some(listener) = member.listener() else {
        return;
    };
    let is_heard = tokio::select! {
        biased;
        sent = listener.send(line) => sent.is_ok(),
        _ = context.cancelled() => false,
    };
    if !is_heard {
        member.hush();
    }
}

/// Asks the process to stop when the task is, and kills it after the grace that it was granted.
async fn stop(process: &Process, context: &Context, member: &Member) -> Infallible {
    let first = context.cancelled().await;
    let heard_at = Instant::now();
    process.terminate();
    // A later request may grant less.
    loop {
        let newest = context.stop();
        let until = newest.as_ref().unwrap_or(&first).grace_until;
        let granted = until.since(first.at).saturating_sub(GRACE_MARGIN);
        let left = granted.saturating_sub(heard_at.elapsed());
        if left.is_zero() {
            break;
        }
        sleep(left.min(STOP_LOOK_PERIOD)).await;
    }
    member.hush();
    process.kill();
    pending().await
}

/// Writes the messages of the plan and then, if the inbox is open, those of others.
///
/// Its input ends when the task is asked to stop and has read what waited, and when it has ended.
async fn feed(process: &Process, context: &Context, shared: &Shared, member: &Member) {
    for text in &member.task().messages {
        deliver(process, (context, member), shared, "plan", text).await;
    }
    if member.task().inbox == PlanInbox::Open {
        while let Some(message) = next_message(process, context).await {
            let body = &message.body;
            let text = body
                .as_str()
                .map_or_else(|| body.to_string(), str::to_owned);
            let sender = match message.from {
                Sender::Task(id) => shared.crew.by_id(id),
                Sender::Host => None,
            };
            let from = sender.map_or_else(|| "host".to_owned(), |sender| sender.name());
            deliver(process, (context, member), shared, &from, &text).await;
        }
    }
    process.input().close().await;
}

/// Takes a message only while there is a process to read it.
async fn next_message(process: &Process, context: &Context) -> Option<Message> {
    tokio::select! {
        biased;
        _ = process.wait() => None,
        message = context.recv() => message,
    }
}

/// Writes one message and tells that it was delivered, or that it could not be.
async fn deliver(
    process: &Process,
    (context, member): (&Context, &Member),
    shared: &Shared,
    from: &str,
    text: &str,
) {
    let input = process.input();
    let label = tokio::select! {
        biased;
        written = input.write_line(text) => match written {
            Ok(()) => "message",
            Err(_) => "message_lost",
        },
        _ = process.wait() => "message_lost",
    };
    awake(context, member, shared.throttle.enter()).await;
    if context
        .emit(label, json!({ "from": from, "text": text }))
        .await
        .is_err()
    {
        // Too late to tell: the attempt is over.
        shared.throttle.release();
    }
}

fn outcome(ended: Ended, last: &LastLines, member: &Member) -> Result<Value, Failure> {
    match ended {
        Ended::Exit(Exit::Code(0)) => Ok(json!({ "exit_code": 0 })),
        Ended::Exit(Exit::Code(code)) => Err(last.failure(&format!("exit code {code}"))),
        Ended::Exit(Exit::Signal(number)) => {
            Err(last.failure(&format!("killed by signal {number}")))
        }
        Ended::NotStarted { reason, is_final } => {
            let program = member.task().command.first().map_or("", String::as_str);
            let failure = Failure::new(format!("cannot start {program:?}: {reason}"));
            Err(if is_final {
                failure.permanent()
            } else {
                failure
            })
        }
        Ended::Unknown => Err(last.failure("its shim was killed, and it with it")),
    }
}

/// The last lines of standard error.
#[derive(Debug, Default)]
struct LastLines(VecDeque<String>);

impl LastLines {
    fn push(&mut self, line: &str) {
        if self.0.len() == LAST_LINES {
            self.0.pop_front();
        }
        let end = line.floor_char_boundary(LAST_LINE_BYTES);
        self.0.push_back(line[..end].to_owned());
    }

    fn failure(&self, what: &str) -> Failure {
        let lines: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let separator = if lines.is_empty() { "" } else { ": " };
        Failure::new(format!("{what}{separator}{}", lines.join(" | ")))
    }
}

/// The directory of the running binary.
fn own_directory() -> OsString {
    let binary = env::current_exe().unwrap_or_default();
    binary
        .parent()
        .map(|directory| directory.as_os_str().to_owned())
        .unwrap_or_default()
}

/// Our own directory, then those of the plan or else of our environment.
fn search_path(own: &OsString, planned: Option<&String>) -> OsString {
    let others = planned
        .map(OsString::from)
        .or_else(|| env::var_os("PATH"))
        .unwrap_or_default();
    let directories = std::iter::once(own.into()).chain(env::split_paths(&others));
    // It fails only if our own directory has a colon in its name; then it is left out.
    env::join_paths(directories).unwrap_or(others)
}
