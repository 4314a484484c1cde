//! One attempt: call the work, poll the body, drop it, report.
//!
//! # Invariants
//! 1. The order is: body over or dropped, its failure judged, inbox closed if the end is final,
//!    report.
//! 2. A body that asked to be suspended and returned a value is suspended; another error wins.
//! 3. If the runner itself is dropped, it drops the body first and then reports it lost.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use super::failure::Failure;
use super::judge::{Classifier, judge};
use super::live::{BodyFuture, Live, Work};
use super::signal::Signal;
use super::unwind::{catch_call, catch_poll, dispose};
use crate::kernel::{End, Epoch, Fault, FaultKind, Payload};

/// A body's own word.
pub(crate) enum Verdict {
    /// It is done, with this value.
    Done(Payload),
    /// It failed.
    Failed(Failure),
}

/// Who hears how an attempt ended.
pub(crate) trait Reporter: Send + Sync {
    /// Takes the end of the attempt of this epoch, and how many messages nobody read.
    fn report(&self, live: &Live, epoch: Epoch, end: End, undelivered: u32);
}

/// One run of a body, as its maker sees it.
pub(crate) struct Attempt {
    pub(crate) live: Arc<Live>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) epoch: Epoch,
    pub(crate) number: u32,
    pub(crate) is_last: bool,
    /// What it was resumed with, if it was.
    pub(crate) resume: Option<Payload>,
    /// What it was suspended with before that.
    pub(crate) suspension: Option<Payload>,
    /// What the body left behind for the time it is suspended.
    pub(crate) wish: Wish,
    /// Whether its body can be called again.
    pub(crate) is_repeatable: bool,
}

/// What a body leaves behind: the wish to be suspended, of which the newest counts, or an operation
/// that goes on after it; and who judges its failures. Most leave nothing.
#[derive(Default)]
pub(crate) struct Wish(Mutex<Option<Box<Wishes>>>);

#[derive(Default)]
struct Wishes {
    suspension: Option<Payload>,
    adopted: Option<BodyFuture>,
    has_adopted: bool,
    classifiers: Vec<Classifier>,
}

impl Wish {
    /// Lets this classifier judge the failure of the attempt, beside others.
    pub(crate) fn judge_by(&self, classifier: Classifier) {
        self.change(|wishes| wishes.classifiers.push(classifier));
    }

    fn take_classifiers(&self) -> Vec<Classifier> {
        let mut wishes = self.lock();
        let wishes = wishes.as_mut();
        wishes.map_or_else(Vec::new, |wishes| std::mem::take(&mut wishes.classifiers))
    }

    pub(crate) fn make(&self, payload: Payload) {
        self.change(|wishes| wishes.suspension = Some(payload));
    }

    fn take(&self) -> Option<Payload> {
        self.lock().as_mut()?.suspension.take()
    }

    /// Takes an operation that the task shall end as; the first one of an attempt.
    pub(crate) fn adopt(&self, operation: BodyFuture) -> Result<(), BodyFuture> {
        self.change(|wishes| {
            if std::mem::replace(&mut wishes.has_adopted, true) {
                return Err(operation);
            }
            wishes.adopted = Some(operation);
            Ok(())
        })
    }

    fn take_adopted(&self) -> Option<BodyFuture> {
        self.lock().as_mut()?.adopted.take()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Wishes) -> T) -> T {
        change(self.lock().get_or_insert_default())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Wishes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs an attempt to its end and reports it.
///
/// It owns the body, so that however it ends, the body is dropped first and then reported.
pub(crate) struct Run {
    attempt: Arc<Attempt>,
    /// There until the report.
    reporter: Option<Arc<dyn Reporter>>,
    /// There from the first poll on.
    body: Option<BodyFuture>,
}

impl Future for Run {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let run = &mut *self;
        if run.body.is_none()
            && let Err(end) = run.begin()
        {
            run.finish(end);
            return Poll::Ready(());
        }
        let mut end = ready!(run.poll_body(cx));
        if matches!(end, End::Done(_))
            && let Some(adopted) = run.attempt.wish.take_adopted()
        {
            end = match run.body.replace(adopted).map_or(Ok(()), dispose) {
                Ok(()) => ready!(run.poll_body(cx)),
                Err(panic) => failed(FaultKind::Panic, panic),
            };
        }
        run.finish(end);
        Poll::Ready(())
    }
}

/// What the body's own word means, given that it may have asked to be suspended.
fn word(verdict: Verdict, wish: &Wish) -> End {
    match (verdict, wish.take()) {
        (Verdict::Done(value), None) => End::Done(value),
        (Verdict::Failed(failure), Some(payload)) if failure.is_suspension() => {
            End::Suspended(payload)
        }
        (Verdict::Done(_), Some(payload)) => End::Suspended(payload),
        (Verdict::Failed(failure), _) => End::Failed(failure.into_fault()),
    }
}

fn call(work: Work, attempt: Arc<Attempt>) -> Option<BodyFuture> {
    match work {
        Work::Once(make) => Some(make(attempt)),
        Work::Many(make) => Some(make(attempt)),
        Work::Callback(_) | Work::Spent => None,
    }
}

fn failed(kind: FaultKind, message: String) -> End {
    End::Failed(Fault {
        kind,
        message: message.into(),
    })
}

impl Run {
    pub(crate) const fn new(attempt: Arc<Attempt>, reporter: Arc<dyn Reporter>) -> Self {
        Self {
            attempt,
            reporter: Some(reporter),
            body: None,
        }
    }

    /// Makes the body.
    fn begin(&mut self) -> Result<(), End> {
        let attempt = Arc::clone(&self.attempt);
        let work = attempt.live.take_work();
        match catch_call(move || call(work, attempt)) {
            Ok(Some(body)) => self.body = Some(body),
            Ok(None) => {
                let why = "its closure can run only once".to_owned();
                return Err(failed(FaultKind::Lost, why));
            }
            Err(panic) => return Err(failed(FaultKind::Panic, panic)),
        }
        Ok(())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // Force comes first: a body that is always ready must not outrun it.
        if self.attempt.signal.poll_forced(cx).is_ready() {
            return Poll::Ready(End::Aborted);
        }
        let body = self.body.as_mut().expect("it was put there before");
        Poll::Ready(match ready!(catch_poll(body.as_mut(), cx)) {
            Ok(verdict) => word(verdict, &self.attempt.wish),
            Err(panic) => failed(FaultKind::Panic, panic),
        })
    }

    /// Drops the body and reports; a panic of its destructor turns the end into a failure.
    fn finish(&mut self, end: End) {
        let Some(reporter) = self.reporter.take() else {
            return;
        };
        let attempt = Arc::clone(&self.attempt);
        attempt.signal.over();
        let dropped = self.body.take().map_or(Ok(()), dispose);
        // What it adopted and nobody polls any more is cancelled by its own destructor.
        let adopted = attempt.wish.take_adopted().map_or(Ok(()), dispose);
        let dropped = dropped.and(adopted);
        // What a body left behind may say no more, also while another attempt is due.
        let is_newest = attempt.live.end(attempt.epoch);
        let end = match (dropped, end) {
            (Err(panic), End::Done(_) | End::Suspended(_)) => failed(FaultKind::Panic, panic),
            (_, end) => end,
        };
        let end = self.judged(end);
        // One that was left behind has nothing to do with the inbox of the next one.
        let undelivered = if is_newest && self.is_final(&end) {
            attempt.live.close_inbox()
        } else {
            // Who still receives for this attempt hears that it is over; the close tells it, too.
            attempt.live.inbox.stir();
            0
        };
        reporter.report(&attempt.live, attempt.epoch, end, undelivered);
    }

    /// The end, given what those say who know its meaning.
    fn judged(&self, end: End) -> End {
        let classifiers = self.attempt.wish.take_classifiers();
        if classifiers.is_empty() {
            return end;
        }
        let stop = self.attempt.signal.stop();
        let may_follow = stop.as_ref().is_none_or(|stop| stop.cause.allows_retry());
        let judged = if self.attempt.is_last || !may_follow {
            end
        } else {
            judge(end, stop.as_deref(), &self.attempt.live, &classifiers)
        };
        // What they hold is the user's, and may be dropped here for the last time.
        if let Err(panic) = dispose(classifiers) {
            let task = self.attempt.live.id;
            tracing::warn!(%task, panic, "what judges its failures panicked");
        }
        judged
    }

    /// Whether no attempt can follow that would read what is left in the inbox.
    fn is_final(&self, end: &End) -> bool {
        // After a timeout of one attempt another may follow; after any other stop none does.
        let stop = self.attempt.signal.stop();
        let is_cancelled = stop.is_some_and(|stop| !stop.cause.allows_retry());
        match end {
            End::Done(_) => self.attempt.live.spec.ends_with_value() || is_cancelled,
            End::Failed(fault) => match fault.kind {
                FaultKind::Permanent => true,
                // Its actors may be gone, too, and nobody would hear what was left.
                FaultKind::Lost => false,
                FaultKind::Error
                | FaultKind::Panic
                | FaultKind::Timeout
                | FaultKind::RestartedTooOften => self.attempt.is_last || is_cancelled,
            },
            End::Aborted => self.attempt.is_last || is_cancelled,
            End::Suspended(_) => false,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.reporter.is_some() {
            let why = "its manager ended before it did".to_owned();
            self.finish(failed(FaultKind::Lost, why));
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("task", &self.live.id)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wish")
    }
}
