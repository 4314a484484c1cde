//! The socket by which a process of the run speaks: one per run, for its own user only.
//!
//! # Invariants
//! 1. Only the user of the run can reach it: mode 0600 in a directory of mode 0700. Both are
//!    removed when the [`Socket`] is dropped; what understory cannot remove, because it was killed,
//!    stays.
//! 2. A request is heard only with the token of a task that runs now. It is carried out by that
//!    very task, with its rights and no others.
//! 3. Requests, connections and waiting are bounded; a client that is slow or silent harms only
//!    itself.
//!
//! *Not here*: what a verb does (`run`), the other end (`client`).

pub(crate) mod client;
mod protocol;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

pub(crate) use protocol::Verb;
use protocol::{Answer, REQUEST_BYTES_MAX, Request};

/// Where a process finds the socket.
pub(crate) const SOCKET_VARIABLE: &str = "UNDERSTORY_SOCKET";
/// What proves which task it belongs to.
pub(crate) const TOKEN_VARIABLE: &str = "UNDERSTORY_TOKEN";

/// Clients that are served at once; others wait for their turn.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Calls of one task that wait for it.
const CALLS_MAX: usize = 16;
/// The socket's name in its directory.
const SOCKET_NAME: &str = "run.sock";
/// Longest path of a socket on the systems we know.
const PATH_BYTES_MAX: usize = 100;

/// A request of a process, to be carried out by its task.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    /// Takes what the process is told.
    pub(crate) answer: oneshot::Sender<Result<(), String>>,
}

type Tokens = Arc<Mutex<HashMap<String, mpsc::Sender<Call>>>>;

/// The socket of a run, open until it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    desk: Desk,
    server: AbortHandle,
    directory: Directory,
}

impl Socket {
    /// Opens a socket in a new directory of its own.
    pub(crate) fn open() -> io::Result<Self> {
        let directory = Directory::new()?;
        let path = directory.0.join(SOCKET_NAME);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let desk = Desk {
            path,
            tokens: Tokens::default(),
        };
        let server = tokio::spawn(serve(listener, Arc::clone(&desk.tokens))).abort_handle();
        Ok(Self {
            desk,
            server,
            directory,
        })
    }

    /// Where tasks are admitted. It does not keep the socket open.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The directory that holds nothing but the socket.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory.0
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Gives out the right to speak.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    path: PathBuf,
    tokens: Tokens,
}

impl Desk {
    /// Where the socket is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets one attempt of a task speak, until the [`Voice`] is dropped.
    pub(crate) fn admit(&self) -> Voice {
        let token = Uuid::new_v4().simple().to_string();
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        lock(&self.tokens).insert(token.clone(), sender);
        Voice {
            token,
            calls,
            tokens: Arc::clone(&self.tokens),
        }
    }
}

/// The right of one attempt to speak, and what it says.
#[derive(Debug)]
pub(crate) struct Voice {
    token: String,
    calls: mpsc::Receiver<Call>,
    tokens: Tokens,
}

impl Voice {
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The next request of the process.
    ///
    /// # Cancel safety
    /// No request is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Call {
        match self.calls.recv().await {
            Some(call) => call,
            // The sender stands in the table until this voice is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        lock(&self.tokens).remove(&self.token);
    }
}

fn lock(
    tokens: &Mutex<HashMap<String, mpsc::Sender<Call>>>,
) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Call>>> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new directory for this user only, removed when dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        // Half of a UUID is enough for a name: a directory that exists is refused anyway.
        let (number, _) = Uuid::new_v4().as_u64_pair();
        let path = std::env::temp_dir().join(format!("understory-{number:016x}"));
        if path.as_os_str().len() + SOCKET_NAME.len() + 1 > PATH_BYTES_MAX {
            let path = path.display();
            return Err(io::Error::other(format!(
                "{path} is too long; set TMPDIR to a shorter one"
            )));
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure, and the socket in it is dead.
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn serve(listener: UnixListener, tokens: Tokens) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let tokens = Arc::clone(&tokens);
                tokio::spawn(async move {
                    // A client that is too slow finds its connection closed.
                    let _ = timeout(PATIENCE, converse(stream, &tokens)).await;
                    drop(seat);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one client: one request, one answer.
async fn converse(mut stream: UnixStream, tokens: &Tokens) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let limit = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new(reader.take(limit))
        .read_line(&mut line)
        .await?;
    let result = match Request::parse(&line) {
        Ok(request) => carry_out(request, tokens).await,
        Err(reason) => Err(reason),
    };
    writer
        .write_all(Answer::from(result).to_line().as_bytes())
        .await
}

async fn carry_out(request: Request, tokens: &Tokens) -> Result<(), String> {
    let ended = || "the task that this process belongs to does not run any more".to_owned();
    let caller = lock(tokens)
        .get(&request.token)
        .cloned()
        .ok_or_else(ended)?;
    let (answer, answered) = oneshot::channel();
    caller
        .send(Call {
            verb: request.verb,
            answer,
        })
        .await
        .map_err(|_| ended())?;
    answered.await.map_err(|_| ended())?
}

#[cfg(test)]
mod tests;
