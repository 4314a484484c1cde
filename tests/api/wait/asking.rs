//! Waits that end with a question.

use understory::{Manager, TaskRef};

use crate::stage::{settle_down, soon};

/// Asks by this key when it is told to.
async fn curious(manager: &Manager, name: &'static str) -> TaskRef {
    let task = manager.scope("s").task(name).spawn(move |ctx| async move {
        ctx.recv().await;
        ctx.ask(name, "which?").await?;
        ctx.recv().await;
        Ok(())
    });
    task.await.unwrap().task()
}

#[tokio::test]
async fn open_question_ends_the_wait_only_if_asked_for() {
    let manager = Manager::in_memory();
    let tasks = [curious(&manager, "a").await, curious(&manager, "b").await];
    let plain = tokio::spawn(manager.wait(&tasks).any());
    let any = tokio::spawn(manager.wait(&tasks).or_asking().any());
    let all = tokio::spawn(manager.wait(&tasks).or_asking().all());
    settle_down().await;
    assert!(!any.is_finished());

    tasks[1].send("ask").await.unwrap();
    let waited = soon(any).await.unwrap().unwrap();
    assert_eq!(waited.asking[0].id, tasks[1].id());
    assert_eq!(waited.pending, [tasks[0].id()]);
    settle_down().await;
    assert!(!plain.is_finished() && !all.is_finished());
    // It asks already, so a wait for it ends at once.
    let again = soon(manager.wait(&tasks).or_asking().any()).await.unwrap();
    assert_eq!(again.asking.len(), 1);

    tasks[0].send("ask").await.unwrap();
    let both = soon(all).await.unwrap().unwrap();
    let asking: Vec<_> = both.asking.iter().map(|record| record.id).collect();
    assert_eq!(asking, [tasks[0].id(), tasks[1].id()]);
    assert!(both.pending.is_empty() && both.done.is_empty());
}

#[tokio::test]
async fn question_that_is_known_or_answered_ends_no_wait() {
    let manager = Manager::in_memory();
    let task = curious(&manager, "a").await;
    let tasks = [task.clone()];
    task.send("ask").await.unwrap();
    let first = soon(manager.wait(&tasks).or_asking().any()).await.unwrap();
    assert!(first.asking[0].is_asking());

    let known = manager.wait(&tasks).or_asking().after(first.seq).any();
    let known = tokio::spawn(known);
    settle_down().await;
    assert!(!known.is_finished());
    task.respond("a", "this").await.unwrap();
    let answered = tokio::spawn(manager.wait(&tasks).or_asking().any());
    settle_down().await;
    assert!(!known.is_finished() && !answered.is_finished());

    task.send("end").await.unwrap();
    for wait in [known, answered] {
        let waited = soon(wait).await.unwrap().unwrap();
        assert_eq!((waited.done.len(), waited.asking.len()), (1, 0));
    }
    assert!(!task.record().unwrap().is_asking());
}
