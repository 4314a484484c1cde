//! An actor fails at each point that they pass while a story is told: whatever the point, whoever
//! asks again comes to the same end, and nothing of it is lost.

use std::collections::HashSet;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::thread::panicking;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;
use understory::store::{FaultyStore, MemoryStore};
use understory::{
    Again, Builder, Cancel, Class, Context, External, ExternalError, Failure, FeedItem, Manager,
    Refusal, RespondError, ResumeError, Retry, SendError, Seq, Since, SpawnError, State,
    Subscription, TaskBuilder, TaskHooks, TaskId, TaskRef, Wait, Wake, WakeCause,
};

use crate::stage::{reaches, soon, until};

/// Each story passes more points than the first and fewer than the second.
const POINTS: Range<u64> = 10..2_000;
/// How many points after the first failure a second one comes, if one comes.
const SECONDS: [&[u64]; 4] = [&[], &[0], &[3], &[10]];

/// Tells the story with a failure at its first point, its second, and so on to its end, and with a
/// second failure soon after that; with a store that never waits and with one that does. `stage`
/// gives what each telling needs.
async fn at_each_point<T>(stage: impl Fn() -> (Builder, T), story: impl AsyncFn(&Manager, T)) {
    let tellings = [true, false].map(|is_instant| SECONDS.map(|second| (is_instant, second)));
    let mut most = 0;
    for (is_instant, second) in tellings.into_iter().flatten() {
        for point in 0.. {
            assert!(point < POINTS.end, "the story ends");
            let _note = Note(is_instant, point, second);
            let (builder, props) = stage();
            let builder = if is_instant {
                builder
            } else {
                builder.store(FaultyStore::new(MemoryStore::default()))
            };
            let manager = builder.build().unwrap();
            soon(manager.cleanup()).await.unwrap();
            let feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();

            manager.break_after([&[point], second].concat());
            story(&manager, props).await;
            manager.break_after([]);

            let begun = manager.incarnation();
            most = most.max(begun);
            soon(manager.shutdown(Duration::ZERO)).await.unwrap();
            assert_eq!(manager.live(), 0);
            tells_all(feed).await;
            if begun == 1 {
                assert!(point > POINTS.start, "the story passes points");
                break;
            }
        }
    }
    assert_eq!(most, 3, "a second failure came, too");
}

/// Says at which points a telling failed.
struct Note(bool, u64, &'static [u64]);

#[expect(clippy::print_stderr, reason = "a failed test says how to repeat it")]
impl Drop for Note {
    fn drop(&mut self) {
        let Self(is_instant, point, second) = self;
        if panicking() {
            eprintln!("point {point}, then {second:?}, store that never waits: {is_instant}");
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
            Err(why) if is_unsure(&why) => {}
            other => return other,
        }
    }
}

async fn spawned<T>(ask: impl AsyncFn() -> Result<T, SpawnError>) -> T {
    // A parent takes children again when its next attempt begins.
    let unsure = |why: &SpawnError| {
        let is_between = matches!(why, SpawnError::Refused(Refusal::ParentClosing(_)));
        is_between || matches!(why, SpawnError::Unknown(_))
    };
    again(ask, unsure).await.unwrap()
}

async fn cancelled(task: &TaskRef) {
    let ask = async || task.cancel(Cancel::because("enough")).await;
    let unsure = |why: &_| matches!(why, understory::CancelError::Restarted);
    again(ask, unsure).await.unwrap();
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

fn telling<T: Send + 'static>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    unbounded_channel()
}

#[tokio::test]
async fn p11_task_of_an_executor_ends_and_its_hooks_and_readers_hear() {
    let stage = || (Manager::builder().executor("k", echoes), ());
    at_each_point(stage, async |manager, ()| {
        let (tell, mut told) = telling();
        let hooks = TaskHooks::new().on_settled(move |ended| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(ended.event.state);
                Ok(())
            }
        });
        let ask = async || {
            let task = lasting(manager, 1).hooks(hooks.clone());
            task.spawn_kind("k", 7).await
        };
        let task = spawned(ask).await;
        let record = soon(task.settled()).await.unwrap();

        assert_eq!(record.state, State::Completed);
        assert_eq!(soon(told.recv()).await, Some(State::Completed));
        let page = manager.read_output(task.id(), 0, 10).unwrap();
        assert!(page.written >= 1 && page.missed == 0);
        assert_eq!(page.pieces[0].as_json(), "7");
        assert_eq!(soon(task).await.unwrap(), 7);
    })
    .await;
}

/// An external task whose callback tells what it was called with.
async fn external(manager: &Manager, number: u128) -> (External, UnboundedReceiver<String>) {
    let (called, calls) = telling();
    let ask = async || {
        let called = called.clone();
        let task = manager.scope("s").unnamed().id(id(number));
        let call = move |stop: Arc<understory::Stop>| async move {
            let _ = called.send(stop.reason.to_string());
            Ok(())
        };
        task.external_with(call).await
    };
    (spawned(ask).await, calls)
}

#[tokio::test]
async fn p11_external_that_is_cancelled_is_called_back_once() {
    let stage = || (Manager::builder(), ());
    at_each_point(stage, async |manager, ()| {
        let (task, mut calls) = external(manager, 1).await;

        cancelled(&task.task()).await;

        assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
        drop(task);
        soon(manager.shutdown(Duration::ZERO)).await.unwrap();
        assert_eq!(soon(calls.recv()).await, None);
    })
    .await;
}

#[tokio::test]
async fn p11_external_that_waits_for_its_slot_is_called_back_once() {
    let stage = || (Manager::builder().global_limit(Class::queue(1)), ());
    at_each_point(stage, async |manager, ()| {
        let (holder, mut holders) = external(manager, 1).await;
        let (queued, mut calls) = external(manager, 2).await;
        let (last, mut lasts) = external(manager, 3).await;

        cancelled(&last.task()).await;
        while let Err(why) = soon(holder.complete(1)).await {
            if matches!(why, ExternalError::NotRunning(State::Completed)) {
                break;
            }
            reaches(manager, holder.id(), State::Running).await;
        }
        reaches(manager, queued.id(), State::Running).await;
        cancelled(&queued.task()).await;

        assert_eq!(soon(lasts.recv()).await.as_deref(), Some("enough"));
        assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
        drop((holder, queued, last));
        soon(manager.shutdown(Duration::ZERO)).await.unwrap();
        assert_eq!(soon(holders.recv()).await, None);
        assert_eq!(soon(calls.recv()).await, None);
    })
    .await;
}

/// A lead that sleeps until a task below it has ended, and the wakes of it.
fn with_lead() -> (Builder, UnboundedReceiver<Wake>) {
    let (tell, wakes) = telling();
    let hook = move |wake: Wake| {
        let tell = tell.clone();
        async move { drop(tell.send(wake)) }
    };
    let lead = |ctx: Context, _: Value| async move {
        match ctx.resumed() {
            None => Err(ctx.suspend("asleep")),
            Some(with) => Ok(with),
        }
    };
    let builder = Manager::builder().on_wake(hook).executor("lead", lead);
    (builder.executor("k", echoes), wakes)
}

#[tokio::test]
async fn p11_sleeper_is_woken_when_a_task_below_it_ends_and_goes_on() {
    at_each_point(with_lead, async |manager, mut wakes| {
        let lead = spawned(async || lasting(manager, 1).spawn_kind("lead", ()).await).await;
        reaches(manager, lead.id(), State::Suspended).await;
        let below = async || {
            let task = lasting(manager, 2).parent(lead.id());
            task.spawn_kind("k", 2).await
        };
        let below = spawned(below).await.id();

        let wake = soon(wakes.recv()).await.unwrap();
        assert_eq!(wake.task.id(), lead.id());
        assert_eq!(wake.cause, WakeCause::Ended(below));
        // An attempt that follows a lost one was not resumed, and sleeps again.
        let is_over = || lead.state().is_some_and(State::is_terminal);
        while !is_over() {
            match soon(lead.resume("go on")).await {
                Ok(()) | Err(ResumeError::Restarted) => {}
                Err(ResumeError::NotSuspended { .. } | ResumeError::AlreadyResumed(_)) => {
                    yield_now().await;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(soon(lead).await.unwrap(), "go on");
    })
    .await;
}

#[tokio::test]
async fn p11_question_is_asked_and_answered_once() {
    let asks = |ctx: Context, _: Value| async move { Ok(ctx.ask("k", "may I?").await?) };
    let stage = || (Manager::builder().executor("asks", asks), ());
    at_each_point(stage, async |manager, ()| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("asks", ()).await).await;
        let has_asked = || {
            let record = manager.get(task.id());
            record.is_some_and(|it| it.wait == Some(Wait::Answer))
        };
        until(has_asked).await;

        let respond = async || task.respond("k", "yes").await;
        let answered = again(respond, |why| matches!(why, RespondError::Restarted)).await;
        let is_there = matches!(
            answered,
            Ok(()) | Err(RespondError::AlreadyAnswered { .. } | RespondError::Ended { .. })
        );

        assert!(is_there, "{answered:?}");
        assert_eq!(soon(task).await.unwrap(), "yes");
    })
    .await;
}

#[tokio::test]
async fn p11_durable_message_comes_although_the_body_is_run_again() {
    let reads = |ctx: Context, _: Value| async move {
        let message = ctx.recv().await;
        Ok(json!(message.map(|it| it.body)))
    };
    let stage = || (Manager::builder().executor("reads", reads), ());
    at_each_point(stage, async |manager, ()| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("reads", ()).await).await;

        while let Err(why) = soon(task.send_durable("hello")).await {
            let is_unsure = matches!(why, SendError::Unknown { .. } | SendError::Ended { .. });
            assert!(is_unsure, "{why:?}");
            let record = manager.get(task.id()).unwrap();
            if record.state.is_terminal() || !record.unacknowledged().is_empty() {
                break;
            }
        }

        assert_eq!(soon(task).await.unwrap(), "hello");
    })
    .await;
}

#[tokio::test]
async fn p11_tree_is_cancelled_whole_and_its_hooks_hear() {
    let waits = |ctx: Context, _: Value| async move {
        ctx.cancelled().await;
        Ok(json!(null))
    };
    let stage = || {
        let (tell, told) = telling();
        let hooks = TaskHooks::new().on_settled(move |ended| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(ended.event.task);
                Ok(())
            }
        });
        (
            Manager::builder()
                .executor("waits", waits)
                .task_hooks(hooks),
            told,
        )
    };
    at_each_point(stage, async |manager, mut told| {
        let root = spawned(async || lasting(manager, 1).spawn_kind("waits", ()).await).await;
        for number in 2..5 {
            let ask = async || {
                let task = lasting(manager, number).parent(root.id());
                task.spawn_kind("waits", ()).await
            };
            let _below = spawned(ask).await;
        }

        let ask = async || root.cancel_tree(Cancel::because("enough")).await;
        let unsure = |why: &_| matches!(why, understory::CancelError::Restarted);
        let report = again(ask, unsure).await;

        assert!(report.is_ok(), "{report:?}");
        let mut ended = HashSet::new();
        for number in 1..5 {
            let record = soon(manager.task(id(number)).settled()).await.unwrap();
            assert_eq!(record.state, State::Cancelled);
            ended.insert(soon(told.recv()).await.unwrap());
        }
        assert_eq!(ended, (1..5).map(id).collect());
    })
    .await;
}

#[tokio::test]
async fn p11_ends_of_tasks_that_are_kept_no_more_are_told() {
    let stage = || {
        let builder = Manager::builder().executor("k", echoes);
        (builder.settled_max(1), ())
    };
    at_each_point(stage, async |manager, ()| {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let task = manager.scope("s").unnamed();
            let task = task.retry(Retry::fixed(5, Duration::ZERO));
            match soon(task.spawn_kind("k", 1)).await {
                Ok(task) => tasks.push(task),
                Err(why) => assert!(matches!(why, SpawnError::Unknown(_)), "{why:?}"),
            }
        }
        for task in tasks {
            assert_eq!(soon(task).await.unwrap(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn p11_hook_before_the_end_is_asked_and_what_comes_after_is_started() {
    let stage = || {
        let (tell, told) = telling();
        let hooks = TaskHooks::new().before_settle(move |proposal| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(proposal.record.id);
                Ok(())
            }
        });
        (
            Manager::builder().executor("k", echoes).task_hooks(hooks),
            told,
        )
    };
    at_each_point(stage, async |manager, mut told| {
        let first = spawned(async || lasting(manager, 1).spawn_kind("k", 1).await).await;
        let second = async || {
            let task = lasting(manager, 2).after([first.id()]);
            task.spawn_kind("k", 2).await
        };
        let second = spawned(second).await;

        assert_eq!(soon(second).await.unwrap(), 2);
        assert_eq!(soon(first).await.unwrap(), 1);
        let mut asked = HashSet::new();
        while asked.len() < 2 {
            asked.insert(soon(told.recv()).await.unwrap());
        }
    })
    .await;
}
