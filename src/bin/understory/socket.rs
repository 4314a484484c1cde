//! The socket by which a run is spoken to: one per run, for its own user only.
//!
//! # Invariants
//! 1. Only the user of the run can reach it: mode 0600 in a directory of mode 0700. Both are
//!    removed when the [`Socket`] is dropped; what understory cannot remove, because it was killed,
//!    stays.
//! 2. Who asks is known by its token and by its process (`desk`), never by what it says of itself.
//! 3. Requests (`desk`), connections (`seats`) and answers are bounded; a client that is slow,
//!    silent or gone harms only itself, and its end ends nothing but its own waiting.
//!
//! *Not here*: what a verb does (`run`), the other end (`client`).

pub(crate) mod client;
mod desk;
mod protocol;
mod seats;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, getpid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::orphans;
pub(crate) use desk::{Call, Desk, Reply, Voice};
use protocol::{Answer, REQUEST_BYTES_MAX, Request};
pub(crate) use protocol::{
    Counts, Extent, Inbox, ListAsk, ParentEnd, Quorum, Said, Shape, SpawnAnswer, SpawnAsk, Until,
    Verb,
};
use seats::Seats;

/// Where a process finds the socket.
pub(crate) const SOCKET_VARIABLE: &str = "UNDERSTORY_SOCKET";
/// What proves which task it belongs to.
pub(crate) const TOKEN_VARIABLE: &str = "UNDERSTORY_TOKEN";

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the clients may take to hear the last answers of a run.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the directories of sockets are called, before their number.
const DIRECTORY_PREFIX: &str = "understory-";
/// The socket's name in its directory.
const SOCKET_NAME: &str = "run.sock";
/// Longest path of a socket on the systems we know.
const PATH_BYTES_MAX: usize = 100;

/// The socket of a run, open until it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    desk: Desk,
    /// Each request that is being answered has a receiver of it.
    talks: Arc<watch::Sender<()>>,
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
        let desk = Desk::new(path);
        let talks = Arc::new(watch::Sender::new(()));
        let server = tokio::spawn(serve(listener, desk.clone(), Arc::clone(&talks)));
        Ok(Self {
            desk,
            talks,
            server: server.abort_handle(),
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

    /// Lets those who wait for an answer hear it, for a short time.
    pub(crate) async fn say_goodbye(&self) {
        let _ = timeout(GOODBYE_PATIENCE, self.talks.closed()).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A new directory for this user only, removed when dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        // Half of a UUID is enough for a name: a directory that exists is refused anyway.
        let (number, _) = Uuid::new_v4().as_u64_pair();
        let path = std::env::temp_dir().join(format!("{DIRECTORY_PREFIX}{number:016x}"));
        if path.as_os_str().len() + SOCKET_NAME.len() + 1 > PATH_BYTES_MAX {
            let path = path.display();
            return Err(io::Error::other(format!(
                "{path} is too long; set TMPDIR to a shorter one"
            )));
        }
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            let path = path.display();
            let why = format!(
                "{path} cannot be made: {error}; set TMPDIR to a directory that is there and \
                 that you may write to"
            );
            io::Error::new(error.kind(), why)
        })?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure, and the socket in it is dead.
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn serve(listener: UnixListener, desk: Desk, talks: Arc<watch::Sender<()>>) {
    let seats = Seats::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let mut seat = seats.take(home(&stream));
                let (desk, talks) = (desk.clone(), Arc::clone(&talks));
                tokio::spawn(async move {
                    // A client that is too slow finds its connection closed.
                    let heard = tokio::select! {
                        biased;
                        heard = timeout(PATIENCE, hear(stream, &desk)) => heard,
                        () = seat.lost() => return,
                    };
                    drop(seat);
                    if let Ok(Ok(heard)) = heard {
                        let _talk = talks.subscribe();
                        // One that has gone needs no answer.
                        let _ = heard.answer().await;
                    }
                });
                // Whoever has spoken already is heard before another one takes a seat.
                yield_now().await;
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// What all processes of the client's task hang below; `None` outside of the run.
fn home(stream: &UnixStream) -> Option<Pid> {
    let peer = stream.peer_cred().ok()?.pid()?;
    orphans::branch(Pid::from_raw(peer)?, getpid())
}

/// A client that has said what it wants.
struct Heard {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    request: Result<(desk::Caller, Verb), String>,
}

/// Reads the one request of a client.
async fn hear(stream: UnixStream, desk: &Desk) -> io::Result<Heard> {
    let peer = stream.peer_cred()?.pid();
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let limit = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX);
    (&mut reader)
        .take(limit)
        .read_until(b'\n', &mut line)
        .await?;
    let request = match Request::parse(&String::from_utf8_lossy(&line)) {
        Ok(Request { token, ask, .. }) => {
            let caller = desk.identify(token.as_deref(), peer).await;
            caller.map(|caller| (caller, ask))
        }
        Err(reason) => Err(reason),
    };
    Ok(Heard {
        reader,
        writer,
        request,
    })
}

impl Heard {
    /// Has the request carried out and tells what comes of it, for as long as the client listens.
    async fn answer(mut self) -> io::Result<()> {
        let refusal = match self.request {
            Ok((caller, verb)) => {
                let over = caller.over();
                match caller.call(verb).await {
                    Ok((answers, _place)) => {
                        return converse(&mut self.reader, &mut self.writer, answers, &over).await;
                    }
                    Err(reason) => reason,
                }
            }
            Err(reason) => reason,
        };
        timeout(PATIENCE, say(&mut self.writer, Said::Refused(refusal))).await?
    }
}

async fn converse(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    mut answers: mpsc::Receiver<Said>,
    over: &str,
) -> io::Result<()> {
    let mut byte = [0];
    loop {
        tokio::select! {
            // What was said already goes out before the end of the client is looked for.
            biased;
            said = answers.recv() => match said {
                Some(said @ Said::Item(_)) => say(writer, said).await?,
                Some(last @ (Said::Done(_) | Said::Refused(_))) => return say(writer, last).await,
                None => return say(writer, Said::Refused(over.to_owned())).await,
            },
            // It hung up, or it speaks out of turn.
            _ = reader.read(&mut byte) => return Ok(()),
        }
    }
}

async fn say(writer: &mut OwnedWriteHalf, said: Said) -> io::Result<()> {
    writer.write_all(Answer::line(said).as_bytes()).await
}

#[cfg(test)]
mod tests;
