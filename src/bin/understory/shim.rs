//! The shim: the small process between understory and one command, which never leaves anything
//! behind.
//!
//! It begins a session of its own, without the terminal of the run: a Ctrl-C there is for
//! understory to interpret, and nothing that the command starts can write past its screen or wait
//! for somebody to type. It starts the command in a process group of its own, feeds its standard
//! input, and ends with it.
//! Standard output and error are inherited by the command, so they go straight to understory.
//!
//! # Invariants
//! 1. When the shim exits, nothing that the command started runs any more: on Linux it adopts
//!    whatever is orphaned below it and leaves only when the kernel says that it has no child left.
//! 2. The end of the control stream, for whatever reason, is an order to kill. So the death of
//!    understory by SIGKILL ends the command too.
//! 3. Orders are read whatever the command does: what it has not read from its standard input is
//!    bounded by the window that understory keeps to ([`INPUT_WINDOW`]).
//! 4. The group is signaled only while its leader is not reaped, so its number is still its own.
//!
//! What this does not cover: processes started on behalf of the command by others (a container
//! daemon, cron, a service manager); processes of another user (`sudo`), which only they or root
//! may kill, so the shim waits for them; a shim killed together with understory. On Unix systems
//! other than Linux nobody adopts orphans: there only the process group is ended.
//!
//! *Not here*: what understory does at its end of the stream (`process`).

mod ends;
mod family;
mod input;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::orphans;
use crate::wire::{Decoder, Exit, INPUT_WINDOW, Order, Report};
use ends::Ends;
use family::Family;
use input::Input;

/// Exit code of the shim when it could not do its work.
const CODE_FAILED: u8 = 125;
/// Exit code when the command could not be started, as shells have it.
const CODE_NOT_STARTED: u8 = 127;
/// Added to the number of the signal that ended the command, as shells have it.
const CODE_SIGNAL: i32 = 128;

/// Runs a command to its end and returns the exit code for it.
pub(crate) fn run(command: &[OsString]) -> u8 {
    // Refused only to the leader of a group, which a shim of understory is not.
    let _ = rustix::process::setsid();
    let supervised = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(supervise(command)));
    supervised.unwrap_or(CODE_FAILED)
}

/// The control stream to understory, which is the shim's standard input.
fn control() -> io::Result<UnixStream> {
    let stream = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn supervise(command: &[OsString]) -> io::Result<u8> {
    let mut control = control()?;
    orphans::adopt()?;
    let mut ends = Ends::listen()?;
    let mut stops = Stops::listen()?;
    let (family, input) = match start(command) {
        Ok(started) => started,
        Err(error) => {
            let report = Report::NotStarted {
                reason: error.to_string(),
                is_final: is_final(&error),
            };
            control.write_all(&report.encode()).await?;
            return Ok(CODE_NOT_STARTED);
        }
    };
    ends.watch(family.leader());
    let family = relay(&mut control, &mut ends, &mut stops, (family, input)).await;
    let exit = family.end(ends.signal()).await;
    // Understory may be gone; then nobody needs to know.
    let _ = control.write_all(&Report::Ended(exit).encode()).await;
    let code = match exit {
        Exit::Code(code) => code,
        Exit::Signal(number) => CODE_SIGNAL + number,
    };
    Ok(u8::try_from(code).unwrap_or(CODE_FAILED))
}

/// Whether a command that could not be started is as it should not be, rather than that something
/// is busy or short at the moment.
fn is_final(error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(
            Errno::NOENT
            | Errno::ACCESS
            | Errno::PERM
            | Errno::NOEXEC
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::TOOBIG
            | Errno::INVAL,
        )
        | None => true,
        Some(_) => false,
    }
}

fn start(command: &[OsString]) -> io::Result<(Family, Input)> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::piped())
        .spawn()?;
    let family = Family::of(&child);
    let input = Input::new(child.stdin.take());
    match input {
        Ok(input) => Ok((family, input)),
        Err(error) => {
            family.kill_group();
            Err(error)
        }
    }
}

/// Carries orders out until the command has ended or is to be killed.
async fn relay(
    control: &mut UnixStream,
    ends: &mut Ends,
    stops: &mut Stops,
    (mut family, mut input): (Family, Input),
) -> Family {
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; 8 << 10];
    loop {
        // Orders first: nothing that the command does may hold a kill back.
        tokio::select! {
            biased;
            read = control.read(&mut bytes) => {
                let Ok(count @ 1..) = read else { break };
                decoder.push(&bytes[..count]);
                if obey(&mut decoder, &mut family, &mut input).is_err() {
                    break;
                }
            }
            () = stops.recv() => family.terminate(),
            () = ends.recv() => {
                if family.has_ended() {
                    break;
                }
            }
            () = input.ready() => {
                let report = input.feed();
                if control.write_all(&report.encode()).await.is_err() {
                    break;
                }
            }
        }
    }
    family
}

/// Carries out the orders that have arrived whole.
fn obey(decoder: &mut Decoder, family: &mut Family, input: &mut Input) -> io::Result<()> {
    while let Some((tag, payload)) = decoder.next_frame()? {
        match Order::decode(tag, &payload)? {
            Order::Input(bytes) => input.push(&bytes),
            Order::CloseInput => input.close(),
            Order::Terminate => family.terminate(),
        }
        if input.pending() > INPUT_WINDOW {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

/// The signals by which somebody asks the shim itself to stop.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Stops {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
