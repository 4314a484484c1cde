//! `understory send` and `understory progress`: a process of a run speaks to its run.
//!
//! *Not here*: the other end (`socket`).

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::protocol::{Answer, REQUEST_BYTES_MAX, Request, Verb};
use super::{SOCKET_VARIABLE, TOKEN_VARIABLE};

/// How long the run may take to answer: longer than it waits for us.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "this process belongs to no run ({0} is not set); \
         this command is for processes that `understory run` started"
    )]
    NotInARun(&'static str),
    #[error("{0}")]
    Invalid(String),
    #[error("the run cannot be reached, perhaps it has ended: {0}")]
    Unreachable(#[from] io::Error),
    #[error("refused: {0}")]
    Refused(String),
}

impl ClientError {
    /// Whether the command was used wrongly, whatever the run would say.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::NotInARun(_) | Self::Invalid(_) => true,
            Self::Unreachable(_) | Self::Refused(_) => false,
        }
    }
}

/// Asks the run that this process belongs to.
pub(crate) fn ask(verb: Verb) -> Result<(), ClientError> {
    let variable = |name| env::var(name).map_err(|_| ClientError::NotInARun(name));
    let (path, token) = (variable(SOCKET_VARIABLE)?, variable(TOKEN_VARIABLE)?);
    verb.check().map_err(ClientError::Invalid)?;
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(Request { token, verb }.to_line().as_bytes())?;
    let mut line = String::new();
    let limit = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new(stream.take(limit)).read_line(&mut line)?;
    let answer: Answer = serde_json::from_str(&line).map_err(io::Error::other)?;
    match answer {
        Answer { ok: true, .. } => Ok(()),
        Answer { error, .. } => Err(ClientError::Refused(error.unwrap_or_default())),
    }
}
