//! Questions of a body to others, and the answers to them.
//!
//! # Invariants
//! 1. What a body is told was durable first: it reads the answer in the record.
//! 2. A body that waits for an answer counts as waiting, and its slots are lent meanwhile.
//!
//! *Not here*: who wins and when a question is dropped (`kernel`).

use std::pin::pin;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::checks::Mismatch;
use super::context::{self, Context};
use super::handle::TaskRef;
use super::manager::Manager;
use super::payload::to_text;
use super::wait::Parked;
use crate::actors::Shut;
use crate::kernel::{
    AskRefusal, Input, InvalidText, Key, Payload, Reply, Requester, RespondRefusal, State, Stop,
    TaskId, Wait,
};

/// Largest question and largest answer, in bytes of JSON.
const TALK_BYTES_MAX: usize = 64 * 1_024;

/// Why a body got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The task was asked to stop. An answer that comes later is kept for another attempt.
    #[error("the task was asked to stop: {}", .0.reason)]
    Cancelled(Arc<Stop>),
    /// The attempt is over, or the manager is gone.
    #[error("the attempt is over")]
    Over,
    /// The key is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// The task has asked too many questions, answered or not.
    #[error("a task may ask at most {0} questions; use a key again")]
    TooMany(usize),
    /// The question is too large.
    #[error("the question has {bytes} bytes of JSON; at most {bytes_max} are taken")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
        /// The largest that is taken.
        bytes_max: usize,
    },
    /// The question cannot be written as JSON.
    #[error("the question cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Why an answer was not taken. Except for [`RespondError::Restarted`], nothing happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError {
    /// No such task was ever accepted, or its record is no longer kept.
    #[error("no task {0} is known")]
    Unknown(TaskId),
    /// The task has asked nothing by this key.
    #[error("the task has asked no question {key}")]
    NoSuchQuestion {
        /// The key as it was given.
        key: String,
    },
    /// Somebody else has answered; the first answer stays.
    #[error("the question {key} was answered already")]
    AlreadyAnswered {
        /// The key.
        key: String,
    },
    /// The task has ended or is being cancelled: nobody would read the answer.
    #[error("the task takes no more answers: it is {state}")]
    Ended {
        /// Its state.
        state: State,
    },
    /// Tasks of its kind do not take this answer: see [`Builder::checks`](crate::Builder::checks).
    #[error("the answer to {key} is not what is expected: {why}")]
    Mismatch {
        /// The key.
        key: String,
        /// What is wrong with the answer, and where.
        why: Mismatch,
    },
    /// The answer is too large.
    #[error("the answer has {bytes} bytes of JSON; at most {bytes_max} are taken")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
        /// The largest that is taken.
        bytes_max: usize,
    },
    /// The answer cannot be written as JSON.
    #[error("the answer cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// The manager was shut down or has failed: nothing runs any more.
    #[error("the manager is gone")]
    Gone,
    /// The manager was started anew before it said so: look at the task's questions.
    #[error("the manager was started anew; whether the answer was taken is unknown")]
    Restarted,
}

impl Context {
    /// Asks whoever watches this task something and waits for the answer.
    ///
    /// The question stands in the task's record under its key and is told by an `asked` event;
    /// anybody who holds a [`TaskRef`] may [`respond`](TaskRef::respond). Several questions may be
    /// open at once. Meanwhile the body counts as waiting, and its slots are lent to others.
    ///
    /// Questions and answers outlive the attempt: asking again with the same key, after a failure,
    /// a suspension or a restart, is the same question, and gives the answer at once if there is
    /// one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, RespondError};
    /// # let manager = Manager::in_memory();
    /// let deploy = manager.scope("s").task("deploy").spawn(|ctx| async move {
    ///     let answer = ctx.ask("really", "Deploy to production?").await?;
    ///     Ok(format!("they said {answer}"))
    /// });
    /// let deploy = deploy.await?;
    /// while let Err(error) = deploy.respond("really", "yes").await {
    ///     assert!(matches!(error, RespondError::NoSuchQuestion { .. })); // not asked yet
    ///     tokio::task::yield_now().await;
    /// }
    /// assert_eq!(deploy.await?, "they said \"yes\"");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`AskError`]: there is no answer.
    ///
    /// # Cancel safety
    /// When it is dropped, the question may stay; asking again with the same key joins it.
    pub async fn ask(&self, key: &str, question: impl Serialize) -> Result<Value, AskError> {
        let key = Key::new(key)?;
        let json = to_text(&question)?;
        drop(question);
        if json.len() > TALK_BYTES_MAX {
            return Err(AskError::TooLarge {
                bytes: json.len(),
                bytes_max: TALK_BYTES_MAX,
            });
        }
        let given = match self.put(key.clone(), Payload::from_json(json)).await? {
            Some(answer) => answer,
            None => self.answer_to(&key).await?,
        };
        if let Some(mut unheard) = self.attempt.live.unheard() {
            unheard.hear_answer(&key);
        }
        Ok(serde_json::from_str(given.as_json())?)
    }

    /// Puts the question; gives the answer that was given before, if one was.
    async fn put(&self, key: Key, question: Payload) -> Result<Option<Payload>, AskError> {
        self.touch();
        let (id, epoch) = (self.id(), self.epoch());
        let asked = self.core.hub.gate.ask(move |ticket| Input::Ask {
            ticket,
            id,
            epoch,
            key,
            question,
        });
        match asked.await {
            Ok(Reply::Asked(Ok(answer))) => Ok(answer),
            Ok(Reply::Asked(Err(AskRefusal::TooMany(most)))) => Err(AskError::TooMany(most)),
            Ok(Reply::Asked(Err(AskRefusal::Stopping))) => {
                Err(self.stop().map_or(AskError::Over, AskError::Cancelled))
            }
            Ok(_) | Err(_) => Err(AskError::Over),
        }
    }

    async fn answer_to(&self, key: &Key) -> Result<Payload, AskError> {
        let _parked = Parked::on(self, Wait::Answer);
        let live = &self.attempt.live;
        loop {
            let mut answered = pin!(live.answered().notified());
            answered.as_mut().enable();
            let record = self.core.hub.index.get(self.id()).ok_or(AskError::Over)?;
            let questions = record.questions.as_deref();
            let question = questions.and_then(|questions| questions.get(key));
            if let Some(answer) = question.and_then(|question| question.answer.as_ref()) {
                return Ok(answer.value.clone());
            }
            if !self.is_current() {
                return Err(AskError::Over);
            }
            tokio::select! {
                biased;
                () = answered => {}
                stop = self.attempt.signal.asked() => return Err(AskError::Cancelled(stop)),
                () = self.core.hub.gate.shut_down() => return Err(AskError::Over),
            }
        }
    }
}

impl TaskRef {
    /// Answers a question of this task. Of many answers the first one wins.
    ///
    /// The open questions stand in the task's record, each under its key. See [`Context::ask`] for
    /// an example.
    ///
    /// # Errors
    /// [`RespondError`] says why the answer was not taken.
    ///
    /// # Cancel safety
    /// When it is dropped, the answer may or may not be taken.
    pub async fn respond(&self, key: &str, answer: impl Serialize) -> Result<(), RespondError> {
        respond(self, key, encode(answer)?).await
    }
}

impl Manager {
    /// Answers a question of the task of this id. See [`TaskRef::respond`].
    ///
    /// # Errors
    /// [`RespondError`] says why the answer was not taken.
    ///
    /// # Cancel safety
    /// When it is dropped, the answer may or may not be taken.
    pub async fn respond(
        &self,
        task: TaskId,
        key: &str,
        answer: impl Serialize,
    ) -> Result<(), RespondError> {
        respond(&self.task(task), key, encode(answer)?).await
    }
}

fn encode(answer: impl Serialize) -> Result<Payload, RespondError> {
    let json = to_text(&answer)?;
    if json.len() > TALK_BYTES_MAX {
        return Err(RespondError::TooLarge {
            bytes: json.len(),
            bytes_max: TALK_BYTES_MAX,
        });
    }
    Ok(Payload::from_json(json))
}

async fn respond(task: &TaskRef, key: &str, value: Payload) -> Result<(), RespondError> {
    let named = || key.to_owned();
    // No body can ask by a key that is not valid.
    let Ok(valid) = Key::new(key) else {
        return Err(RespondError::NoSuchQuestion { key: named() });
    };
    let record = task.record();
    let kind = record.as_ref().and_then(|record| record.spec.kind.as_ref());
    let checked = task.core().checks.answer(kind, key, || value.to_value());
    checked.map_err(|why| RespondError::Mismatch { key: named(), why })?;
    let (id, by) = (task.id(), requester());
    let asked = task.core().hub.gate.ask(move |ticket| Input::Respond {
        ticket,
        id,
        key: valid,
        value,
        by,
    });
    let refusal = match asked.await {
        Ok(Reply::Responded(Ok(()))) => return Ok(()),
        Ok(Reply::Responded(Err(refusal))) => refusal,
        Err(Shut::Restarted) => return Err(RespondError::Restarted),
        Ok(_) | Err(_) => return Err(RespondError::Gone),
    };
    Err(match refusal {
        RespondRefusal::Unknown(id) => RespondError::Unknown(id),
        RespondRefusal::NoSuchQuestion => RespondError::NoSuchQuestion { key: named() },
        RespondRefusal::AlreadyAnswered => RespondError::AlreadyAnswered { key: named() },
        RespondRefusal::Ended(state) => RespondError::Ended { state },
    })
}

/// Who asks: the body that runs here, or the host.
pub(super) fn requester() -> Requester {
    context::current().map_or(Requester::Host, |here| Requester::Task(here.id()))
}
