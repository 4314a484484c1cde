//! The request to stop as one body sees it: none, asked, or to be dropped by force.
//!
//! # Invariants
//! 1. The level only rises within one epoch.
//! 2. Everybody who waits is woken after the level was raised, so no wake-up is lost: a waiter
//!    registers before it looks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::kernel::Stop;

/// The stop signal of one task.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    asked: AtomicBool,
    forced: AtomicBool,
    stop: Mutex<Option<Arc<Stop>>>,
    raised: Notify,
    /// A view for code that wants a token; made when somebody asks for it.
    token: OnceLock<CancellationToken>,
}

impl Signal {
    /// Asks the body to stop. A later request replaces the reason.
    pub(crate) fn ask(&self, stop: Arc<Stop>) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
        self.asked.store(true, Ordering::Release);
        if let Some(token) = self.token.get() {
            token.cancel();
        }
        self.raised.notify_waiters();
    }

    /// Tells the runner to drop the body.
    pub(crate) fn force(&self) {
        self.forced.store(true, Ordering::Release);
        self.raised.notify_waiters();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Why the body shall stop.
    pub(crate) fn stop(&self) -> Option<Arc<Stop>> {
        self.stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

    /// Waits until the body shall be dropped.
    pub(super) async fn forced(&self) {
        loop {
            let raised = self.raised.notified();
            tokio::pin!(raised);
            raised.as_mut().enable();
            if self.forced.load(Ordering::Acquire) {
                return;
            }
            raised.await;
        }
    }

    /// The request to stop as a token, cancelled when it is made.
    pub(crate) fn token(&self) -> CancellationToken {
        let token = self.token.get_or_init(CancellationToken::new).clone();
        // The request may have come between the two lines above it and this one.
        if self.is_asked() {
            token.cancel();
        }
        token
    }

    /// Whether there is neither a request nor force yet.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.is_asked() && !self.forced.load(Ordering::Acquire)
    }
}
