//! Linking a foreign `CancellationToken`, and giving a body's own to code that wants one.
//!
//! ```sh
//! cargo run --example foreign_token
//! ```
//!
//! A server has a token for each request, made by somebody else. A task that is linked to it is
//! cancelled with it, with everything below. The other way round, a body hands its own request to
//! stop to a library as a token. The link goes one way: ending a task never touches the foreign one.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use tokio_util::sync::CancellationToken;
use understory::{Cancel, Context, Failure, Manager, Requester, State};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    let scope = manager.scope("server");
    let server = CancellationToken::new();

    // A request that goes away takes its task along, and what that has spawned.
    let request = server.child_token();
    let task = scope
        .task("request-1")
        .cancel_with(request.clone())
        .spawn(serve)
        .await?;
    let inner = inner_of(&task, &manager).await;
    request.cancel();
    let record = task.settled().await?;
    let stop = record.stop.as_ref().ok_or("it was asked to stop")?;
    println!(
        "request-1: {}, by {:?}: {}",
        record.state, stop.by, stop.reason
    );
    assert_eq!(
        (record.state, &stop.by),
        (State::Cancelled, &Requester::Token)
    );
    assert_eq!(inner.state(), Some(State::Cancelled));

    // The link goes one way.
    let request = server.child_token();
    let task = scope
        .task("request-2")
        .cancel_with(request.clone())
        .spawn(serve)
        .await?;
    task.cancel_tree(Cancel::because("it takes too long"))
        .await?;
    println!(
        "request-2: {:?}, its token is cancelled: {}",
        task.state(),
        request.is_cancelled()
    );
    assert!(!request.is_cancelled() && !server.is_cancelled());

    // A token that is cancelled already is heard, too.
    server.cancel();
    let task = scope
        .task("request-3")
        .cancel_with(server)
        .spawn(serve)
        .await?;
    assert_eq!(task.settled().await?.state, State::Cancelled);
    Ok(())
}

/// Waits until the request's task has spawned the one below it.
async fn inner_of(task: &understory::TaskRef, manager: &Manager) -> understory::TaskRef {
    loop {
        if let Some(child) = manager.children(task.id()).first() {
            return manager.task(child.id);
        }
        tokio::task::yield_now().await;
    }
}

async fn serve(ctx: Context) -> Result<bool, Failure> {
    let query = ctx
        .task(&format!("{}-query", ctx.path()))
        .spawn(|ctx| async move {
            // Code that knows nothing of understory stops when the task is asked to.
            Ok(library_call(ctx.token()).await)
        });
    Ok(query.await?.await?)
}

/// Stands for a library with cancellation of its own: it answers whether it could finish.
async fn library_call(cancelled: CancellationToken) -> bool {
    let work = std::future::pending::<()>();
    cancelled.run_until_cancelled(work).await.is_some()
}
