//! The requests of a person or the system to end the run.
//!
//! # Invariants
//! 1. They are heard whatever else goes on, also while nobody reads our output and the screen is
//!    stuck.
//! 2. The first asks every task to stop and lets it have its grace; none is accepted after it. The
//!    second kills all processes,
//!    and the run is left even if the screen stays stuck.
//!
//! *Not here*: stopping one process (`body`).

use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use understory::{Cancel, Manager};

use super::doors::Doors;
use super::{CODE_CANCELLED, LEAVE_PATIENCE};
use crate::process::Keeper;

/// How long the screen may take to show the end of a run that was killed.
const SCREEN_PATIENCE: Duration = Duration::from_secs(1);
/// The places of SIGHUP and SIGINT, 1 and 2, in a mask of signals.
const HANGUP_BIT: u64 = 1;
const INTERRUPT_BIT: u64 = 1 << 1;
/// Words for the screen that wait for it: one for each request.
const WORDS_MAX: usize = 2;

/// What it takes to end a run.
pub(super) struct Stopper {
    pub(super) manager: Manager,
    pub(super) keeper: Arc<Keeper>,
    pub(super) doors: Arc<Doors>,
    /// Removed when the run is left at once.
    pub(super) socket_directory: PathBuf,
}

/// What the run hears of requests to stop.
pub(super) struct StopRequests {
    pub(super) words: mpsc::Receiver<&'static str>,
    was_asked: Arc<AtomicBool>,
}

impl StopRequests {
    /// Whether a stop was ever asked for.
    pub(super) fn any(&self) -> bool {
        self.was_asked.load(Ordering::Acquire)
    }
}

impl Stopper {
    /// Begins to listen to the signals.
    pub(super) fn listen(self, signals: Signals) -> StopRequests {
        let (sender, words) = mpsc::channel(WORDS_MAX);
        let was_asked = Arc::new(AtomicBool::new(false));
        tokio::spawn(self.attend(signals, sender, Arc::clone(&was_asked)));
        StopRequests { words, was_asked }
    }

    async fn attend(
        self,
        mut signals: Signals,
        words: mpsc::Sender<&'static str>,
        was_asked: Arc<AtomicBool>,
    ) {
        signals.recv().await;
        was_asked.store(true, Ordering::Release);
        // The channel has room for both words; without a screen nobody needs them.
        let _ = words.try_send("stopping: all tasks are asked to end; once more kills them");
        let (manager, doors) = (self.manager.clone(), Arc::clone(&self.doors));
        tokio::spawn(async move {
            *doors.hold().await = false;
            // What becomes of each task is told by its events.
            drop(
                manager
                    .cancel_all(Cancel::because("cancelled by the user"))
                    .await,
            );
        });
        signals.recv().await;
        let _ = words.try_send("killing all tasks");
        self.keeper.kill_all();
        let _ = timeout(LEAVE_PATIENCE, self.keeper.all_ended()).await;
        sleep(SCREEN_PATIENCE).await;
        // The screen is stuck, or else the run would have ended by now.
        let _ = std::fs::remove_dir_all(&self.socket_directory);
        exit(CODE_CANCELLED.into());
    }
}

/// The signals that ask for an end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Not listened to when we were started by `nohup`.
    hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_hangup_ignored() {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
        })
    }

    async fn recv(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }
}

/// Whether whoever started us asked that a hangup be ignored. Only Linux tells.
fn is_hangup_ignored() -> bool {
    mask("SigIgn:") & HANGUP_BIT != 0
}

/// What is said when whoever started us has blocked Ctrl-C: it is never heard then.
pub(super) fn unheard() -> Option<&'static str> {
    (mask("SigBlk:") & INTERRUPT_BIT != 0).then_some(
        "SIGINT is blocked by what started this run, and does not stop it; \
         `understory cancel` does",
    )
}

/// The signals that Linux names so, of this thread; none elsewhere.
fn mask(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(name));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default()
}
