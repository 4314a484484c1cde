//! Bodies run in actors or in plain tasks of tokio, and nothing else changes.
//!
//! Every test of this folder is run a second time by `.ci/run` with
//! `UNDERSTORY_BODY_HOST=tokio-task`, by which managers that nobody told otherwise run bodies in
//! plain tasks. So it does with `tests/spans.rs` and `tests/peers`.

use std::backtrace::Backtrace;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use understory::{BodyHost, Manager};

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
