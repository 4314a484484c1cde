//! Bodies run in actors or in plain tasks of tokio, and nothing else changes.
//!
//! Every test of this folder is run a second time by `.ci/run` with
//! `UNDERSTORY_BODY_HOST=tokio-task`, by which managers that nobody told otherwise run bodies in
//! plain tasks. So it does with `tests/spans.rs` and `tests/peers`.

use std::backtrace::Backtrace;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::Id;
use tokio::time::Instant;
use understory::{BodyHost, Cancel, Failure, Manager};

/// Whether a body of this manager is polled by an actor.
async fn is_in_an_actor(manager: &Manager) -> bool {
    let body = |_| async { Ok(Backtrace::force_capture().to_string()) };
    let task = manager.scope("s").unnamed().spawn(body).await;
    let frames = crate::stage::soon(task.unwrap()).await.unwrap();
    assert!(
        frames.contains("tokio::"),
        "the frames have names: {frames}"
    );
    frames.contains("ractor::")
}

#[tokio::test]
async fn body_runs_where_the_builder_says() {
    for host in [BodyHost::Actor, BodyHost::TokioTask] {
        let manager = Manager::builder().body_host(host).build().unwrap();
        assert_eq!(is_in_an_actor(&manager).await, host == BodyHost::Actor);
    }
}

/// Runs a body to its end, whatever that is, and gives the id of the tokio task that polled it.
async fn polled_by(manager: &Manager, end: impl FnOnce() + Send + 'static) -> Id {
    let (tell, told) = oneshot::channel();
    let task = manager.scope("s").unnamed().spawn(|_| async move {
        let _is_heard = tell.send(tokio::task::id());
        end();
        Ok(())
    });
    let _ended = crate::stage::soon(task.await.unwrap()).await;
    told.await.unwrap()
}

#[tokio::test]
async fn who_ran_a_body_to_its_end_runs_the_next_one_however_that_ended() {
    for host in [BodyHost::Actor, BodyHost::TokioTask] {
        let manager = Manager::builder().body_host(host).build().unwrap();
        let first = polled_by(&manager, || {}).await;
        for next in [
            polled_by(&manager, || panic!("it fails")).await,
            aborted(&manager).await,
            polled_by(&manager, || {}).await,
        ] {
            assert_eq!(next, first, "{host:?}");
        }
    }
}

/// The same for a body that is dropped by force.
async fn aborted(manager: &Manager) -> Id {
    let (tell, told) = oneshot::channel();
    let task = manager.scope("s").unnamed().spawn(|_| async move {
        let _is_heard = tell.send(tokio::task::id());
        std::future::pending::<Result<(), Failure>>().await
    });
    let task = task.await.unwrap();
    let by = told.await.unwrap();
    let why = Cancel::because("it hangs").grace(Duration::ZERO);
    crate::stage::soon(task.cancel_tree(why)).await.unwrap();
    by
}

/// How many tokio tasks are alive, once they are no more than `most`.
async fn alive(most: usize) -> usize {
    let alive = || Handle::current().metrics().num_alive_tasks();
    crate::stage::until(|| alive() <= most).await;
    alive()
}

#[tokio::test]
async fn after_a_burst_some_wait_for_the_next_body_and_end_with_their_manager() {
    for host in [BodyHost::Actor, BodyHost::TokioTask] {
        burst(host).await;
    }
}

async fn burst(host: BodyHost) {
    let before = Handle::current().metrics().num_alive_tasks();
    let manager = Manager::builder().body_host(host).build().unwrap();
    polled_by(&manager, || {}).await;
    // The one that waits is none of its own.
    let its_own = Handle::current().metrics().num_alive_tasks() - 1;
    let (release, released) = watch::channel(());
    let mut tasks = Vec::new();
    for _ in 0..200 {
        let mut released = released.clone();
        let body = |_| async move { Ok(released.changed().await.is_ok()) };
        tasks.push(manager.scope("s").unnamed().spawn(body).await.unwrap());
    }
    release.send(()).unwrap();
    for task in tasks {
        crate::stage::soon(task).await.unwrap();
    }

    assert_eq!(alive(its_own + 64).await, its_own + 64);

    crate::stage::soon(manager.leave()).await.unwrap();
    assert_eq!(alive(before).await, before);
}

/// A body that never ends, and holds on to what tells that it is there.
#[cfg(feature = "testing")]
async fn lasting(manager: &Manager) -> Option<(understory::TaskHandle<()>, Id, watch::Sender<()>)> {
    let (tell, told) = oneshot::channel();
    let (presence, held) = watch::channel(());
    let spawned = manager.scope("s").unnamed().spawn(|ctx| async move {
        let _held = held;
        let _is_heard = tell.send(tokio::task::id());
        crate::stage::for_ever(ctx).await
    });
    Some((spawned.await.ok()?, told.await.ok()?, presence))
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn p11_body_of_one_who_waited_for_it_ends_with_its_manager() {
    for host in [BodyHost::Actor, BodyHost::TokioTask] {
        last_of_two(host).await;
    }
}

#[cfg(feature = "testing")]
async fn last_of_two(host: BodyHost) {
    let manager = Manager::builder().body_host(host).build().unwrap();
    let waited = polled_by(&manager, || {}).await;
    let (task, by, presence) = lasting(&manager).await.unwrap();
    assert_eq!(by, waited);

    manager.break_part(understory::Part::Manager);
    let nudge = manager.scope("s").unnamed().spawn(|_| async { Ok(()) });
    let _unanswered = nudge.await.is_ok();

    crate::stage::soon(presence.closed()).await;
    let ended = crate::stage::soon(task.settled()).await.unwrap();
    assert!(ended.state.is_terminal());
}

/// With a store that waits for the disk the writer hands bodies over, while the manager goes.
#[cfg(all(feature = "testing", feature = "sqlite"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_no_body_that_is_handed_over_while_its_manager_goes_outlives_it() {
    let folder = crate::stage::private_folder();
    let mut seen = 0;
    for round in 0..60 {
        let hosts = [BodyHost::Actor, BodyHost::TokioTask];
        let builder = Manager::builder().body_host(hosts[round % 2]);
        let path = folder.path().join(format!("{round}.db"));
        let manager = crate::stage::soon(builder.open(path)).await.unwrap();
        for _ in 0..4 {
            polled_by(&manager, || {}).await;
        }
        let (_, _, standing) = lasting(&manager).await.unwrap();
        let spawning = (0..8).map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { lasting(&manager).await })
        });
        let spawning: Vec<_> = spawning.collect();
        manager.break_part(understory::Part::Manager);
        // It goes in its next turn, and may have had those that the others ask for.
        let turn = manager.scope("s").unnamed().spawn(|_| async { Ok(()) });
        let _is_answered = crate::stage::soon(turn).await.is_ok();

        crate::stage::soon(standing.closed()).await;
        for spawned in spawning {
            let Some((task, _, presence)) = crate::stage::soon(spawned).await.unwrap() else {
                continue;
            };
            // Those of the next manager run on.
            let why = Cancel::because("the test ends").grace(Duration::ZERO);
            let _ended_before = crate::stage::soon(task.cancel_tree(why)).await;
            let settled = crate::stage::soon(task.settled()).await.unwrap();
            assert!(settled.state.is_terminal());
            crate::stage::soon(presence.closed()).await;
            seen += 1;
        }
        crate::stage::soon(manager.leave()).await.unwrap();
    }
    assert!(seen > 0, "some are accepted before or after it goes");
}

#[tokio::test]
async fn body_runs_in_an_actor_of_its_own_unless_somebody_says_otherwise() {
    assert_eq!(BodyHost::default(), BodyHost::Actor);
    let is_asked = std::env::var("UNDERSTORY_BODY_HOST").is_ok_and(|it| it == "tokio-task");
    let is_otherwise = is_asked && cfg!(feature = "testing");
    assert_eq!(is_in_an_actor(&Manager::in_memory()).await, !is_otherwise);
}

/// What ractor does for linked actors, its roster does for plain tasks.
#[cfg(feature = "testing")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_bodies_end_with_their_manager_wherever_they_run() {
    use tokio::sync::mpsc;
    use understory::Part;

    for host in [BodyHost::Actor, BodyHost::TokioTask] {
        let manager = Manager::builder().body_host(host).build().unwrap();
        let (held, mut dropped) = mpsc::channel::<()>(1);
        for _ in 0..500 {
            let held = held.clone();
            let body = |ctx| async move {
                let _held = held;
                crate::stage::for_ever(ctx).await
            };
            manager.scope("s").unnamed().spawn(body).await.unwrap();
        }
        drop(held);

        manager.break_part(Part::Manager);
        let _unanswered = manager
            .scope("s")
            .unnamed()
            .spawn(|_| async { Ok(()) })
            .await;

        assert!(
            crate::stage::soon(dropped.recv()).await.is_none(),
            "{host:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_have_gone_when_their_manager_has_wherever_they_run() {
    for host in [BodyHost::Actor, BodyHost::TokioTask] {
        let manager = Manager::builder().body_host(host).build().unwrap();
        let (presence, held) = watch::channel(());
        let task = manager.scope("s").unnamed().spawn(|ctx| async move {
            let _held = held;
            crate::stage::for_ever(ctx).await
        });
        let task = task.await.unwrap();
        crate::stage::reaches(&manager, task.id(), understory::State::Running).await;
        let begin = Instant::now();

        crate::stage::soon(manager.leave()).await.unwrap();

        assert_eq!(
            presence.receiver_count(),
            0,
            "{host:?}: its body was dropped"
        );
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "nobody had to give it up"
        );
    }
}
