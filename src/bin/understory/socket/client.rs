//! The other end: a process of a run, or its user, asks the run.
//!
//! *Not here*: the run's end (`socket`), what is shown of the answers (`verbs`).

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::protocol::{ANSWER_BYTES_MAX, Answer, REQUEST_BYTES_MAX, Request, Said, Verb};
use super::{DIRECTORY_PREFIX, SOCKET_NAME, SOCKET_VARIABLE, TOKEN_VARIABLE};
use crate::records::RecordsError;

/// How long the run may take to answer what needs no waiting: longer than it waits for us.
const PATIENCE: Duration = Duration::from_secs(15);
/// Directories that are looked at for a run.
const RUNS_MAX: usize = 1_024;

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{0}")]
    Invalid(String),
    /// There is no run of this user, or not the one that is meant.
    #[error("{0}")]
    NoRun(String),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("the run cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The request was made, and nobody knows what became of it.
    #[error("no answer came, and what was asked for may still be done: {0}")]
    Unanswered(String),
    #[error("what answers there is no run that this program understands: {0}")]
    Foreign(String),
    #[error("refused: {0}")]
    Refused(String),
    /// A pipe that was closed.
    #[error("nobody reads what is printed")]
    NobodyReads,
    #[error("standard output cannot be written: {0}")]
    Unwritten(io::Error),
}

impl ClientError {
    /// Whether the command was used wrongly, whatever the run would say.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::NoRun(_) => true,
            Self::Records(error) => error.is_usage(),
            Self::Unreachable(_)
            | Self::Unanswered(_)
            | Self::Foreign(_)
            | Self::Refused(_)
            | Self::NobodyReads
            | Self::Unwritten(_) => false,
        }
    }

    /// Why something could not be printed.
    pub(crate) fn of_print(error: io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::Unwritten(error)
        }
    }
}

/// A run that can be asked, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    path: PathBuf,
    token: Option<String>,
}

/// What to do when it is not clear which run is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Advice {
    Name,
    BeOfIt,
}

impl Peer {
    /// The run of this name, else the one that this process belongs to, else the only one there is.
    pub(crate) fn find(name: Option<&str>) -> Result<Self, ClientError> {
        Self::find_or(name, Advice::Name)
    }

    /// The run for what a process says of itself: nobody chooses another one.
    pub(crate) fn own() -> Result<Self, ClientError> {
        Self::find_or(None, Advice::BeOfIt)
    }

    fn find_or(name: Option<&str>, advice: Advice) -> Result<Self, ClientError> {
        let own = env::var_os(SOCKET_VARIABLE).map(PathBuf::from);
        let path = match (name, &own) {
            (Some(name), _) => named(name),
            (None, Some(own)) => own.clone(),
            (None, None) => only_one(advice)?,
        };
        if own.as_ref() != Some(&path) {
            return Ok(Self { path, token: None });
        }
        let token = env::var(TOKEN_VARIABLE).map_err(|_| {
            ClientError::Invalid(format!(
                "{TOKEN_VARIABLE} is not set; it stands in the environment of each task, \
                 hand it on to whatever asks the run"
            ))
        })?;
        let token = Some(token);
        Ok(Self { path, token })
    }

    /// Asks for something; each item of the answer is handed on. Returns its last word.
    pub(crate) fn ask(
        &self,
        verb: Verb,
        mut take: impl FnMut(Value) -> io::Result<()>,
    ) -> Result<Value, ClientError> {
        verb.check().map_err(ClientError::Invalid)?;
        let patience = (!verb.is_long()).then_some(PATIENCE);
        let line = Request::new(self.token.clone(), verb).to_line();
        if line.len() > REQUEST_BYTES_MAX {
            return Err(ClientError::Invalid(format!(
                "the request has {} bytes, at most {REQUEST_BYTES_MAX} are taken; shorten the \
                 command or its environment",
                line.len()
            )));
        }
        let stream = self.connect()?;
        request(&stream, &line, patience).map_err(ClientError::Unreachable)?;
        let mut answers = BufReader::new(stream);
        loop {
            match next(&mut answers)? {
                Said::Item(item) => take(item).map_err(ClientError::of_print)?,
                Said::Done(value) => return Ok(value),
                Said::Refused(reason) => return Err(ClientError::Refused(reason)),
            }
        }
    }

    fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.path).map_err(|error| {
            if !is_nobody_there(error.kind()) {
                return ClientError::Unreachable(error);
            }
            let path = self.path.display();
            ClientError::NoRun(format!(
                "no run is at {path}, perhaps it has ended: {error}"
            ))
        })
    }
}

/// Whether a socket that cannot be reached so belongs to no run.
fn is_nobody_there(why: ErrorKind) -> bool {
    // The last one: a path that is too long for a socket.
    let kinds = [
        ErrorKind::NotFound,
        ErrorKind::NotADirectory,
        ErrorKind::ConnectionRefused,
        ErrorKind::InvalidInput,
    ];
    kinds.contains(&why)
}

/// Makes a request, whose answers come by the stream.
fn request(mut stream: &UnixStream, line: &str, patience: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(line.as_bytes())
}

fn next(answers: &mut BufReader<UnixStream>) -> Result<Said, ClientError> {
    let mut line = String::new();
    let limit = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
    let why = match answers.take(limit).read_line(&mut line) {
        Ok(_) if line.ends_with('\n') || line.len() >= ANSWER_BYTES_MAX => {
            return Answer::parse(&line).map_err(ClientError::Foreign);
        }
        Ok(_) => "the connection has ended".to_owned(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            format!("the run said nothing for {} s", PATIENCE.as_secs())
        }
        Err(error) => error.to_string(),
    };
    Err(ClientError::Unanswered(why))
}

/// The socket that a user means: by its path, its directory or its number.
fn named(name: &str) -> PathBuf {
    let path = PathBuf::from(name);
    if path.is_dir() {
        return path.join(SOCKET_NAME);
    }
    if name.contains('/') {
        return path;
    }
    let directory = format!("{DIRECTORY_PREFIX}{name}");
    env::temp_dir().join(directory).join(SOCKET_NAME)
}

/// The socket of the one run of this user that goes on.
fn only_one(advice: Advice) -> Result<PathBuf, ClientError> {
    let temporary = env::temp_dir();
    let mut runs = running(&temporary);
    let how = match advice {
        Advice::Name => {
            format!("name it with --run, by its socket or by its number (`{DIRECTORY_PREFIX}*`)")
        }
        Advice::BeOfIt => "say it in a process of the run that is meant".to_owned(),
    };
    match (runs.pop(), runs.is_empty()) {
        (Some(run), true) => Ok(run),
        (None, _) => Err(ClientError::NoRun(format!(
            "this process belongs to no run, and none of yours is found in {}; \
             start one with `understory run PLAN.toml`, or {how}",
            temporary.display()
        ))),
        (Some(last), false) => {
            runs.push(last);
            let named = runs.iter().filter(|_| advice == Advice::Name);
            let named = named.map(|run| format!("\n  --run {}", run.display()));
            let named: String = named.collect();
            let colon = if named.is_empty() { "" } else { ":" };
            Err(ClientError::Invalid(format!(
                "this process belongs to no run, and several of yours go on; {how}{colon}{named}"
            )))
        }
    }
}

fn running(temporary: &Path) -> Vec<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(temporary).into_iter().flatten();
    let named = entries.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(DIRECTORY_PREFIX)
    });
    // What somebody else put there is no run of ours.
    let ours = named.filter(|entry| entry.metadata().is_ok_and(|entry| entry.uid() == own));
    let sockets = ours
        .take(RUNS_MAX)
        .map(|entry| entry.path().join(SOCKET_NAME));
    let mut running: Vec<PathBuf> = sockets
        .filter(|socket| UnixStream::connect(socket).is_ok())
        .collect();
    running.sort_unstable();
    running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_nothing_does_not_know_whether_it_was_done() {
        let (client, run) = UnixStream::pair().expect("there are descriptors");
        let patience = Some(Duration::from_millis(1));
        client.set_read_timeout(patience).expect("it is not zero");
        let mut answers = BufReader::new(client);
        let silent = next(&mut answers);
        drop(run);
        let gone = next(&mut answers);
        for (end, why) in [(silent, "said nothing for 15 s"), (gone, "has ended")] {
            let error = end.expect_err("there is no answer");
            assert!(matches!(error, ClientError::Unanswered(_)), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
