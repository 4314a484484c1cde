//! What the tests share: bodies that wait, and waits for what a feed tells.

use std::fmt;
use std::future::IntoFuture;
#[cfg(feature = "testing")]
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "testing")]
use tokio::sync::watch::{Sender, channel};
#[cfg(feature = "testing")]
use understory::TaskHandle;
#[cfg(feature = "testing")]
use understory::store::FaultyStore;
use understory::store::{
    Batch, Latency, Lease, LeaseAsk, Loaded, MemoryStore, Store, StoreError, Tenancy,
};
use understory::{
    Context, Event, Failure, FeedItem, Filter, Manager, Seq, Since, State, Subscription, TaskId,
};

/// Far more than anything here takes: a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_mins(2);

/// A body that stops when it is asked to.
pub(crate) async fn until_cancelled(ctx: Context) -> Result<(), Failure> {
    ctx.cancelled().await;
    Ok(())
}

/// A body that yields and never ends by itself.
pub(crate) async fn for_ever(_: Context) -> Result<(), Failure> {
    std::future::pending().await
}

/// What `future` brings, if it does not hang.
pub(crate) async fn soon<T>(future: impl IntoFuture<Output = T>) -> T {
    let limited = tokio::time::timeout(PATIENCE, future).await;
    limited.expect("it takes far less time than this")
}

/// Waits until a task is or was in this state.
pub(crate) async fn reaches(manager: &Manager, task: TaskId, state: State) {
    let mut feed = feed_of(manager, task).await;
    let seen = |event: &Event| event.state == state;
    sees(&mut feed, seen).await;
}

/// Every event of a task from the first on.
pub(crate) async fn feed_of(manager: &Manager, task: TaskId) -> Subscription {
    let from_the_first = Since::Seq(Seq(0));
    let feed = manager.subscribe_to(from_the_first, Filter::all().task(task));
    feed.await.expect("there is room for one more subscriber")
}

/// The next event that is `wanted`.
pub(crate) async fn sees(feed: &mut Subscription, wanted: impl Fn(&Event) -> bool) -> Arc<Event> {
    soon(async {
        loop {
            match feed.next().await {
                Some(FeedItem::Event(event)) if wanted(&event) => return event,
                Some(FeedItem::Event(_) | FeedItem::Snapshot { .. }) => {}
                other => panic!("the feed has no gap and does not end, but brought {other:?}"),
            }
        }
    })
    .await
}

/// The types of all events of a task up to the end.
pub(crate) async fn story(manager: &Manager, task: TaskId) -> Vec<&'static str> {
    let mut feed = feed_of(manager, task).await;
    let mut names = Vec::new();
    while names.last() != Some(&"settled") {
        names.push(sees(&mut feed, |_| true).await.what.name());
    }
    names
}

/// Lets every other task of this thread run until nothing more follows from what happened.
pub(crate) async fn settle_down() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Yields until it is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    // By a clock that goes on: a paused one stands still while somebody yields.
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(
            Instant::now() < deadline,
            "it takes far less time than this"
        );
        tokio::task::yield_now().await;
    }
}

/// How often a race is run: `UNDERSTORY_ROUNDS`, or this many times.
pub(crate) fn rounds(default: u32) -> u32 {
    let asked = std::env::var("UNDERSTORY_ROUNDS").ok();
    asked.map_or(default, |text| {
        text.parse().expect("UNDERSTORY_ROUNDS is a number")
    })
}

#[cfg(feature = "testing")]
/// The numbers of all events up to the end of this task follow each other.
pub(crate) async fn has_no_gap(feed: &mut Subscription, last: TaskId) {
    let mut newest = Seq(0);
    soon(async {
        loop {
            let Some(FeedItem::Event(event)) = feed.next().await else {
                panic!("the feed goes on after {newest:?}");
            };
            assert_eq!(event.seq.0, newest.0 + 1);
            newest = event.seq;
            if event.task == last && event.what.name() == "settled" {
                return;
            }
        }
    })
    .await;
}

type Page = Vec<Arc<Event>>;

/// A store that does this with each page of events that is read.
pub(crate) struct OnRead<F> {
    inner: MemoryStore,
    read: F,
}

impl<F: Fn(Page) -> Result<Page, StoreError>> OnRead<F> {
    pub(crate) fn new(inner: MemoryStore, read: F) -> Self {
        Self { inner, read }
    }
}

impl<F> fmt::Debug for OnRead<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<F> Store for OnRead<F>
where
    F: Fn(Page) -> Result<Page, StoreError> + Send + Sync + 'static,
{
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Page, StoreError> {
        (self.read)(self.inner.events(after, limit)?)
    }

    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        self.inner.lease(ask)
    }

    fn tenancy(&self) -> Tenancy {
        self.inner.tenancy()
    }

    fn latency(&self) -> Latency {
        self.inner.latency()
    }
}

#[cfg(feature = "testing")]
/// It lets go of its calls at the end of a test, also of one that fails: it would wait for their
/// threads.
pub(crate) struct Hanging(Arc<FaultyStore>);

#[cfg(feature = "testing")]
impl From<FaultyStore> for Hanging {
    fn from(store: FaultyStore) -> Self {
        Self(Arc::new(store))
    }
}

#[cfg(feature = "testing")]
impl Deref for Hanging {
    type Target = Arc<FaultyStore>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[cfg(feature = "testing")]
impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Four tasks of the scope `s` that end, each with its number, when they are released.
#[cfg(feature = "testing")]
pub(crate) async fn four_that_wait(manager: &Manager) -> (Vec<TaskHandle<usize>>, Sender<()>) {
    let (release, released) = channel(());
    let mut tasks = Vec::new();
    for number in 0..4 {
        let mut released = released.clone();
        let body = move |_| async move {
            let _is_there = released.changed().await.is_ok();
            Ok(number)
        };
        let task = manager.scope("s").unnamed().spawn(body).await.unwrap();
        reaches(manager, task.id(), State::Running).await;
        tasks.push(task);
    }
    (tasks, release)
}

/// Releases them while the commit of the first end is held, as it still is when this returns: what
/// is decided meanwhile shares the next one.
#[cfg(feature = "testing")]
pub(crate) async fn end_in_two_commits(store: &FaultyStore, release: &Sender<()>) {
    store.hold();
    release.send(()).unwrap();
    soon(store.until_held(1)).await;
    settle_down().await;
}

/// A new folder that only its owner can use, whatever the umask is.
#[cfg(any(feature = "sqlite", feature = "testing"))]
pub(crate) fn private_folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().expect("there is room for a folder")
}
