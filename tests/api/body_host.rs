//! Bodies run in actors or in plain tasks of tokio, and nothing else changes.
//!
//! Every test of this folder is run a second time by `.ci/run` with
//! `UNDERSTORY_BODY_HOST=tokio-task`, by which managers that nobody told otherwise run bodies in
//! plain tasks.

use std::backtrace::Backtrace;

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
