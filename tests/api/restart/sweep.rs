//! An actor fails at each point that they pass while a story is told, or the store at each commit:
//! whatever the point, whoever asks again comes to the same end, and nothing of it is lost.

mod ends;
mod scopes;
mod talk;
mod work;

use std::collections::HashSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::thread::panicking;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;
#[cfg(feature = "sqlite")]
use understory::store::sqlite::{Durability, Options, SqliteStore};
use understory::store::{FaultyStore, Latency, MemoryStore};
use understory::{
    Again, Builder, Cancel, CancelError, Context, Failure, FeedItem, Manager, Refusal, Retry, Seq,
    Since, SpawnError, Subscription, TaskBuilder, TaskId, TaskRef,
};

use crate::stage::soon;

/// A story passes fewer points than these.
const POINTS_MAX: u64 = 2_000;

/// Where a story is kept, and what fails while it is told, at each point of it.
const COURSES: &[(Place, Trouble)] = &[
    (Place::Own, Trouble::Actors(&[])),
    (Place::Own, Trouble::Actors(&[0])),
    (Place::Own, Trouble::Actors(&[3])),
    (Place::Own, Trouble::Actors(&[10])),
    (Place::Slow, Trouble::Actors(&[])),
    (Place::Slow, Trouble::Actors(&[0])),
    (Place::Slow, Trouble::Actors(&[3])),
    (Place::Slow, Trouble::Actors(&[10])),
    (Place::Instant, Trouble::Commits(1)),
    (Place::Slow, Trouble::Commits(1)),
    (Place::Slow, Trouble::Commits(3)),
    (Place::Instant, Trouble::Panic),
    (Place::Slow, Trouble::Panic),
    #[cfg(feature = "sqlite")]
    (Place::File, Trouble::Actors(&[])),
    #[cfg(feature = "sqlite")]
    (Place::File, Trouble::Commits(1)),
];

#[derive(Clone, Copy, Debug)]
enum Place {
    /// The manager's own.
    Own,
    /// One that never waits.
    Instant,
    /// One that may block.
    Slow,
    #[cfg(feature = "sqlite")]
    File,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// An actor, and after so many more points another one.
    Actors(&'static [u64]),
    /// So many commits, one after the other.
    Commits(u32),
    /// A commit, by a panic.
    Panic,
}

impl Place {
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))]
    fn store(self, folder: &Path) -> Option<FaultyStore> {
        let in_memory = || FaultyStore::new(MemoryStore::default());
        match self {
            Self::Own => None,
            Self::Instant => Some(in_memory().with_latency(Latency::Instant)),
            Self::Slow => Some(in_memory()),
            #[cfg(feature = "sqlite")]
            Self::File => {
                let loss_window = Duration::from_mins(1);
                let options = Options::default().durability(Durability::Relaxed { loss_window });
                let file = SqliteStore::open(folder.join("tasks.db"), options);
                Some(FaultyStore::new(file.unwrap()))
            }
        }
    }
}

impl Trouble {
    /// How many points of its kind each story has at least.
    const fn least(self) -> u64 {
        match self {
            Self::Actors(_) => 10,
            Self::Commits(_) | Self::Panic => 1,
        }
    }
}

/// One way of telling a story.
#[derive(Clone, Copy, Debug)]
struct Telling {
    place: Place,
    trouble: Trouble,
    /// What is passed before the first failure.
    point: u64,
}

/// Tells the story with a failure at its first point, its second, and so on to its end, on each
/// course. `stage` gives what each telling needs.
async fn at_each_point<T>(stage: impl Fn() -> (Builder, T), story: impl AsyncFn(&Manager, T)) {
    for &(place, trouble) in COURSES {
        for point in 0.. {
            assert!(point < POINTS_MAX, "the story ends");
            let telling = Telling {
                place,
                trouble,
                point,
            };
            let (builder, props) = stage();
            if !telling
                .is_told(builder, async |it| story(it, props).await)
                .await
            {
                assert!(point > trouble.least(), "the story passes points");
                break;
            }
        }
    }
}

impl Telling {
    /// Tells the story; whether anything failed meanwhile.
    async fn is_told(self, builder: Builder, tell: impl AsyncFnOnce(&Manager)) -> bool {
        let _note = Note(self);
        let folder = crate::stage::private_folder();
        let store = self.place.store(folder.path());
        let store = store.map(Arc::new);
        let builder = match &store {
            Some(store) => builder.store(Arc::clone(store)),
            None => builder,
        };
        let manager = builder.build().unwrap();
        soon(manager.cleanup()).await.unwrap();
        let feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();

        if let Some(store) = &store {
            store.spare_next(self.point);
        }
        match (self.trouble, &store) {
            (Trouble::Actors(then), _) => manager.break_after([&[self.point], then].concat()),
            (Trouble::Commits(count), Some(store)) => store.fail_next(count),
            (Trouble::Panic, Some(store)) => store.panic_next(),
            (Trouble::Commits(_) | Trouble::Panic, None) => unreachable!("it has no store"),
        }
        tell(&manager).await;
        manager.break_after([]);
        let mut has_failed = manager.incarnation() > 1;
        if let Some(store) = store {
            store.heal();
            has_failed |= store.failed() > 0;
        }

        soon(manager.shutdown(Duration::ZERO)).await.unwrap();
        assert_eq!(manager.live(), 0);
        tells_all(feed).await;
        has_failed
    }
}

/// Says of a telling that failed which one it was.
struct Note(Telling);

#[expect(clippy::print_stderr, reason = "a failed test says how to repeat it")]
impl Drop for Note {
    fn drop(&mut self) {
        if panicking() {
            eprintln!("{:?}", self.0);
        }
    }
}

/// Every event is there, in order, and every life of a task settles once.
async fn tells_all(mut feed: Subscription) {
    let (mut newest, mut settled, mut accepted) = (Seq(0), HashSet::new(), HashSet::new());
    loop {
        let event = match soon(feed.next()).await {
            Some(FeedItem::Event(event)) => event,
            Some(FeedItem::Stopped) => break,
            other => panic!("nothing is missed, but: {other:?}"),
        };
        assert_eq!(event.seq.0, newest.0 + 1);
        newest = event.seq;
        let life = (event.task, event.incarnation);
        match event.what.name() {
            "accepted" => assert!(accepted.insert(life), "{event:?}"),
            "settled" => assert!(settled.insert(life), "{event:?}"),
            _ => {}
        }
    }
    assert_eq!(accepted, settled);
}

/// Asks again as long as nobody can tell what became of it.
async fn again<T, E: Debug>(
    ask: impl AsyncFn() -> Result<T, E>,
    is_unsure: impl Fn(&E) -> bool,
) -> Result<T, E> {
    loop {
        match soon(ask()).await {
            Err(why) if is_unsure(&why) => yield_now().await,
            other => return other,
        }
    }
}

async fn spawned<T>(ask: impl AsyncFn() -> Result<T, SpawnError>) -> T {
    // A parent takes children again when its next attempt begins.
    let unsure = |why: &SpawnError| {
        let is_between = matches!(why, SpawnError::Refused(Refusal::ParentRetries(_)));
        is_between || matches!(why, SpawnError::Unknown(_) | SpawnError::Unavailable(_))
    };
    again(ask, unsure).await.unwrap()
}

const fn is_unsure_of_cancel(why: &CancelError) -> bool {
    matches!(
        why,
        CancelError::Restarted | CancelError::StoreUnavailable(_)
    )
}

async fn cancelled(task: &TaskRef) {
    let ask = async || task.cancel(Cancel::because("enough")).await;
    again(ask, is_unsure_of_cancel).await.unwrap();
}

const fn id(number: u128) -> TaskId {
    TaskId::from_u128(number)
}

/// It has more attempts than a story has failures.
fn lasting(manager: &Manager, number: u128) -> TaskBuilder<Again> {
    let task = manager.scope("s").task(&format!("t{number}"));
    task.id(id(number)).retry(Retry::fixed(5, Duration::ZERO))
}

async fn echoes(ctx: Context, input: Value) -> Result<Value, Failure> {
    ctx.progress("on its way").await?;
    ctx.output(&input).await?;
    Ok(input)
}

async fn waits(ctx: Context, _: Value) -> Result<Value, Failure> {
    ctx.cancelled().await;
    Ok(Value::Null)
}

fn telling<T: Send + 'static>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    unbounded_channel()
}
