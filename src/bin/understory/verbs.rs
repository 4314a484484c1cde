//! The verbs for the tasks of a run, as a process or a person gives them: ask, print, exit.
//!
//! # Invariants
//! 1. Standard output is for what was asked for, standard error for all else: also for which file
//!    it is from, when nobody named one.
//! 2. Who stops a verb by a signal stops its waiting; what the run was asked to do goes on.
//!
//! *Not here*: what the answers look like (`print`), carrying it out (`run`).

mod book;
mod print;
mod source;

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cli;
use crate::process::RESUMED_VARIABLE;
use crate::socket::client::{ClientError, Peer};
use crate::socket::{
    Counts, Extent, Inbox, ListAsk, ParentEnd, Quorum, Shape, SpawnAnswer, SpawnAsk, Until, Verb,
};
use crate::{CODE_DONE, CODE_FAILED};
use source::{Source, source};

type Done = Result<u8, ClientError>;

pub(crate) fn spawn(spawn: cli::Spawn) -> Done {
    let peer = peer(&spawn.choice)?;
    let answer = if spawn.wait {
        SpawnAnswer::Settled
    } else {
        SpawnAnswer::Accepted
    };
    let command: Result<Vec<String>, ClientError> = spawn
        .command
        .into_iter()
        .map(|word| text(word, "an argument of the command"))
        .collect();
    let ask = SpawnAsk {
        command: command?,
        cwd: here()?,
        env: environment()?,
        name: spawn.name,
        kind: spawn.kind,
        labels: spawn.labels,
        limits: spawn.limits,
        timeout_ms: spawn.timeout.map(millis),
        retry: spawn.retry,
        after: spawn.after,
        parent: spawn.parent,
        on_parent_end: spawn.on_parent_end.map(|policy| match policy {
            cli::ParentEnd::Wait => ParentEnd::Wait,
            cli::ParentEnd::Cancel => ParentEnd::Cancel,
            cli::ParentEnd::Detach => ParentEnd::Detach,
        }),
        inbox: if spawn.inbox {
            Inbox::Open
        } else {
            Inbox::Closed
        },
        answer,
    };
    let done = peer.ask(Verb::Spawn(Box::new(ask)), |line| print::output(&line))?;
    match answer {
        SpawnAnswer::Accepted => say(&format!("{} {}", word(&done, "id"), word(&done, "path")))?,
        SpawnAnswer::Settled => {}
    }
    Ok(code(&done))
}

pub(crate) fn ls(which: cli::Which) -> Done {
    let source = source(&which.source)?;
    let is_json = which.json;
    let ask = list(which, Shape::Rows);
    source.list(ask, |record| {
        if is_json {
            print::json(&record)
        } else {
            print::row(&record)
        }
    })?;
    Ok(CODE_DONE)
}

pub(crate) fn tree(which: cli::Which) -> Done {
    let source = source(&which.source)?;
    let is_json = which.json;
    let ask = list(which, Shape::Tree);
    let mut records = Vec::new();
    source.list(ask, |record| {
        if is_json {
            return print::json(&record);
        }
        records.push(record);
        Ok(())
    })?;
    for line in print::tree(&records) {
        say(&line)?;
    }
    Ok(CODE_DONE)
}

fn list(which: cli::Which, shape: Shape) -> ListAsk {
    ListAsk {
        states: which.states,
        kind: which.kind,
        labels: which.labels,
        shape,
    }
}

pub(crate) fn show(show: cli::Show) -> Done {
    let target = show.target;
    let record = match source(&show.source)? {
        Source::Run(peer) => peer.ask(Verb::Show { target }, |_| Ok(()))?,
        Source::File(book) => book.show(&target)?,
    };
    if show.json {
        print::json(&record).map_err(ClientError::of_print)?;
    } else {
        for line in print::record(&record) {
            say(&line)?;
        }
    }
    Ok(CODE_DONE)
}

/// Sends the text, or each line of standard input.
pub(crate) fn send(send: &cli::Send) -> Done {
    let peer = peer(&send.choice)?;
    let ask = |text: String| {
        let to = send.to.clone();
        peer.ask(Verb::Send { to, text }, |_| Ok(())).map(drop)
    };
    match &send.text {
        Some(text) => ask(text.clone())?,
        None => io::stdin().lock().lines().try_for_each(|line| {
            ask(line.map_err(|error| {
                let why = format!("standard input cannot be read: {error}; send lines of UTF-8");
                ClientError::Invalid(why)
            })?)
        })?,
    }
    Ok(CODE_DONE)
}

pub(crate) fn progress(progress: cli::Progress) -> Done {
    let text = progress.text;
    Peer::own()?.ask(Verb::Progress { text }, |_| Ok(()))?;
    Ok(CODE_DONE)
}

/// Asks, waits and prints the answer.
pub(crate) fn ask(ask: cli::Ask) -> Done {
    let cli::Ask { key, question } = ask;
    let done = Peer::own()?.ask(Verb::Ask { key, question }, |_| Ok(()))?;
    say(&print::text(&done["answer"]))?;
    Ok(CODE_DONE)
}

pub(crate) fn respond(respond: cli::Respond) -> Done {
    let peer = peer(&respond.choice)?;
    let verb = Verb::Respond {
        target: respond.target,
        key: respond.key,
        text: respond.text,
    };
    peer.ask(verb, |_| Ok(()))?;
    Ok(CODE_DONE)
}

pub(crate) fn suspend(suspend: cli::Suspend) -> Done {
    let text = suspend.text;
    Peer::own()?.ask(Verb::Suspend { text }, |_| Ok(()))?;
    Ok(CODE_DONE)
}

pub(crate) fn resume(resume: cli::Resume) -> Done {
    let peer = peer(&resume.choice)?;
    let (target, text) = (resume.target, resume.text);
    peer.ask(Verb::Resume { target, text }, |_| Ok(()))?;
    Ok(CODE_DONE)
}

pub(crate) fn cancel(cancel: cli::Cancel) -> Done {
    let peer = peer(&cancel.choice)?;
    let report = peer.ask(
        Verb::Cancel {
            target: cancel.target,
            extent: if cancel.one {
                Extent::One
            } else {
                Extent::Tree
            },
            reason: cancel.reason,
            grace_ms: cancel.grace.map(millis),
        },
        |_| Ok(()),
    )?;
    for became in ["cancelled", "already_ended", "abandoned"] {
        for path in report[became].as_array().into_iter().flatten() {
            let path = path.as_str().unwrap_or_default();
            say(&format!("{} {path}", became.replace('_', " ")))?;
        }
    }
    Ok(code(&report))
}

pub(crate) fn wait(wait: cli::Wait) -> Done {
    let peer = peer(&wait.choice)?;
    let is_json = wait.json;
    let done = peer.ask(
        Verb::Wait {
            targets: wait.targets,
            quorum: if wait.any { Quorum::Any } else { Quorum::All },
            counts: if wait.or_stuck {
                Counts::Stuck
            } else {
                Counts::Settled
            },
            timeout_ms: wait.timeout.map(millis),
        },
        |record| {
            if is_json {
                return print::json(&record);
            }
            print::line(&print::standing(&record))
        },
    )?;
    Ok(code(&done))
}

pub(crate) fn events(events: &cli::Events) -> Done {
    let until = if events.follow {
        Until::End
    } else {
        Until::Now
    };
    let since = events.since;
    let take = |event| {
        if events.json {
            print::json(&event)
        } else {
            print::line(&print::event(&event))
        }
    };
    if events.follow {
        peer(&events.source.choice)?.ask(Verb::Events { since, until }, take)?;
        return Ok(CODE_DONE);
    }
    match source(&events.source)? {
        Source::Run(peer) => drop(peer.ask(Verb::Events { since, until }, take)?),
        Source::File(book) => book.events(since, take)?,
    }
    Ok(CODE_DONE)
}

fn peer(choice: &cli::RunChoice) -> Result<Peer, ClientError> {
    Peer::find(choice.run.as_deref())
}

/// Where this process stands, for what it spawns.
fn here() -> Result<PathBuf, ClientError> {
    let here = env::current_dir().map_err(|error| {
        let why = format!("the current directory cannot be told: {error}; go to another one");
        ClientError::Invalid(why)
    })?;
    text(here.into_os_string(), "the current directory").map(PathBuf::from)
}

/// What this process was started with, for what it spawns.
fn environment() -> Result<Vec<(String, String)>, ClientError> {
    // The run sets its own anew for each task.
    let is_own = |name: &OsString| OWN_VARIABLES.iter().any(|own| *name == **own);
    let variables = env::vars_os().filter(|(name, _)| !is_own(name));
    variables
        .map(|(name, value)| {
            let what = format!("the variable {}", name.to_string_lossy());
            Ok((text(name, &what)?, text(value, &what)?))
        })
        .collect()
}

/// What the run sets for each task.
const OWN_VARIABLES: [&str; 6] = [
    RESUMED_VARIABLE,
    "UNDERSTORY_TASK_ID",
    "UNDERSTORY_PATH",
    "UNDERSTORY_ATTEMPT",
    "UNDERSTORY_SOCKET",
    "UNDERSTORY_TOKEN",
];

fn text(word: OsString, what: &str) -> Result<String, ClientError> {
    word.into_string().map_err(|word| {
        let word = word.to_string_lossy();
        ClientError::Invalid(format!("{what} is not UTF-8; write {word:?} otherwise"))
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn code(done: &Value) -> u8 {
    let code = done["code"]
        .as_u64()
        .and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(CODE_FAILED)
}

fn say(text: &str) -> Result<(), ClientError> {
    print::line(text).map_err(ClientError::of_print)
}
