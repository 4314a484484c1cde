//! Requests and their answers: each once, and the right one (P7, P13, P17, P24; the reports of P4).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Checks;
use super::identity::Spawning;
use super::in_time::Deadlines;
use super::moves::{Closing, Moving};
use super::view::Seen;
use crate::kernel::{
    AbandonRefusal, AskRefusal, CancelReport, Conclusion, Controlled, DURABLE_BYTES_MAX,
    DURABLE_MAX, Epoch, ExternalRefusal, Input, InterruptRefusal, KeptMessage, Key, MessageRefusal,
    Payload, QUESTIONS_MAX, Questions, Reply, RespondRefusal, ResumeRefusal, State, Target, TaskId,
    Ticket, Timestamp,
};

/// A request that was not answered yet, and what its answer must be like.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Spawn(Spawning),
    Resume {
        id: TaskId,
        state: Option<State>,
        /// Whether somebody else has resumed it already.
        is_resumed: bool,
        may_wait: bool,
    },
    /// Answered in the same step.
    Control,
    /// What must be answered, to a question, an answer or an interrupt.
    Talk(Talk),
    Cancel {
        target: Target,
        meant: BTreeSet<TaskId>,
        /// The grace that was asked for.
        grace: Option<Duration>,
        /// When the longest grace is over, and when force is.
        deadlines: Deadlines,
        /// How many lives had begun by then.
        born: u64,
        /// The scope that is closed with it.
        closes: Option<Closing>,
    },
    Transfer(Moving),
    /// Whether the scope was closed.
    Reopen(bool),
    Abandon(Result<BTreeSet<TaskId>, AbandonRefusal>),
    Remove,
    External(Result<(), ExternalRefusal>),
}

/// The only right reply to a question, an answer or an interrupt.
#[derive(Clone, Debug)]
pub(super) enum Talk {
    Asked(Result<Option<Payload>, AskRefusal>),
    Responded(Result<(), RespondRefusal>),
    Interrupted(Result<(), InterruptRefusal>),
    Message(Result<(), MessageRefusal>),
    Acknowledged(Result<(), AskRefusal>),
}

type Verdict = Result<(), String>;

impl Checks {
    /// Notes what a request must lead to, before the kernel sees it.
    pub(super) fn note_request(&mut self, now: Timestamp, input: &Input) {
        let (ticket, asked) = match input {
            Input::Spawn {
                ticket,
                id,
                spec,
                by,
                reuse,
            } => (
                *ticket,
                Asked::Spawn(self.spawning(now, *id, spec, *by, *reuse)),
            ),
            Input::Resume {
                ticket,
                id,
                may_wait,
                ..
            } => {
                let seen = self.view.tasks.get(id);
                let asked = Asked::Resume {
                    id: *id,
                    state: self.view.state(*id),
                    is_resumed: seen.is_some_and(|seen| seen.record.resume.is_some()),
                    may_wait: *may_wait,
                };
                (*ticket, asked)
            }
            Input::Ask {
                ticket,
                id,
                epoch,
                key,
                ..
            } => (*ticket, Asked::Talk(self.ask(*id, *epoch, key))),
            Input::Respond {
                ticket, id, key, ..
            } => (*ticket, Asked::Talk(self.respond(*id, key))),
            Input::Interrupt { ticket, id, .. } => (*ticket, Asked::Talk(self.interrupt(*id))),
            Input::Message {
                ticket,
                id,
                message,
            } => (*ticket, Asked::Talk(self.message(*id, message))),
            Input::Acknowledge {
                ticket, id, epoch, ..
            } => (*ticket, Asked::Talk(self.acknowledge(*id, *epoch))),
            Input::Cancel {
                ticket,
                target,
                ask,
            } => {
                if let Target::Run(run) = target {
                    self.gates.run_cancelled(run);
                }
                (*ticket, self.asked_cancel(target, ask))
            }
            Input::Control { ticket, ask } => (*ticket, self.control_asked(ask)),
            Input::External {
                ticket,
                id,
                incarnation,
                word,
            } => {
                let asked = Asked::External(self.external(*id, *incarnation, word));
                (*ticket, asked)
            }
            Input::Shutdown { ticket, ask } => {
                self.closing = true;
                (*ticket, self.asked_cancel(&Target::All, ask))
            }
            Input::Report { .. }
            | Input::Parked { .. }
            | Input::Said { .. }
            | Input::Active { .. }
            | Input::Stuck { .. }
            | Input::Undelivered { .. }
            | Input::CallbackOver { .. }
            | Input::HooksBegun { .. }
            | Input::HooksOver { .. }
            | Input::HookFailed { .. }
            | Input::Hosts(_)
            | Input::Tick => return,
        };
        if let Asked::Cancel { meant, .. } = &asked {
            for id in meant {
                let seen = self.view.tasks.get_mut(id);
                seen.expect("only seen tasks are meant").doomed = true;
            }
        }
        self.open.insert(ticket, asked);
    }

    fn acknowledge(&self, id: TaskId, epoch: Epoch) -> Talk {
        let seen = self.view.tasks.get(&id);
        let is_run = seen.is_some_and(|seen| seen.is_run(epoch) && !seen.is_settled());
        Talk::Acknowledged(if is_run {
            Ok(())
        } else {
            Err(AskRefusal::Stale)
        })
    }

    fn ask(&self, id: TaskId, epoch: Epoch, key: &Key) -> Talk {
        let seen = self.view.tasks.get(&id);
        let seen = seen.filter(|seen| seen.is_run(epoch) && !seen.is_settled());
        let Some(seen) = seen else {
            return Talk::Asked(Err(AskRefusal::Stale));
        };
        let questions = seen.record.questions.as_deref();
        let question = questions.and_then(|all| all.get(key));
        if let Some(answer) = question.and_then(|question| question.answer.as_ref()) {
            return Talk::Asked(Ok(Some(answer.value.clone())));
        }
        let count = questions.map_or(0, Questions::len);
        Talk::Asked(if seen.state == State::CancelRequested {
            Err(AskRefusal::Stopping)
        } else if question.is_none() && count == QUESTIONS_MAX {
            Err(AskRefusal::TooMany(QUESTIONS_MAX))
        } else {
            Ok(None)
        })
    }

    fn respond(&self, id: TaskId, key: &Key) -> Talk {
        let Some(seen) = self.view.tasks.get(&id) else {
            return Talk::Responded(Err(RespondRefusal::Unknown(id)));
        };
        let record = &seen.record;
        let settles = matches!(record.conclusion, Some(Conclusion::Settle(_)));
        let is_over = seen.is_settled() || settles || seen.doomed && record.stop.is_some();
        let question = record.questions.as_ref().and_then(|all| all.get(key));
        Talk::Responded(match question {
            _ if is_over => Err(RespondRefusal::Ended(seen.state)),
            None => Err(RespondRefusal::NoSuchQuestion),
            Some(question) if question.answer.is_some() => Err(RespondRefusal::AlreadyAnswered),
            Some(_) => Ok(()),
        })
    }

    fn message(&self, id: TaskId, message: &KeptMessage) -> Talk {
        let Some(seen) = self.view.tasks.get(&id) else {
            return Talk::Message(Err(MessageRefusal::Unknown(id)));
        };
        let record = &seen.record;
        let kept = record.unacknowledged();
        let settles = matches!(record.conclusion, Some(Conclusion::Settle(_)));
        let is_over = seen.is_settled() || settles || seen.doomed && record.stop.is_some();
        let is_known = !seen.is_settled() && kept.iter().any(|kept| kept.id == message.id);
        let bytes = |message: &KeptMessage| message.body.as_json().len();
        let all: usize = kept.iter().map(bytes).sum();
        let is_full = kept.len() == DURABLE_MAX || all + bytes(message) > DURABLE_BYTES_MAX;
        Talk::Message(if is_known {
            Ok(())
        } else if is_over {
            Err(MessageRefusal::Ended)
        } else if is_full {
            Err(MessageRefusal::Full)
        } else {
            Ok(())
        })
    }

    fn interrupt(&self, id: TaskId) -> Talk {
        let Some(seen) = self.view.tasks.get(&id) else {
            return Talk::Interrupted(Err(InterruptRefusal::Unknown(id)));
        };
        let runs = matches!(seen.state, State::Running | State::Waiting);
        Talk::Interrupted(if runs && seen.is_live {
            Ok(())
        } else {
            Err(InterruptRefusal::NotRunning(seen.state))
        })
    }

    pub(super) fn reply(&mut self, ticket: Ticket, reply: &Reply) -> Verdict {
        let Some(asked) = self.open.remove(&ticket) else {
            return Err(format!("{ticket:?} is answered and not open: {reply:?}"));
        };
        match (&asked, reply) {
            (Asked::Spawn(asked), Reply::Spawned(result)) => self.spawn_reply(asked, result),
            (Asked::Resume { .. }, Reply::Resumed(result)) => resume_reply(&asked, result),
            (Asked::Talk(talk), reply) => {
                let is_right = match (talk, reply) {
                    (Talk::Asked(right), Reply::Asked(told)) => right == told,
                    (Talk::Responded(right), Reply::Responded(told)) => right == told,
                    (Talk::Interrupted(right), Reply::Interrupted(told)) => right == told,
                    (Talk::Message(right), Reply::Message(told)) => right == told,
                    (Talk::Acknowledged(right), Reply::Acknowledged(told)) => right == told,
                    (
                        Talk::Asked(_)
                        | Talk::Responded(_)
                        | Talk::Interrupted(_)
                        | Talk::Message(_)
                        | Talk::Acknowledged(_),
                        _,
                    ) => false,
                };
                ensure(is_right, || format!("{asked:?} is answered with {reply:?}"))
            }
            (
                Asked::Cancel {
                    target,
                    meant,
                    born,
                    closes: None,
                    ..
                },
                Reply::Cancelled(report),
            ) => self.cancel_reply(target, meant, *born, report),
            (
                Asked::Cancel {
                    target,
                    meant,
                    born,
                    closes: Some(closing),
                    ..
                },
                Reply::Controlled(Controlled::Closed(told)),
            ) => self.close_reply((target, meant, *born), closing, told),
            (Asked::Cancel { target, .. }, Reply::Unknown(id)) => {
                let is_for = matches!(target, Target::OneFor(..) | Target::TreeFor(..));
                let is_hidden = is_for && self.view.meant(target).is_empty();
                let is_unknown = is_hidden || !self.view.tasks.contains_key(id);
                ensure(target.task() == Some(*id) && is_unknown, || {
                    format!("{target:?} is unknown")
                })
            }
            (Asked::External(right), Reply::External(told)) => {
                let is_quiet = right.is_ok() || self.told == 0;
                ensure(right == told && is_quiet, || {
                    format!("K3: a word that should lead to {right:?} led to {told:?}")
                })
            }
            (asked, Reply::Controlled(told)) => self.control_reply(asked, told),
            (_, _) => Err(format!("{asked:?} is answered with {reply:?}")),
        }
    }

    pub(super) fn cancel_reply(
        &self,
        target: &Target,
        meant: &BTreeSet<TaskId>,
        born: u64,
        report: &CancelReport,
    ) -> Verdict {
        let listed: Vec<_> = [&report.cancelled, &report.already_ended, &report.abandoned]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let as_set: BTreeSet<_> = listed.iter().copied().collect();
        let expected = match target {
            Target::One(id) | Target::Tree(id) | Target::OneFor(_, id) | Target::TreeFor(_, id)
                if meant.is_empty() =>
            {
                BTreeSet::from([*id])
            }
            // Which tasks nobody refers to, tests of that say.
            Target::Unreferenced(_) => as_set.clone(),
            Target::One(_)
            | Target::Tree(_)
            | Target::OneFor(..)
            | Target::TreeFor(..)
            | Target::Visible(_)
            | Target::Scope(_)
            | Target::Run(_)
            | Target::All => meant.clone(),
        };
        ensure(as_set == expected && listed.len() == as_set.len(), || {
            format!("P4: {target:?} meant {expected:?} and reports {report:?}")
        })?;
        let fits = |ids: &[TaskId], test: &dyn Fn(&Seen) -> bool| {
            let seen = ids.iter().filter_map(|id| self.view.tasks.get(id));
            // An id may have another life since.
            seen.filter(|seen| seen.born <= born).all(test)
        };
        let was_settled = meant.is_empty();
        let ended = |seen: &Seen| !seen.is_live && seen.is_settled();
        let right = fits(&report.cancelled, &|seen| {
            ended(seen) && seen.state == State::Cancelled
        }) && fits(&report.already_ended, &|seen| {
            ended(seen) && (was_settled || seen.state != State::Cancelled)
        }) && fits(&report.abandoned, &Seen::is_settled);
        ensure(right, || {
            format!("P4: a task stands in the wrong list of {report:?}")
        })
    }
}

pub(super) fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(complaint()) }
}

fn resume_reply(asked: &Asked, result: &Result<(), ResumeRefusal>) -> Verdict {
    let Asked::Resume {
        id,
        state,
        is_resumed,
        may_wait,
    } = asked
    else {
        return Err(format!("P24: {asked:?} is answered with {result:?}"));
    };
    let expected = match state {
        None => Err(ResumeRefusal::Unknown(*id)),
        Some(State::Suspended) => Ok(()),
        Some(State::Pending) if *is_resumed => Err(ResumeRefusal::AlreadyResumed(*id)),
        Some(other) => Err(ResumeRefusal::NotSuspended(*other)),
    };
    let is_full = expected.is_ok()
        && !may_wait
        && matches!(result, Err(ResumeRefusal::Full(full)) if full.in_use >= full.size);
    ensure(*result == expected || is_full, || {
        format!("P24: resume of a task that is {state:?}: {result:?}")
    })
}
