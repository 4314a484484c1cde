//! Panics and hostile bodies stay at home.

mod hostile;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context as Waker, Poll};
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use understory::{
    Again, BoxFuture, Cancel, Context, Executor, Failure, FaultKind, Manager, Outcome, Retry,
    SpawnError, State, TaskBuilder, TaskHandle, TaskRef,
};

use crate::stage::{reaches, soon, until, until_cancelled};

/// Where it panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    ClosureCall,
    BodyPoll,
    BodyDrop,
    CapturedDrop,
    PayloadDrop,
    Serialize,
    Executor,
    DropOfNeverRun,
    Display,
}

const PLACES: [Place; 9] = [
    Place::ClosureCall,
    Place::BodyPoll,
    Place::BodyDrop,
    Place::CapturedDrop,
    Place::PayloadDrop,
    Place::Serialize,
    Place::Executor,
    Place::DropOfNeverRun,
    Place::Display,
];

/// When it panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Undisturbed,
    AfterCancelAsked,
    WithARetryLeft,
}

const MOMENTS: [Moment; 3] = [
    Moment::Undisturbed,
    Moment::AfterCancelAsked,
    Moment::WithARetryLeft,
];

const PLANNED: &str = "this panic is planned";

/// Keeps the panics of these tests, and no others, out of the output.
fn hush() {
    static HUSHED: Once = Once::new();
    fn is_planned(payload: &(dyn Any + Send)) -> bool {
        let literal = payload.downcast_ref::<&str>().copied();
        let made = payload.downcast_ref::<String>().map(String::as_str);
        payload.is::<Bomb>() || literal.or(made) == Some(PLANNED)
    }
    HUSHED.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !is_planned(info.payload()) {
                loud(info);
            }
        }));
    });
}

/// A value that panics when it is dropped, and counts that.
struct Bomb(Arc<AtomicU32>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("{PLANNED}");
    }
}

/// A value that panics when it is written or shown.
#[derive(Debug)]
struct Mine;

impl Serialize for Mine {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("{PLANNED}");
    }
}

impl fmt::Display for Mine {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("{PLANNED}");
    }
}

impl std::error::Error for Mine {}

/// A body that panics when it is dropped.
struct Trap {
    inner: BoxFuture<Result<(), Failure>>,
    _bomb: Bomb,
}

impl Future for Trap {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Waker<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

/// Waits for the moment to come, and blocks the thread as long, as closures cannot await.
fn block_until(moment: Moment, ctx: &Context) {
    tokio::task::block_in_place(|| {
        while moment == Moment::AfterCancelAsked && !ctx.is_cancelled() {
            std::thread::yield_now();
        }
    });
}

async fn comes(moment: Moment, ctx: &Context) {
    if moment == Moment::AfterCancelAsked {
        ctx.cancelled().await;
    }
}

/// An executor that panics before it gives a future.
struct Fails;

impl Executor for Fails {
    fn run(&self, ctx: Context, _: Value) -> BoxFuture<Result<Value, Failure>> {
        let is_awaited = ctx.name() == Some("AfterCancelAsked");
        let moments = [Moment::Undisturbed, Moment::AfterCancelAsked];
        block_until(moments[usize::from(is_awaited)], &ctx);
        panic!("{PLANNED}")
    }
}

/// Does nothing but hold on to a value.
fn keep(_: &Bomb) {}

/// A task whose body does `what` when the moment has come.
async fn body(
    task: TaskBuilder<Again>,
    moment: Moment,
    what: impl Fn() -> Result<(), Failure> + Send + Sync + 'static,
) -> Result<TaskHandle<()>, SpawnError> {
    let what = Arc::new(what);
    task.spawn(move |ctx| {
        let what = Arc::clone(&what);
        async move {
            comes(moment, &ctx).await;
            what()
        }
    })
    .await
}

/// Spawns the task that panics there and then.
async fn spawn(
    place: Place,
    moment: Moment,
    manager: &Manager,
    (other, bombs): (&TaskRef, &Arc<AtomicU32>),
) -> TaskRef {
    let bombs = Arc::clone(bombs);
    let retries = u32::from(moment == Moment::WithARetryLeft);
    let name = format!("{moment:?}");
    let task = manager.scope("s").task(&name).grace(Duration::from_mins(1));
    let task = task.retry(Retry::fixed(retries, Duration::ZERO));
    match place {
        Place::ClosureCall => {
            task.spawn(move |ctx| {
                block_until(moment, &ctx);
                assert!(ctx.name().is_none(), "{PLANNED}");
                until_cancelled(ctx)
            })
            .await
        }
        Place::BodyPoll => body(task, moment, || panic!("{PLANNED}")).await,
        Place::PayloadDrop => body(task, moment, move || panic_any(Bomb(Arc::clone(&bombs)))).await,
        Place::Display => body(task, moment, || Ok(Err(Mine)?)).await,
        Place::BodyDrop => {
            task.spawn(move |_| {
                let waits = moment == Moment::AfterCancelAsked;
                let inner: BoxFuture<_> = Box::pin(async move {
                    if waits {
                        std::future::pending::<()>().await;
                    }
                    Ok(())
                });
                Trap {
                    inner,
                    _bomb: Bomb(Arc::clone(&bombs)),
                }
            })
            .await
        }
        Place::CapturedDrop => {
            let bomb = Bomb(bombs);
            body(task, moment, move || {
                keep(&bomb);
                Ok(())
            })
            .await
        }
        Place::DropOfNeverRun => {
            let bomb = Bomb(bombs);
            let task = task.after([other.id()]);
            body(task, moment, move || {
                keep(&bomb);
                Ok(())
            })
            .await
        }
        Place::Serialize => {
            let spawned = task.spawn(move |ctx| async move {
                comes(moment, &ctx).await;
                Ok(Mine)
            });
            return spawned.await.unwrap().task();
        }
        Place::Executor => return task.spawn_kind("fails", 1).await.unwrap().task(),
    }
    .unwrap()
    .task()
}

/// What is promised of the task: its end, and how many attempts it took.
fn promised(place: Place, moment: Moment) -> (State, u32) {
    let runs_well = place == Place::CapturedDrop;
    match (place, moment) {
        (Place::DropOfNeverRun, _) => (State::Cancelled, 0),
        (_, Moment::AfterCancelAsked) => (State::Cancelled, 1),
        (_, Moment::Undisturbed | Moment::WithARetryLeft) if runs_well => (State::Completed, 1),
        (_, Moment::Undisturbed) => (State::Failed, 1),
        (_, Moment::WithARetryLeft) => (State::Failed, 2),
    }
}

async fn panics_at_home(place: Place, moment: Moment, manager: &Manager) {
    let scope = manager.scope("s");
    let sibling = scope
        .unnamed()
        .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) });
    let sibling = sibling.await.unwrap();
    let other = scope.unnamed().spawn(until_cancelled).await.unwrap();
    let bombs = Arc::new(AtomicU32::new(0));

    let task = spawn(place, moment, manager, (&other.task(), &bombs)).await;
    if place == Place::DropOfNeverRun {
        let target = if moment == Moment::AfterCancelAsked {
            &task
        } else {
            &*other
        };
        soon(target.cancel(Cancel::because("enough")))
            .await
            .unwrap();
    } else if moment == Moment::AfterCancelAsked {
        reaches(manager, task.id(), State::Running).await;
        let cancel = Cancel::because("enough");
        // This one never sees the request, so only force ends it.
        let is_forced = place == Place::BodyDrop;
        let grace = Duration::from_millis(if is_forced { 10 } else { 60_000 });
        soon(task.cancel(cancel.grace(grace))).await.unwrap();
    }

    let record = soon(task.settled()).await.unwrap();
    let ended = (record.state, record.attempt);
    assert_eq!(ended, promised(place, moment), "{place:?} {moment:?}");
    if let Some(Outcome::Failed(fault)) = record.outcome.as_deref() {
        assert_eq!(fault.kind, FaultKind::Panic);
        let is_text = place != Place::PayloadDrop;
        assert_eq!(&*fault.message == PLANNED, is_text, "{}", fault.message);
    }
    let has_bomb = match place {
        Place::BodyDrop | Place::CapturedDrop | Place::PayloadDrop | Place::DropOfNeverRun => true,
        Place::ClosureCall
        | Place::BodyPoll
        | Place::Serialize
        | Place::Executor
        | Place::Display => false,
    };
    if has_bomb {
        until(|| bombs.load(Ordering::SeqCst) == record.attempt.max(1)).await;
    }
    sibling.send("go on").await.unwrap();
    assert!(soon(sibling).await.unwrap());
    soon(other.cancel(Cancel::because("enough"))).await.unwrap();
    assert_eq!((manager.incarnation(), manager.live()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_panic_settles_its_own_task_and_nothing_else() {
    hush();
    let builder = Manager::builder().executor("fails", Fails);
    let manager = builder.build().unwrap();
    for place in PLACES {
        for moment in MOMENTS {
            panics_at_home(place, moment, &manager).await;
        }
    }
}
