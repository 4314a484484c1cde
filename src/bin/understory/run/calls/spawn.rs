//! Tasks that join the run: each hangs below whoever asked for it, and is in all else like one of
//! the plan.
//!
//! # Invariants
//! 1. A caller hangs tasks below itself or below what it reaches, and lets them come after what it
//!    reaches, nowhere else.
//! 2. What a refusal tells of others is at most that a name is taken.
//!
//! *Not here*: running its processes (`body`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use understory::{
    Outcome, Record, Refusal, SpawnError, State, TaskBuilder, TaskHandle, TaskId, TaskRef,
};

use super::{CODE_CANCELLED, CODE_DONE, CODE_FAILED, CODE_TIMED_OUT, FrontDesk, while_heard};
use crate::plan::{PlanInbox, PlanParentEnd, PlanRetry, PlanTask};
use crate::process::{Ended, Line};
use crate::run::accept::{SCOPE, prepare};
use crate::run::crew::{Member, Recruit, kind};
use crate::socket::{Inbox, ParentEnd, Reply, SpawnAnswer, SpawnAsk};
use crate::wire::Exit;

/// Lines that wait for whoever waits for the task.
const LINES_MAX: usize = 8;
/// The program was not found or could not be started, as shells have it.
const CODE_NOT_STARTED: u8 = 127;
/// Added to the number of the signal that ended a process, as shells have it.
const CODE_SIGNAL: i32 = 128;

impl FrontDesk<'_> {
    pub(super) async fn spawn(&self, ask: SpawnAsk, reply: &Reply) -> Result<Value, String> {
        let reach = self.reach();
        let after: Result<Vec<TaskId>, String> = ask
            .after
            .iter()
            .map(|target| Ok(reach.get(target)?.id))
            .collect();
        let after = after?;
        let parent = match &ask.parent {
            Some(target) => Some(reach.get(target)?.id),
            None => self.caller.map(understory::Context::id),
        };
        let doors = self.executor.doors().enter().await;
        let doors = doors.ok_or("the run ends and takes no more tasks")?;
        let (listener, mut lines) = mpsc::channel(LINES_MAX);
        let is_waited_for = ask.answer == SpawnAnswer::Settled;
        let (env, unset) = environment(&ask);
        let member = self.crew().take_in(Recruit {
            task: plan_task(&ask, env),
            unset,
            parent,
            listener: is_waited_for.then_some(listener),
        });
        let builder = self.builder(&ask, parent, after, member.id);
        let task = match self.ask_for(builder, &member).await {
            Ok(task) => task.task(),
            Err(error) => {
                // After this one answer it may exist all the same.
                if !matches!(error, SpawnError::Unknown(_)) {
                    self.crew().forget(member.id);
                }
                return Err(refusal(&error));
            }
        };
        drop(doors);
        if !is_waited_for {
            let (id, path) = (task.id().to_string(), task.path());
            return Ok(json!({ "id": id, "path": path, "code": CODE_DONE }));
        }
        while_heard(reply, self.follow(&task, &member, &mut lines, reply)).await
    }

    /// What the new task is and where it hangs.
    fn builder(
        &self,
        ask: &SpawnAsk,
        parent: Option<TaskId>,
        after: Vec<TaskId>,
        id: TaskId,
    ) -> TaskBuilder {
        // Within the body of a task it is the task itself that asks.
        let scope = self.manager.scope(SCOPE);
        let mut builder = match &ask.name {
            Some(name) => scope.task(name),
            None => scope.unnamed(),
        };
        if let Some(parent) = parent {
            builder = builder.parent(parent);
        }
        for (key, value) in &ask.labels {
            builder = builder.label(key, value);
        }
        builder.id(id).after(after)
    }

    async fn ask_for(
        &self,
        builder: TaskBuilder,
        member: &Member,
    ) -> Result<TaskHandle<Value>, SpawnError> {
        let kind = kind(member.task());
        if !self.manager.has_executor(SCOPE, kind)? {
            self.manager
                .register_executor(kind, self.executor.clone())?;
        }
        let builder = prepare(builder, member.task(), self.crew());
        builder.spawn_kind(kind, member.recorded()).await
    }

    /// Tells the output of a task and then how it ended.
    async fn follow(
        &self,
        task: &TaskRef,
        member: &Member,
        lines: &mut mpsc::Receiver<Line>,
        reply: &Reply,
    ) -> Result<Value, String> {
        let tasks = [task.clone()];
        let settled = self.manager.wait(&tasks).all();
        tokio::pin!(settled);
        let waited = loop {
            tokio::select! {
                biased;
                Some(line) = lines.recv() => tell(&line, reply).await,
                waited = &mut settled => break waited,
            }
        };
        member.hush();
        while let Ok(line) = lines.try_recv() {
            tell(&line, reply).await;
        }
        let waited = waited.map_err(|error| error.to_string())?;
        let Some(record) = waited.done.first() else {
            return Err("the run ends".to_owned());
        };
        Ok(json!({
            "id": record.id.to_string(),
            "state": record.state.as_str(),
            "code": exit_code(record, member),
        }))
    }
}

async fn tell(line: &Line, reply: &Reply) {
    let stream = line.stream.as_str();
    let item = json!({ "stream": stream, "text": line.text, "cut": line.is_cut });
    // The end of the caller is heard where this is polled.
    let _ = reply.item(item).await;
}

/// The variables that the caller has and understory does not, or otherwise; and those that it does
/// not have.
fn environment(ask: &SpawnAsk) -> (BTreeMap<String, String>, Vec<String>) {
    let mut env: BTreeMap<String, String> = ask.env.iter().cloned().collect();
    let mut unset = Vec::new();
    for (name, value) in std::env::vars_os() {
        // What is no text comes from no caller.
        let Some(name) = name.to_str() else { continue };
        match env.get(name) {
            Some(wanted) if **wanted == *value => {
                env.remove(name);
            }
            Some(_) => {}
            None => unset.push(name.to_owned()),
        }
    }
    (env, unset)
}

/// A process as the plan would have it.
fn plan_task(ask: &SpawnAsk, env: BTreeMap<String, String>) -> PlanTask {
    PlanTask {
        name: ask.name.clone().unwrap_or_default(),
        command: ask.command.clone(),
        parent: None,
        after: Vec::new(),
        kind: ask.kind.clone(),
        env,
        cwd: Some(ask.cwd.clone()),
        timeout: ask.timeout_ms.map(Duration::from_millis),
        idle_timeout: None,
        retry: Some(PlanRetry {
            count: ask.retry,
            delay: None,
            factor: None,
            cap: None,
        }),
        limits: ask.limits.clone(),
        on_parent_end: ask.on_parent_end.map(|policy| match policy {
            ParentEnd::Wait => PlanParentEnd::Wait,
            ParentEnd::Cancel => PlanParentEnd::Cancel,
            ParentEnd::Detach => PlanParentEnd::Detach,
        }),
        grace: None,
        messages: Vec::new(),
        inbox: match ask.inbox {
            Inbox::Closed => PlanInbox::Closed,
            Inbox::Open => PlanInbox::Open,
        },
    }
}

/// The exit code of the process, if it is what the task ended with.
fn exit_code(record: &Record, member: &Member) -> u8 {
    match record.state {
        State::Completed => return CODE_DONE,
        State::TimedOut => return CODE_TIMED_OUT,
        State::Cancelled => return CODE_CANCELLED,
        State::Pending
        | State::Running
        | State::Waiting
        | State::Suspended
        | State::CancelRequested
        | State::Failed
        | State::Interrupted => {}
    }
    let is_own_word = matches!(record.outcome.as_deref(), Some(Outcome::Failed(_)));
    match member.last_end().filter(|_| is_own_word) {
        Some(Ended::Exit(Exit::Code(code))) => u8::try_from(code).unwrap_or(CODE_FAILED),
        Some(Ended::Exit(Exit::Signal(number))) => {
            u8::try_from(CODE_SIGNAL + number).unwrap_or(CODE_FAILED)
        }
        Some(Ended::NotStarted { .. }) => CODE_NOT_STARTED,
        Some(Ended::Unknown) | None => CODE_FAILED,
    }
}

/// Why a task was not taken, and what to do.
fn refusal(error: &SpawnError) -> String {
    let SpawnError::Refused(refusal) = error else {
        return error.to_string();
    };
    if let Refusal::NameTaken(name, _) = refusal {
        format!("the name {name} is taken in this run; choose another or leave it out")
    } else if let Refusal::ParentClosing(_) = refusal {
        "the task was asked to stop or has ended, so nothing new hangs below it".to_owned()
    } else if let Refusal::ParentRetries(_) = refusal {
        "the task is between two attempts; ask again when the next one has started".to_owned()
    } else if let Refusal::UnknownLimit(name) = refusal {
        format!("the plan has no limit class {name}; give its size in [limits] of the plan")
    } else if let Refusal::Bound(what, max) = refusal {
        let advice = match *what {
            "tasks above a task" => {
                "do this work in the process itself, or raise `depth` in [bounds] of the plan"
            }
            "live children of a task" => {
                "wait for one to end (`understory wait --any`), \
                 or raise `children` in [bounds] of the plan"
            }
            "live tasks" => {
                "wait for one to end (`understory wait --any`), \
                 or raise `tasks` in [bounds] of the plan"
            }
            _ => "ask for less",
        };
        format!("at most {max} {what} are allowed; {advice}")
    } else {
        error.to_string()
    }
}
