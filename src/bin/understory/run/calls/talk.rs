//! Messages and progress, requests to stop, and waiting.
//!
//! # Invariants
//! 1. A task sends to those under its own root and to no others; the user sends to all.
//! 2. A wait tells each of its tasks once, in the order in which they settle or come to count, also
//!    those that did before.
//!
//! *Not here*: whom else a caller reaches (`reach`).

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use understory::{Cancel, Context, SendError, State, TaskId, TaskRef};

use super::{CODE_DONE, CODE_FAILED, CODE_STUCK, CODE_TIMED_OUT, FrontDesk, while_heard};
use crate::plan::PlanInbox;
use crate::run::accept::GRACE_MARGIN;
use crate::run::reach::Reach;
use crate::socket::{Counts, Extent, Quorum, Reply};

/// When a wait ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) quorum: Quorum,
    pub(super) counts: Counts,
}

impl FrontDesk<'_> {
    pub(super) async fn progress(&self, text: &str) -> Result<Value, String> {
        let Some(context) = self.caller else {
            return Err("only a process of a task can tell its progress".to_owned());
        };
        let told = context.progress(text).await;
        told.map(|()| json!({})).map_err(|error| error.to_string())
    }

    pub(super) async fn send(&self, to: &str, text: &str) -> Result<Value, String> {
        let (id, name) = self.receiver(to)?;
        let member = self.crew().by_id(id);
        let is_closed = member
            .as_ref()
            .is_some_and(|member| member.task().inbox == PlanInbox::Closed);
        if is_closed {
            let is_planned = member.is_some_and(|member| self.crew().is_planned(&member));
            let how = if is_planned {
                "write inbox = \"open\" in its [[task]]"
            } else {
                "spawn it with --inbox"
            };
            return Err(format!("the inbox of {name} is closed; {how}"));
        }
        let sent = match self.caller {
            Some(context) => context.send(id, text).await,
            None => self.manager.send(id, text).await,
        };
        match sent {
            Ok(_) => Ok(json!({})),
            Err(SendError::Ended { .. }) => Err(format!("{name} has ended")),
            Err(SendError::Full { capacity, .. }) => Err(format!(
                "the inbox of {name} is full ({capacity} messages); try again later"
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whom a message is for, and what to call it.
    fn receiver(&self, to: &str) -> Result<(TaskId, String), String> {
        let Some(context) = self.caller else {
            let record = self.reach().get(to)?;
            return Ok((record.id, to.to_owned()));
        };
        if to == "parent" {
            let parent = context.parent();
            let parent = parent.ok_or_else(|| "this task has no parent".to_owned())?;
            let member = self.crew().by_id(parent);
            return Ok((parent, member.map_or_else(|| to.to_owned(), |it| it.name())));
        }
        let record = Reach::around(&self.manager, context.id()).get(to)?;
        Ok((record.id, to.to_owned()))
    }

    pub(super) async fn cancel(
        &self,
        target: &str,
        extent: Extent,
        reason: Option<String>,
        grace_ms: Option<u64>,
    ) -> Result<Value, String> {
        let task = self.manager.task(self.reach().get(target)?.id);
        let caller = self
            .caller
            .map_or_else(|| "the user".to_owned(), Context::path);
        let reason = reason.unwrap_or_else(|| format!("cancelled by {caller}"));
        let mut cancel = Cancel::because(&reason);
        if let Some(grace) = grace_ms {
            cancel = cancel.grace(Duration::from_millis(grace) + GRACE_MARGIN);
        }
        let report = match extent {
            Extent::One => task.cancel(cancel).await,
            Extent::Tree => task.cancel_tree(cancel).await,
        };
        let report = report.map_err(|error| error.to_string())?;
        let paths = |ids: &[TaskId]| -> Vec<String> {
            ids.iter().map(|id| self.manager.task(*id).path()).collect()
        };
        let code = if report.abandoned.is_empty() {
            CODE_DONE
        } else {
            CODE_FAILED
        };
        Ok(json!({
            "cancelled": paths(&report.cancelled),
            "already_ended": paths(&report.already_ended),
            "abandoned": paths(&report.abandoned),
            "code": code,
        }))
    }

    pub(super) async fn wait(
        &self,
        targets: &[String],
        ends: Ends,
        timeout_ms: Option<u64>,
        reply: &Reply,
    ) -> Result<Value, String> {
        let reach = self.reach();
        let mut tasks: Vec<TaskRef> = Vec::new();
        for target in targets {
            let record = reach.get(target)?;
            if self.caller.is_some_and(|caller| caller.id() == record.id) {
                return Err("a task cannot wait for itself; name one below it".to_owned());
            }
            // The record may be dropped while others are waited for; what is held of it stays.
            if tasks.iter().all(|task| task.id() != record.id) {
                tasks.push(self.manager.task(record.id));
            }
        }
        let deadline = timeout_ms.map(|limit| Instant::now() + Duration::from_millis(limit));
        while_heard(reply, self.tell_ends(tasks, ends, deadline, reply)).await
    }

    async fn tell_ends(
        &self,
        mut tasks: Vec<TaskRef>,
        Ends { quorum, counts }: Ends,
        deadline: Option<Instant>,
        reply: &Reply,
    ) -> Result<Value, String> {
        let mut code = CODE_DONE;
        let mut seq = 0;
        while !tasks.is_empty() {
            let mut waiting = self.manager.wait(&tasks);
            if let Some(deadline) = deadline {
                waiting = waiting.timeout(deadline.saturating_duration_since(Instant::now()));
            }
            if counts == Counts::Stuck {
                waiting = waiting.or_suspended().or_asking();
            }
            let waited = waiting.any().await.map_err(|error| error.to_string())?;
            seq = waited.seq.0;
            let mut told = waited.done;
            told.sort_by_key(|record| (record.ended_at, record.seq));
            told.extend(waited.suspended.into_iter().chain(waited.asking));
            if quorum == Quorum::Any {
                told.truncate(1);
            }
            for record in &told {
                if !record.state.is_terminal() {
                    // What failed is told rather than what only waits.
                    code = if code == CODE_DONE { CODE_STUCK } else { code };
                } else if record.state != State::Completed {
                    code = CODE_FAILED;
                }
                if reply.item(self.shown(record)).await.is_err() {
                    return Ok(json!({}));
                }
            }
            let done: BTreeSet<TaskId> = told.iter().map(|record| record.id).collect();
            tasks.retain(|task| !done.contains(&task.id()));
            if !done.is_empty() && quorum == Quorum::Any {
                break;
            }
            if waited.timed_out {
                code = CODE_TIMED_OUT;
                break;
            }
        }
        let pending: Vec<String> = tasks.iter().map(TaskRef::path).collect();
        Ok(json!({ "seq": seq, "pending": pending, "code": code }))
    }
}
