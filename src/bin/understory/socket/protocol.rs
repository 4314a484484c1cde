//! One request, and its answers, each a line of JSON.
//!
//! `{"v":1,"token":"…","ask":{"verb":"send","to":"NAME","text":"…"}}`; then any number of
//! `{"v":1,"item":{…}}` and, last, `{"v":1,"done":{…}}` or `{"v":1,"refused":"…"}`. Who asks keeps
//! its end of the stream open until then: to close it is to ask no more.
//!
//! # Invariants
//! 1. A request names its version. One of another version is refused with both numbers, and so is
//!    one with a field that this version does not know: nothing is taken and then ignored.
//! 2. Requests and answers have at most [`REQUEST_BYTES_MAX`] and [`ANSWER_BYTES_MAX`] bytes.
//!
//! *Not here*: who may ask (`desk`), what a verb does (`run`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::MESSAGE_BYTES_MAX;

/// What both ends must agree on.
pub(super) const VERSION: u64 = 1;
/// Longest request, in bytes: a command with its whole environment, or a message of which each byte
/// takes six in JSON.
pub(super) const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Longest answer, in bytes: a record with 64 questions and their answers of 64 KiB each, and 8 MiB
/// for all else that it may hold.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) v: u64,
    /// What proves which task asks; without it, the user of the run asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    pub(super) ask: Verb,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Verb {
    /// A line for the inbox of a task.
    Send { to: String, text: String },
    /// How far the caller is.
    Progress { text: String },
    /// A question of the caller's task, until it is answered.
    Ask { key: String, question: String },
    /// An answer to a question of a task.
    Respond {
        target: String,
        key: String,
        text: String,
    },
    /// That the caller's task be suspended when its process has ended.
    Suspend { text: String },
    /// That a suspended task goes on.
    Resume { target: String, text: String },
    /// A task below the caller.
    Spawn(Box<SpawnAsk>),
    /// The tasks within reach.
    List(ListAsk),
    /// One task.
    Show { target: String },
    /// The end of a task, or of all from it down.
    Cancel {
        target: String,
        extent: Extent,
        reason: Option<String>,
        grace_ms: Option<u64>,
    },
    /// To be told when tasks have settled.
    Wait {
        targets: Vec<String>,
        quorum: Quorum,
        counts: Counts,
        timeout_ms: Option<u64>,
    },
    /// What happened, and what happens.
    Events { since: Option<u64>, until: Until },
}

/// A task to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpawnAsk {
    pub(crate) command: Vec<String>,
    pub(crate) cwd: PathBuf,
    /// The whole environment of the process that asks.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) limits: Vec<String>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) retry: u32,
    pub(crate) after: Vec<String>,
    pub(crate) parent: Option<String>,
    pub(crate) on_parent_end: Option<ParentEnd>,
    pub(crate) inbox: Inbox,
    pub(crate) answer: SpawnAnswer,
}

/// Which tasks are listed: the empty one lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListAsk {
    pub(crate) states: Vec<String>,
    pub(crate) kind: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) shape: Shape,
}

/// How much of a tree is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Extent {
    One,
    Tree,
}

/// How many of the tasks must have settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Quorum {
    Any,
    All,
}

/// Which tasks count for a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Counts {
    /// Those that have settled.
    Settled,
    /// Those, too, that are suspended or have an open question.
    Stuck,
}

/// When a stream of events ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Until {
    /// With the newest one there was when it was asked for.
    Now,
    /// With the run.
    End,
}

/// What becomes of a task when its parent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParentEnd {
    Wait,
    Cancel,
    Detach,
}

/// Whether standard input stays open for messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Inbox {
    #[default]
    Closed,
    Open,
}

/// When a spawn is answered for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SpawnAnswer {
    #[default]
    Accepted,
    /// After its output.
    Settled,
}

/// What a list is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// The tasks below the caller that match.
    #[default]
    Rows,
    /// Those, and whatever stands above them up to the caller.
    Tree,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    v: u64,
    #[serde(flatten)]
    pub(super) said: Said,
}

/// What the run says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Said {
    /// One of several; more follows.
    Item(Value),
    /// It was done; nothing follows.
    Done(Value),
    /// It was not done, for this reason; nothing follows.
    Refused(String),
}

impl Verb {
    /// Checks what can be checked without knowing the run.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Send { text, .. } => {
                check_length(text)?;
                if text.contains('\n') {
                    return Err("a message is one line; send each line by itself".to_owned());
                }
                Ok(())
            }
            Self::Progress { text }
            | Self::Ask { question: text, .. }
            | Self::Respond { text, .. }
            | Self::Suspend { text } => check_length(text),
            Self::Resume { text, .. } => {
                check_length(text)?;
                check_nul(text)
            }
            Self::Spawn(ask) => ask.check(),
            Self::List(_)
            | Self::Show { .. }
            | Self::Cancel { .. }
            | Self::Wait { .. }
            | Self::Events { .. } => Ok(()),
        }
    }

    /// Whether its answer may take as long as tasks do.
    pub(super) fn is_long(&self) -> bool {
        self.waits_for_others() || matches!(self, Self::Cancel { .. } | Self::Events { .. })
    }

    /// Whether others say when it ends, and nothing that it asks for.
    pub(super) fn waits_for_others(&self) -> bool {
        match self {
            Self::Ask { .. } | Self::Wait { .. } => true,
            Self::Events { until, .. } => *until == Until::End,
            Self::Spawn(ask) => ask.answer == SpawnAnswer::Settled,
            Self::Cancel { .. }
            | Self::Send { .. }
            | Self::Progress { .. }
            | Self::Respond { .. }
            | Self::Suspend { .. }
            | Self::Resume { .. }
            | Self::List(_)
            | Self::Show { .. } => false,
        }
    }
}

impl SpawnAsk {
    fn check(&self) -> Result<(), String> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err("the command is empty; write it after `--`".to_owned());
        }
        let variables = self.env.iter().flat_map(|(name, value)| [name, value]);
        self.command
            .iter()
            .chain(variables)
            .try_for_each(|text| check_nul(text))
    }
}

fn check_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("a NUL byte cannot be handed to a process; leave it out".to_owned());
    }
    Ok(())
}

fn check_length(text: &str) -> Result<(), String> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(format!(
            "the text is too long; write at most {MESSAGE_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

impl Request {
    pub(super) fn new(token: Option<String>, ask: Verb) -> Self {
        Self {
            v: VERSION,
            token,
            ask,
        }
    }

    pub(super) fn parse(line: &str) -> Result<Self, String> {
        if !line.ends_with('\n') {
            return Err(format!(
                "a request is one line of at most {REQUEST_BYTES_MAX} bytes"
            ));
        }
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("not a request: {error}"))?;
        if value["v"] != VERSION {
            let theirs = &value["v"];
            return Err(format!(
                "this run speaks version {VERSION} and the request is of version {theirs}; \
                 use the `understory` that started the run"
            ));
        }
        let request: Self =
            serde_json::from_value(value).map_err(|error| format!("not a request: {error}"))?;
        request.ask.check()?;
        Ok(request)
    }

    pub(super) fn to_line(&self) -> String {
        line_of(self)
    }
}

impl Answer {
    /// Reads a line of the run.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(line: &str) -> Result<Said, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if value["v"] != VERSION {
            let theirs = &value["v"];
            return Err(format!("it speaks version {theirs}, and this is {VERSION}"));
        }
        let answer: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        Ok(answer.said)
    }

    pub(super) fn line(said: Said) -> String {
        let line = line_of(&Self { v: VERSION, said });
        if line.len() <= ANSWER_BYTES_MAX {
            return line;
        }
        let why = format!("the answer would have more than {ANSWER_BYTES_MAX} bytes");
        Self::line(Said::Refused(why))
    }
}

fn line_of(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("all keys are text, so it is JSON");
    line.push('\n');
    line
}
