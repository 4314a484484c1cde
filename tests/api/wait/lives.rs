//! Waiting for tasks that go on after their end: the next lives of their ids, bodies that stop late.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use understory::{Cancel, Manager, State, TaskId, Waited, What};

use super::on_word;
use crate::stage::{feed_of, sees, soon};

const ID: TaskId = TaskId::from_u128(7);

/// What a wait brings that would keep its thread for ever if it were wrong: by another thread.
fn within_a_thread(wait: impl Future<Output = Waited> + Send + 'static) -> Option<Waited> {
    let mut threads = Builder::new_multi_thread();
    let runtime = threads.worker_threads(2).enable_all().build().unwrap();
    let waited = runtime.block_on(async {
        let limited = tokio::time::timeout(Duration::from_secs(20), tokio::spawn(wait));
        limited.await.ok().map(Result::unwrap)
    });
    runtime.shutdown_background();
    waited
}

#[test]
fn wait_for_a_life_that_is_over_tells_that_end_and_not_the_next_life() {
    let waited = within_a_thread(async {
        let manager = Manager::in_memory();
        let life = || manager.scope("s").unnamed().id(ID).reuse_id();
        let first = life().spawn(|_| async { Ok(()) }).await.unwrap();
        soon(first.settled()).await.unwrap();
        let _second = life().spawn(on_word).await.unwrap();
        manager.wait(&[first.task()]).any().await.unwrap()
    });
    let waited = waited.expect("it does not spin");

    assert_eq!(waited.done.len(), 1);
    assert_eq!(waited.done[0].incarnation, 1);
    assert!(waited.pending.is_empty());
}

#[test]
fn wait_for_two_lives_of_an_id_ends_with_the_second() {
    let waited = within_a_thread(async {
        let manager = Manager::in_memory();
        let life = || manager.scope("s").unnamed().id(ID).reuse_id();
        let first = life().spawn(|_| async { Ok(()) }).await.unwrap();
        soon(first.settled()).await.unwrap();
        let second = life().spawn(on_word).await.unwrap();
        let both = tokio::spawn(manager.wait(&[first.task(), second.task()]).all());
        tokio::task::yield_now().await;
        second.send("end").await.unwrap();
        both.await.unwrap().unwrap()
    });
    let waited = waited.expect("it does not spin");

    let lives: Vec<_> = waited.done.iter().map(|it| it.incarnation).collect();
    assert_eq!(lives, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn end_that_is_known_is_not_told_again_when_its_body_stops_later() {
    let manager = Manager::in_memory();
    let (tell, told) = oneshot::channel::<()>();
    let deaf = manager.scope("s").task("deaf").cooperative();
    let deaf = deaf.spawn(|_| async { Ok(told.await.is_ok()) });
    let deaf = deaf.await.unwrap();
    let mut feed = feed_of(&manager, deaf.id()).await;
    sees(&mut feed, |event| event.state == State::Running).await;
    let now = Cancel::because("enough").now();
    assert_eq!(soon(deaf.cancel(now)).await.unwrap().abandoned, [deaf.id()]);
    let known = soon(manager.wait(&[deaf.task()]).any()).await.unwrap();
    assert_eq!(known.done.len(), 1);

    tell.send(()).unwrap();
    sees(&mut feed, |event| event.what == What::BodyStopped).await;

    let wait = manager.wait(&[deaf.task()]).after(known.seq);
    let waited = soon(wait.any()).await.unwrap();
    assert_eq!((waited.done, waited.pending), (vec![], vec![]));
}
