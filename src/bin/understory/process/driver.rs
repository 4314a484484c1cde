//! The task that talks to one shim from its start to its end.
//!
//! # Invariants
//! 1. The end is told once, after the shim has ended; what a killed shim left is dead by then.
//! 2. A kill is obeyed at once, whatever is still to be written; a shim that does not obey is
//!    killed itself after [`KILL_PATIENCE`]. To terminate goes before input that waits.
//!
//! *Not here*: starting it, reading its output (`process`).

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Ended;
use super::keeper::ShimChild;
use crate::wire::{Decoder, INPUT_WINDOW, Order, Report};

/// How long a shim may take to kill everything before it is killed itself.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// How many bytes of input may be on their way.
#[derive(Clone, Debug)]
pub(super) struct Window(Arc<Semaphore>);

impl Window {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(INPUT_WINDOW)))
    }

    /// Waits for room for so many bytes, at most one frame.
    pub(super) async fn take(&self, bytes: usize) -> io::Result<()> {
        let count = u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let permit = self.0.acquire_many(count).await;
        permit.map_err(|_| io::ErrorKind::BrokenPipe)?.forget();
        Ok(())
    }

    fn give_back(&self, bytes: u32) {
        self.0.add_permits(usize::try_from(bytes).unwrap_or(0));
    }

    fn close(&self) {
        self.0.close();
    }
}

pub(super) struct Driver {
    pub(super) child: ShimChild,
    pub(super) control: UnixStream,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) window: Window,
    pub(super) terminate: CancellationToken,
    pub(super) kill: CancellationToken,
}

impl Driver {
    pub(super) async fn drive(self, ended: watch::Sender<Option<Ended>>) {
        let Self {
            mut child,
            control,
            orders,
            window,
            terminate,
            kill,
        } = self;
        let (mut reader, writer) = control.into_split();
        let mut reports = Reports { window, last: None };
        let mut pen = Pen {
            writer: Some(writer),
            orders,
            bytes: Vec::new(),
        };
        let mut deadline = None;
        let mut is_terminated = false;
        let mut decoder = Decoder::default();
        let mut bytes = vec![0; 4 << 10];
        loop {
            // Stops first, then what the shim says, then what it is told.
            tokio::select! {
                biased;
                () = kill.cancelled(), if deadline.is_none() => deadline = Some(pen.lay_down()),
                () = patience_over(deadline) => break,
                () = terminate.cancelled(), if !is_terminated => {
                    is_terminated = true;
                    pen.insert(&Order::Terminate);
                }
                read = reader.read(&mut bytes) => {
                    let Ok(count @ 1..) = read else { break };
                    decoder.push(&bytes[..count]);
                    if reports.take_from(&mut decoder).is_err() {
                        break;
                    }
                }
                () = pen.write() => {}
            }
        }
        reports.window.close();
        // A shim that has nothing more to say ends by itself; one that talks nonsense is killed.
        let deadline = deadline.unwrap_or_else(|| pen.lay_down());
        tokio::select! {
            biased;
            _ = child.wait() => {}
            () = patience_over(Some(deadline)) => {
                child.kill();
                let _ = child.wait().await;
            }
        }
        if reports.last.is_none() {
            child.end_orphans().await;
        }
        drop(child);
        ended.send_replace(Some(reports.last.unwrap_or(Ended::Unknown)));
    }
}

async fn patience_over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// What the shim has said so far.
struct Reports {
    window: Window,
    last: Option<Ended>,
}

impl Reports {
    fn take_from(&mut self, decoder: &mut Decoder) -> io::Result<()> {
        while let Some((tag, payload)) = decoder.next_frame()? {
            match Report::decode(tag, &payload)? {
                Report::Taken(bytes) => self.window.give_back(bytes),
                Report::InputGone => self.window.close(),
                Report::NotStarted { reason, is_final } => {
                    self.last = Some(Ended::NotStarted { reason, is_final });
                }
                Report::Ended(exit) => self.last = Some(Ended::Exit(exit)),
            }
        }
        Ok(())
    }
}

/// The writing half of the stream.
struct Pen {
    writer: Option<OwnedWriteHalf>,
    orders: mpsc::Receiver<Order>,
    /// What is left to write of the order at hand.
    bytes: Vec<u8>,
}

impl Pen {
    /// Ends the stream, which is the order to kill, and tells when the shim must be gone.
    fn lay_down(&mut self) -> Instant {
        self.writer = None;
        Instant::now() + KILL_PATIENCE
    }

    /// Puts an order before all that wait.
    fn insert(&mut self, order: &Order) {
        self.bytes.extend(order.encode());
    }

    /// Writes one portion of the order at hand, or takes the next.
    async fn write(&mut self) {
        let Some(writer) = &mut self.writer else {
            return pending().await;
        };
        if self.bytes.is_empty() {
            match self.orders.recv().await {
                Some(order) => self.bytes = order.encode(),
                None => pending().await,
            }
        }
        match writer.write(&self.bytes).await {
            Ok(count) => drop(self.bytes.drain(..count)),
            // The reading half tells what became of the shim.
            Err(_) => self.writer = None,
        }
    }
}
