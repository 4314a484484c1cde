//! One attempt: call the work, poll the body, drop it, report.
//!
//! # Invariants
//! 1. The order is: body over or dropped, its failure judged, inbox closed if the end is final,
//!    report.
//! 2. A body that asked to be suspended and returned a value is suspended; another error wins.
//! 3. If the runner itself is dropped, the drop of its guard drops the body first and then reports
//!    it lost.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::Failure;
use super::judge::{Classifier, judge};
use super::live::{BodyFuture, Live, Work};
use super::signal::Signal;
use super::unwind::{catch, catch_call, dispose};
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
#[derive(Clone)]
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
    pub(crate) wish: Arc<Wish>,
    /// Whether its body can be called again.
    pub(crate) is_repeatable: bool,
}

/// What a body leaves behind: the wish to be suspended, of which the newest counts, or an operation
/// that goes on after it; and who judges its failures.
#[derive(Default)]
pub(crate) struct Wish(Mutex<Wishes>);

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
        self.lock().classifiers.push(classifier);
    }

    fn take_classifiers(&self) -> Vec<Classifier> {
        std::mem::take(&mut self.lock().classifiers)
    }

    pub(crate) fn make(&self, payload: Payload) {
        self.lock().suspension = Some(payload);
    }

    fn take(&self) -> Option<Payload> {
        self.lock().suspension.take()
    }

    /// Takes an operation that the task shall end as; the first one of an attempt.
    pub(crate) fn adopt(&self, operation: BodyFuture) -> Result<(), BodyFuture> {
        let mut wishes = self.lock();
        if std::mem::replace(&mut wishes.has_adopted, true) {
            return Err(operation);
        }
        wishes.adopted = Some(operation);
        Ok(())
    }

    fn take_adopted(&self) -> Option<BodyFuture> {
        self.lock().adopted.take()
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs an attempt to its end and reports it.
pub(crate) async fn run(mut attempt: Attempt, reporter: Arc<dyn Reporter>) {
    let mut guard = Guard::new(&attempt, reporter);
    let (signal, wish) = (Arc::clone(&attempt.signal), Arc::clone(&attempt.wish));
    let work = attempt.live.take_work();
    attempt.is_repeatable = matches!(work, Work::Many(_));
    match catch_call(move || call(work, attempt)) {
        Ok(Some(body)) => guard.body = Some(body),
        Ok(None) => {
            guard.finish(failed(
                FaultKind::Lost,
                "its closure can run only once".to_owned(),
            ));
            return;
        }
        Err(panic) => {
            guard.finish(failed(FaultKind::Panic, panic));
            return;
        }
    }
    let mut end = guard.poll(&signal, &wish).await;
    if matches!(end, End::Done(_))
        && let Some(adopted) = wish.take_adopted()
    {
        end = match guard.body.replace(adopted).map_or(Ok(()), dispose) {
            Ok(()) => guard.poll(&signal, &wish).await,
            Err(panic) => failed(FaultKind::Panic, panic),
        };
    }
    guard.finish(end);
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

/// Reports an attempt that could not even begin.
pub(crate) fn lost(attempt: &Attempt, reporter: &dyn Reporter, why: &str) {
    let end = failed(FaultKind::Lost, why.to_owned());
    reporter.report(&attempt.live, attempt.epoch, end, 0);
}

fn call(work: Work, attempt: Attempt) -> Option<BodyFuture> {
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

/// Owns the body, so that however the runner ends, the body is dropped first and then reported.
struct Guard {
    body: Option<BodyFuture>,
    live: Arc<Live>,
    signal: Arc<Signal>,
    epoch: Epoch,
    is_last: bool,
    wish: Arc<Wish>,
    reporter: Option<Arc<dyn Reporter>>,
}

impl Guard {
    fn new(attempt: &Attempt, reporter: Arc<dyn Reporter>) -> Self {
        let (live, signal) = (Arc::clone(&attempt.live), Arc::clone(&attempt.signal));
        let (epoch, is_last) = (attempt.epoch, attempt.is_last);
        Self {
            body: None,
            live,
            signal,
            epoch,
            is_last,
            wish: Arc::clone(&attempt.wish),
            reporter: Some(reporter),
        }
    }

    /// Polls what is to be run, to its end or until force comes.
    async fn poll(&mut self, signal: &Signal, wish: &Wish) -> End {
        let body = self.body.as_mut().expect("it was put there before");
        tokio::select! {
            biased;
            // Force comes first: a body that is always ready must not outrun it.
            () = signal.forced() => End::Aborted,
            verdict = catch(body.as_mut()) => match verdict {
                Ok(verdict) => word(verdict, wish),
                Err(panic) => failed(FaultKind::Panic, panic),
            },
        }
    }

    /// Drops the body and reports; a panic of its destructor turns the end into a failure.
    fn finish(&mut self, end: End) {
        let Some(reporter) = self.reporter.take() else {
            return;
        };
        let dropped = self.body.take().map_or(Ok(()), dispose);
        // What it adopted and nobody polls any more is cancelled by its own destructor.
        let adopted = self.wish.take_adopted().map_or(Ok(()), dispose);
        let dropped = dropped.and(adopted);
        // What a body left behind may say no more, also while another attempt is due.
        self.live.end(self.epoch);
        let end = match (dropped, end) {
            (Err(panic), End::Done(_) | End::Suspended(_)) => failed(FaultKind::Panic, panic),
            (_, end) => end,
        };
        let end = self.judged(end);
        let undelivered = if self.is_final(&end) {
            self.live.close_inbox()
        } else {
            0
        };
        reporter.report(&self.live, self.epoch, end, undelivered);
    }

    /// The end, given what those say who know its meaning.
    fn judged(&self, end: End) -> End {
        let classifiers = self.wish.take_classifiers();
        let stop = self.signal.stop();
        let may_follow = stop.as_ref().is_none_or(|stop| stop.cause.allows_retry());
        if classifiers.is_empty() {
            return end;
        }
        let judged = if self.is_last || !may_follow {
            end
        } else {
            judge(end, stop.as_deref(), &self.live, &classifiers)
        };
        // What they hold is the user's, and may be dropped here for the last time.
        if let Err(panic) = dispose(classifiers) {
            tracing::warn!(task = %self.live.id, panic, "what judges its failures panicked");
        }
        judged
    }

    /// Whether no attempt can follow that would read what is left in the inbox.
    fn is_final(&self, end: &End) -> bool {
        // After a timeout of one attempt another may follow; after any other stop none does.
        let stop = self.signal.stop();
        let is_cancelled = stop.is_some_and(|stop| !stop.cause.allows_retry());
        match end {
            End::Done(_) => self.live.spec.ends_with_value() || is_cancelled,
            End::Failed(fault) => match fault.kind {
                FaultKind::Permanent => true,
                // Its actors may be gone, too, and nobody would hear what was left.
                FaultKind::Lost => false,
                FaultKind::Error
                | FaultKind::Panic
                | FaultKind::Timeout
                | FaultKind::RestartedTooOften => self.is_last || is_cancelled,
            },
            End::Aborted => self.is_last || is_cancelled,
            End::Suspended(_) => false,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish(failed(
            FaultKind::Lost,
            "its actor ended before it did".to_owned(),
        ));
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
