//! Bodies that block, refuse to end, or act while they are dropped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use understory::kernel::Refusal;
use understory::{
    Cancel, Context, Failure, FaultKind, Manager, SpawnError, State, TaskHandle, WaitError, What,
};

use super::{Bomb, PLANNED, hush};
use crate::stage::{feed_of, for_ever, reaches, sees, settle_down, soon, until_cancelled};

fn at_once() -> Cancel {
    Cancel::because("enough").grace(Duration::ZERO)
}

/// What blocks the thread of a body until the test lets go.
struct Block {
    begun: oneshot::Sender<()>,
    released: mpsc::Receiver<()>,
}

impl Block {
    fn here(self) -> Result<(), Failure> {
        self.begun.send(()).unwrap();
        self.released.recv().map_err(Into::into)
    }
}

/// A task whose body is to block its thread.
struct Stuck {
    manager: Manager,
    task: TaskHandle<()>,
    has_begun: oneshot::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl Stuck {
    async fn spawn<F>(body: impl FnOnce(Context, Block) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let builder = Manager::builder().abort_window(Duration::from_millis(10));
        let manager = builder.build().unwrap();
        let (release, released) = mpsc::channel();
        let (begun, has_begun) = oneshot::channel();
        let block = Block { begun, released };
        let task = manager.scope("s").task("stuck");
        let task = task.spawn(|ctx| body(ctx, block)).await.unwrap();
        Self {
            manager,
            task,
            has_begun,
            release,
        }
    }

    /// Abandons the body once it blocks.
    async fn is_abandoned(&mut self) {
        soon(&mut self.has_begun).await.unwrap();
        let report = soon(self.task.cancel_tree(at_once())).await.unwrap();
        assert_eq!(report.abandoned, [self.task.id()]);
    }

    /// Lets go of the body.
    async fn stops(self) {
        self.release.send(()).unwrap();
        let mut feed = feed_of(&self.manager, self.task.id()).await;
        sees(&mut feed, |event| event.what == What::BodyStopped).await;
        assert_eq!(self.task.state(), Some(State::Cancelled));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_that_blocks_its_thread_is_abandoned_and_delays_nobody() {
    let body = |_, block: Block| async { tokio::task::block_in_place(|| block.here()) };
    let mut stuck = Stuck::spawn(body).await;

    stuck.is_abandoned().await;
    let other = stuck.manager.scope("s").task("other");
    let other = other.spawn(|_| async { Ok(1) }).await.unwrap();
    assert_eq!(soon(other).await.unwrap(), 1);

    stuck.stops().await;
}

/// What a body tells wakes the manager on the body's own thread, which the body then blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_that_blocks_right_after_it_told_something_delays_nobody() {
    let (go, may_go) = oneshot::channel();
    let body = |ctx: Context, block: Block| async move {
        may_go.await?;
        ctx.progress(1).await?;
        block.here()
    };
    let mut stuck = Stuck::spawn(body).await;
    reaches(&stuck.manager, stuck.task.id(), State::Running).await;
    // Until the manager sleeps.
    settle_down().await;
    go.send(()).unwrap();

    stuck.is_abandoned().await;

    stuck.stops().await;
}

#[tokio::test]
async fn closure_that_is_called_once_may_panic_in_its_call() {
    hush();
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| {
        assert!(ctx.name().is_none(), "{PLANNED}");
        for_ever(ctx)
    });

    let ended = soon(task.await.unwrap()).await;

    let Err(WaitError::Failed { fault, .. }) = ended else {
        panic!("it panicked, but: {ended:?}");
    };
    assert_eq!((fault.kind, &*fault.message), (FaultKind::Panic, PLANNED));
    assert_eq!(manager.incarnation(), 1);
}

#[tokio::test]
async fn body_that_is_always_busy_yields_to_force() {
    let builder = Manager::builder().abort_window(Duration::from_mins(1));
    let manager = builder.build().unwrap();
    let task = manager.scope("s").task("busy").spawn(|_| async {
        loop {
            tokio::task::yield_now().await;
        }
        #[allow(unreachable_code, reason = "it says what the body would return")]
        Ok(())
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;

    let report = soon(task.cancel(at_once())).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
}

/// Asks for a child when it is dropped, and tells what came of that.
struct LastWish(Context, Option<oneshot::Sender<Result<(), SpawnError>>>);

impl Drop for LastWish {
    fn drop(&mut self) {
        let (ctx, told) = (self.0.clone(), self.1.take().unwrap());
        tokio::runtime::Handle::current().spawn(async move {
            let child = ctx.task("child").spawn(for_ever).await;
            told.send(child.map(drop)).unwrap();
        });
    }
}

#[tokio::test]
async fn child_that_a_body_asks_for_while_it_is_dropped_is_refused() {
    let manager = Manager::in_memory();
    for ignores in [true, false] {
        let (tell, told) = oneshot::channel();
        let task = manager.scope("s").task("t").spawn(move |ctx| async move {
            let _wish = LastWish(ctx.clone(), Some(tell));
            if ignores {
                for_ever(ctx).await
            } else {
                until_cancelled(ctx).await
            }
        });
        let task = task.await.unwrap();
        reaches(&manager, task.id(), State::Running).await;

        soon(task.cancel_tree(at_once())).await.unwrap();

        let refused = soon(told).await.unwrap();
        assert!(
            matches!(
                refused,
                Err(SpawnError::Refused(
                    Refusal::ParentClosing(_) | Refusal::Stale
                ))
            ),
            "{refused:?}"
        );
        assert_eq!(manager.live(), 0);
    }
}

#[tokio::test]
async fn work_of_a_refused_task_may_panic_when_it_is_dropped() {
    hush();
    let manager = Manager::in_memory();
    let holder = manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let (bomb, told) = (Bomb(Arc::default()), oneshot::channel::<()>());
    let held = told.0;

    let refused = manager.scope("s").task("t").spawn(move |_| async move {
        let _held = (held, bomb);
        Ok(())
    });

    assert!(refused.await.is_err());
    // Its work was dropped, and nobody minded.
    assert!(soon(told.1).await.is_err());
    soon(holder.cancel(at_once())).await.unwrap();
    assert_eq!(manager.incarnation(), 1);
}

#[test]
fn dead_runtime_leaves_no_work_behind_and_no_one_waiting() {
    hush();
    let drops = Arc::new(AtomicU32::new(0));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let (manager, never) = runtime.block_on(async {
        let manager = Manager::in_memory();
        let scope = manager.scope("s");
        let first = scope.task("first").spawn(for_ever).await.unwrap();
        let held = || {
            let bomb = Bomb(Arc::clone(&drops));
            move |_| async move {
                let _held = bomb;
                Ok(())
            }
        };
        let never = scope.task("never").after([first.id()]);
        let never = never.spawn(held()).await.unwrap();
        // Nobody decides about this one any more, nor waits for the answer.
        tokio::select! {
            biased;
            _ = scope.task("forgotten").spawn(held()) => panic!("it is not decided at once"),
            () = std::future::ready(()) => {}
        }
        (manager, never)
    });

    drop(runtime);

    // Who waits elsewhere is told, as is who asks for more.
    let elsewhere = tokio::runtime::Runtime::new().unwrap();
    let waited = elsewhere.block_on(soon(never.settled()));
    assert!(matches!(waited, Err(WaitError::Gone(id)) if id == never.id()));
    let asked = elsewhere.block_on(soon(manager.scope("s").task("t").spawn(for_ever)));
    assert!(matches!(asked, Err(SpawnError::Unavailable(_))));
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}
