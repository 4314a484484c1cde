//! The request to stop as one body sees it: none, asked, or to be dropped by force.
//!
//! # Invariants
//! 1. The level only rises within one epoch.
//! 2. Everybody who waits is woken after the level was raised, so no wake-up is lost: a waiter
//!    registers before it looks.
//! 3. An interrupt stays until it is taken, by one taker; the newest one counts.
//! 4. One waits for force: whoever runs the body. The signal keeps nothing of it beyond its end.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::kernel::{Interrupt, Stop};

/// The stop signal of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    asked: AtomicBool,
    forced: AtomicBool,
    /// Request and token under one lock: neither can miss the other.
    request: Mutex<Request>,
    raised: Notify,
}

#[derive(Debug, Default)]
struct Request {
    stop: Option<Arc<Stop>>,
    interrupt: Option<Arc<Interrupt>>,
    /// A view for code that wants a token; made when somebody asks for it.
    token: Option<CancellationToken>,
    /// Woken by force.
    runner: Option<Waker>,
}

impl Signal {
    /// Asks the body to stop. A later request replaces the reason.
    pub(crate) fn ask(&self, stop: Arc<Stop>) {
        let token = {
            let mut request = self.request();
            request.stop = Some(stop);
            self.asked.store(true, Ordering::Release);
            request.token.clone()
        };
        if let Some(token) = token {
            token.cancel();
        }
        self.raised.notify_waiters();
    }

    /// Tells the runner to drop the body.
    pub(crate) fn force(&self) {
        self.forced.store(true, Ordering::Release);
        let runner = self.request().runner.take();
        if let Some(runner) = runner {
            runner.wake();
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Why the body shall stop.
    pub(crate) fn stop(&self) -> Option<Arc<Stop>> {
        self.request().stop.clone()
    }

    /// Waits until the body is asked to stop.
    pub(crate) async fn asked(&self) -> Arc<Stop> {
        loop {
            let raised = self.raised.notified();
            tokio::pin!(raised);
            raised.as_mut().enable();
            if let Some(stop) = self.stop() {
                return stop;
            }
            raised.await;
        }
    }

    /// Interrupts the body; a later interrupt replaces one that was not taken.
    pub(crate) fn interrupt(&self, interrupt: Arc<Interrupt>) {
        self.request().interrupt = Some(interrupt);
        self.raised.notify_waiters();
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.request().interrupt.is_some()
    }

    /// Waits until the body is interrupted, and takes the interrupt.
    pub(crate) async fn interrupted(&self) -> Arc<Interrupt> {
        loop {
            let raised = self.raised.notified();
            tokio::pin!(raised);
            raised.as_mut().enable();
            if let Some(interrupt) = self.request().interrupt.take() {
                return interrupt;
            }
            raised.await;
        }
    }

    /// Waits until the body shall be dropped.
    pub(crate) async fn forced(&self) {
        poll_fn(|cx| self.poll_forced(cx)).await;
    }

    /// Whether the body shall be dropped; if not, who asked last is woken when it shall.
    pub(super) fn poll_forced(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_forced() {
            let mut request = self.request();
            match &mut request.runner {
                Some(runner) => runner.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        // Looked at after the waker is there: force looks for it after it was set.
        if self.is_forced() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Nobody waits for force any more.
    pub(super) fn over(&self) {
        self.request().runner = None;
    }

    fn is_forced(&self) -> bool {
        self.forced.load(Ordering::Acquire)
    }

    /// The request to stop as a token, cancelled when it is made.
    pub(crate) fn token(&self) -> CancellationToken {
        let mut request = self.request();
        let token = request.token.get_or_insert_default().clone();
        let is_asked = request.stop.is_some();
        drop(request);
        if is_asked {
            token.cancel();
        }
        token
    }

    fn request(&self) -> MutexGuard<'_, Request> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
