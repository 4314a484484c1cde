//! Requests and their answers: each once, and the right one (P7, P13, P17, P24; the reports of P4).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Checks;
use super::in_time::Deadlines;
use super::view::Seen;
use crate::kernel::{
    Accepted, AskRefusal, CancelReport, Conclusion, DURABLE_BYTES_MAX, DURABLE_MAX, Epoch, Input,
    InterruptRefusal, KeptMessage, Key, MessageRefusal, Payload, QUESTIONS_MAX, Questions, Refusal,
    Reply, RespondRefusal, ResumeRefusal, Spec, State, Target, TaskId, Ticket, Timestamp,
};

/// A request that was not answered yet, and what its answer must be like.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Spawn {
        id: TaskId,
        /// The task that its key was bound to, and in which wish that was asked for differently.
        bound: Option<(TaskId, Option<String>)>,
        stale: bool,
    },
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
    },
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
                reuse: _,
            } => {
                let stale = by.is_some_and(|(task, epoch)| {
                    let seen = self.view.tasks.get(&task);
                    seen.is_none_or(|seen| !seen.is_run(epoch) || seen.is_settled())
                });
                let (id, bound) = (*id, self.bound(now, spec));
                (*ticket, Asked::Spawn { id, bound, stale })
            }
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
            } => (*ticket, self.asked_cancel(target, ask)),
            Input::Control { ticket, .. } => (*ticket, Asked::Control),
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
            | Input::External { .. }
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

    /// The task that a key must lead to: one that is held, or whose window is not over.
    fn bound(&self, now: Timestamp, spec: &Spec) -> Option<(TaskId, Option<String>)> {
        spec.key.as_ref()?;
        let holds = |seen: &&Seen| {
            let other = seen.spec();
            let window = other.key_window.unwrap_or(self.key_window);
            let until = seen.record.created_at.after(window);
            let same_key = other.key == spec.key && other.scope == spec.scope;
            let is_bound = now < until && !self.clock_went_back;
            same_key && (seen.is_held() || is_bound)
        };
        let bound = self.view.tasks.values().find(holds)?;
        Some((bound.record.id, bound.spec().difference(spec)))
    }

    pub(super) fn reply(&mut self, ticket: Ticket, reply: &Reply) -> Verdict {
        let Some(asked) = self.open.remove(&ticket) else {
            return Err(format!("{ticket:?} is answered and not open: {reply:?}"));
        };
        match (&asked, reply) {
            (Asked::Spawn { id, bound, stale }, Reply::Spawned(result)) => {
                self.spawn_reply(*id, bound.clone(), *stale, result)
            }
            (
                Asked::Resume {
                    id,
                    state,
                    is_resumed,
                    may_wait,
                },
                Reply::Resumed(result),
            ) => {
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
            (Asked::Cancel { target, meant, .. }, Reply::Cancelled(report)) => {
                self.cancel_reply(target, meant, report)
            }
            (Asked::Cancel { target, .. }, Reply::Unknown(id)) => {
                let is_for = matches!(target, Target::OneFor(..) | Target::TreeFor(..));
                let is_hidden = is_for && self.view.meant(target).is_empty();
                let is_unknown = is_hidden || !self.view.tasks.contains_key(id);
                ensure(target.task() == Some(*id) && is_unknown, || {
                    format!("{target:?} is unknown")
                })
            }
            (Asked::Control, Reply::Controlled(_)) => Ok(()),
            (
                Asked::Spawn { .. } | Asked::Resume { .. } | Asked::Cancel { .. } | Asked::Control,
                Reply::External(_)
                | Reply::Spawned(_)
                | Reply::Resumed(_)
                | Reply::Asked(_)
                | Reply::Responded(_)
                | Reply::Interrupted(_)
                | Reply::Message(_)
                | Reply::Acknowledged(_)
                | Reply::Cancelled(_)
                | Reply::Controlled(_)
                | Reply::Unknown(_),
            ) => Err(format!("{asked:?} is answered with {reply:?}")),
        }
    }

    fn spawn_reply(
        &mut self,
        id: TaskId,
        bound: Option<(TaskId, Option<String>)>,
        stale: bool,
        result: &Result<Accepted, Refusal>,
    ) -> Verdict {
        let is_new = *result == Ok(Accepted::New(id));
        if let Some((task, differs)) = bound {
            let expected = match differs {
                None => Ok(Accepted::Existing(task)),
                Some(wish) => Err(Refusal::KeyConflict(task, wish)),
            };
            return ensure(*result == expected, || {
                format!("P17: a bound key led to {result:?}, not {expected:?}")
            });
        }
        ensure(!is_new || !(stale || self.closing), || {
            format!("P13: a stale or late spawn was accepted: {id}")
        })?;
        if let Err(Refusal::NameTaken(name, holder)) = result {
            let seen = self.view.tasks.get(holder);
            let holds =
                seen.is_some_and(|seen| seen.is_held() && seen.spec().name.as_ref() == Some(name));
            return ensure(holds, || {
                format!("P7: {name} is refused, and {holder} does not hold it")
            });
        }
        Ok(())
    }

    fn cancel_reply(
        &self,
        target: &Target,
        meant: &BTreeSet<TaskId>,
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
            let mut seen = ids.iter().filter_map(|id| self.view.tasks.get(id));
            seen.all(test)
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
