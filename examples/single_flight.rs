//! Asking twice: many callers share one run, and a key makes a repeated request harmless.
//!
//! ```sh
//! cargo run --example single_flight
//! ```
//!
//! Fifty callers want the same index at once. One task runs, and all of them get its value; when it
//! has ended, the next caller starts a new one. A mail is sent under an idempotency key: whoever
//! asks again, also after its end, gets the task that there was, and whoever wants something else
//! under that key is refused.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use understory::{
    Admitted, Context, Failure, Manager, Refusal, ScopeRef, SpawnError, State, TaskHandle,
};

const CALLERS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    one_for_all(&manager).await?;
    once_and_no_more(&manager).await
}

async fn one_for_all(manager: &Manager) -> Result<(), Box<dyn std::error::Error>> {
    let scope = manager.scope("search");
    let runs = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (scope, runs) = (scope.clone(), Arc::clone(&runs));
        callers.spawn(async move { index(&scope, runs).await });
    }
    let mut handles = Vec::new();
    while let Some(handle) = callers.join_next().await {
        handles.push(handle??);
    }
    let new = handles.iter().filter(|handle| handle.is_new()).count();
    println!("{CALLERS} callers, {new} new task");
    assert_eq!(new, 1);

    // Whichever handle it is, it is that of the one task.
    handles[0].send("docs/").await?;
    for handle in handles {
        assert_eq!(handle.await?, 1_200);
    }
    println!(
        "each has its value, after {} run",
        runs.load(Ordering::SeqCst)
    );
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    // The flight has landed, so this is the next one.
    let next = index(&scope, Arc::clone(&runs)).await?;
    println!("the next caller's task is new: {}", next.is_new());
    assert!(next.is_new());
    next.send("docs/").await?;
    assert_eq!(next.await?, 1_200);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    Ok(())
}

/// Asks for the index. The body that is given here runs only if none does.
async fn index(scope: &ScopeRef, runs: Arc<AtomicUsize>) -> Result<TaskHandle<u32>, SpawnError> {
    let task = scope.unnamed().kind("index").single_flight("index/docs");
    task.spawn(|ctx| count_words(ctx, runs)).await
}

/// Starts when it is told where, so that here all callers come while it lives.
async fn count_words(ctx: Context, runs: Arc<AtomicUsize>) -> Result<u32, Failure> {
    runs.fetch_add(1, Ordering::SeqCst);
    match ctx.recv().await {
        Some(_directory) => Ok(1_200),
        None => Err(Failure::new("nobody said where to look")),
    }
}

async fn once_and_no_more(manager: &Manager) -> Result<(), Box<dyn std::error::Error>> {
    let scope = manager.scope("mail");
    let sent = Arc::new(AtomicUsize::new(0));
    let welcome = |template: &str| {
        let task = scope.task("welcome").key("user-17/welcome");
        let sent = Arc::clone(&sent);
        task.label("template", template)
            .spawn(move |_| async move { Ok(sent.fetch_add(1, Ordering::SeqCst) + 1) })
    };

    let first = welcome("short").await?;
    let id = first.id();
    assert_eq!(first.settled().await?.state, State::Completed);

    // The request comes again, as requests do: its answer was lost on the way.
    let again = welcome("short").await?;
    println!(
        "asked again: {:?}, the same task: {}",
        again.admitted(),
        again.id() == id
    );
    assert_eq!((again.admitted(), again.id()), (Admitted::Existing, id));
    println!("mails sent: {}", again.await?);
    assert_eq!(sent.load(Ordering::SeqCst), 1);

    // The key stands for that request. Something else under it is a mistake, and says which.
    let Err(refused) = welcome("long").await else {
        return Err("another wish under the same key is refused".into());
    };
    println!("refused: {refused}");
    assert!(matches!(
        refused,
        SpawnError::Refused(Refusal::KeyConflict(holder, _)) if holder == id
    ));
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    Ok(())
}
