//! Threads outside of the runtime in which the manager runs.

use std::pin::pin;
use std::sync::Arc;
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use understory::{BuildError, Cancel, Manager, SpawnError, State, TaskHandle};

use crate::stage::until_cancelled;

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// A manager that runs in a runtime, and a task of it.
fn begun() -> (Runtime, Manager, TaskHandle<()>) {
    let runtime = runtime();
    let (manager, task) = runtime.block_on(async {
        let manager = Manager::in_memory();
        let task = manager.scope("s").task("t").spawn(until_cancelled).await;
        (manager, task.unwrap())
    });
    (runtime, manager, task)
}

/// Runs it on this thread, which has no timers and spawns nothing.
fn here<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let (mut future, mut cx) = (pin!(future), task::Context::from_waker(&waker));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        thread::park();
    }
}

struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn manager_is_shut_down_from_a_thread_without_a_runtime() {
    let (_runtime, manager, task) = begun();

    let report = here(manager.shutdown(Duration::from_mins(1))).unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(manager.live(), 0);
    let late = here(manager.scope("s").unnamed().spawn(until_cancelled));
    assert!(matches!(late, Err(SpawnError::Unavailable(_))));
}

#[test]
fn manager_is_left_and_drained_from_a_thread_without_a_runtime() {
    let (_runtime, manager, _task) = begun();
    here(manager.leave()).unwrap();

    let (_runtime, manager, task) = begun();
    let report = here(manager.drain(Duration::ZERO, Duration::from_mins(1)));
    assert_eq!(report.unwrap().cancelled, [task.id()]);
}

#[test]
fn tree_is_cancelled_and_awaited_from_a_thread_without_a_runtime() {
    let (_runtime, manager, task) = begun();
    let waited = manager
        .wait(&[task.task()])
        .timeout(Duration::from_millis(1));
    assert!(here(waited.all()).unwrap().timed_out);

    let report = here(task.cancel_tree(Cancel::because("enough"))).unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(task.state(), Some(State::Cancelled));
}

#[test]
fn manager_whose_runtime_is_gone_is_gone_and_says_so() {
    let (runtime, manager, task) = begun();
    drop(runtime);

    assert!(here(manager.shutdown(Duration::ZERO)).is_err());
    assert!(here(task.cancel_tree(Cancel::because("enough"))).is_err());
}

#[test]
fn runtime_without_timers_is_refused() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let built = runtime.block_on(async { Manager::builder().build() });

    assert!(matches!(built, Err(BuildError::NoTimers)), "{built:?}");
}
