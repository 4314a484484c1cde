//! A human in the loop: a task that lets go of everything until it is resumed, and one that asks.
//!
//! ```sh
//! cargo run --example human_in_the_loop
//! ```
//!
//! A post is suspended with what it wants to have approved, and is resumed with the decision: its
//! body is called again from its beginning, so what it must not forget travels in the payload. A
//! deployment asks two questions by key and stays where it is until each is answered. Of two who
//! decide at once, one wins; the other is told so.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use understory::{
    AskError, Context, Failure, FeedItem, Filter, Manager, RespondError, ResumeError, Since, State,
    TaskRef, Wait, What,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// What the post waits for, as the reviewer reads it.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    question: String,
    text: String,
}

/// What the reviewer sends back.
#[derive(Debug, Serialize, Deserialize)]
enum Decision {
    Publish { text: String },
    Without { word: String, text: String },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    suspend_and_resume(&manager).await?;
    ask_and_respond(&manager).await
}

async fn suspend_and_resume(manager: &Manager) -> Result<(), Box<dyn std::error::Error>> {
    let blog = manager.scope("blog");
    let post = blog.task("post").resumable().spawn(publish).await?;

    let first = request_of(manager, &post).await?;
    println!("the post asks: {} {:?}", first.question, first.text);
    let word = "very".to_owned();
    let text = first.text;
    post.resume(Decision::Without { word, text }).await?;

    let second = request_of(manager, &post).await?;
    println!("the post asks: {} {:?}", second.question, second.text);
    let text = second.text;
    post.resume(Decision::Publish { text }).await?;
    // A second reviewer comes too late, and learns in which state the post is instead.
    let late = post.resume("no").await;
    println!(
        "too late: {}",
        late.as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default()
    );
    assert!(matches!(
        late,
        Err(ResumeError::NotSuspended { .. } | ResumeError::AlreadyResumed(_))
    ));

    let id = post.id();
    let text = post.await?;
    println!("published: {text}");
    assert_eq!(text, "trees supervise tasks");
    // All of it was one attempt: a suspension is no failure.
    assert_eq!(manager.get(id).map(|record| record.attempt), Some(1));
    Ok(())
}

/// Has no loop and keeps nothing: each call takes up where the data says.
async fn publish(ctx: Context) -> Result<String, Failure> {
    let text = match ctx.resumed().map(serde_json::from_value).transpose()? {
        None => "trees very supervise tasks".to_owned(),
        Some(Decision::Without { word, text }) => text.replace(&format!("{word} "), ""),
        Some(Decision::Publish { text }) => return Ok(text),
    };
    let question = "may this be published?".to_owned();
    Err(ctx.suspend(Request { question, text }))
}

/// Waits until a task is suspended and reads what for.
async fn request_of(
    manager: &Manager,
    task: &TaskRef,
) -> Result<Request, Box<dyn std::error::Error>> {
    let one = [task.clone()];
    let waited = manager.wait(&one).or_suspended().timeout(PATIENCE);
    let waited = waited.all().await?;
    let record = waited.suspended.first().ok_or("it is not suspended")?;
    assert_eq!(record.state, State::Suspended);
    let Some(Wait::Resume(payload)) = &record.wait else {
        return Err("a suspended task waits to be resumed".into());
    };
    Ok(serde_json::from_str(payload.as_json())?)
}

async fn ask_and_respond(manager: &Manager) -> Result<(), Box<dyn std::error::Error>> {
    let questions = Filter::all().event("asked");
    let mut questions = manager.subscribe_to(Since::Now, questions).await?;
    let deployment = manager
        .scope("ops")
        .task("deployment")
        .spawn(deploy)
        .await?;

    // Whoever hears of a question may answer it: here the operator, by key.
    for answer in ["eu-west", "tonight"] {
        let Some(FeedItem::Event(event)) = questions.next().await else {
            return Err("the feed goes on".into());
        };
        let What::Asked { key, question } = &event.what else {
            return Err("the filter lets nothing else through".into());
        };
        println!("{key}? {question:?} {answer}");
        manager.respond(event.task, key.as_str(), answer).await?;
        if key.as_str() == "region" {
            // The first answer stays.
            let other = deployment.respond("region", "us-east").await;
            assert!(matches!(other, Err(RespondError::AlreadyAnswered { .. })));
        }
    }

    let id = deployment.id();
    let done = deployment.await?;
    println!("deployed: {done}");
    assert_eq!(done, json!({ "region": "eu-west", "window": "tonight" }));
    // Who decided what, and when, stays in the record.
    let kept = manager.get(id).ok_or("its record is kept")?.to_json();
    let region = &kept["questions"]["region"];
    println!("in the record: {region}");
    assert_eq!(region["answer"]["value"], "eu-west");
    Ok(())
}

async fn deploy(ctx: Context) -> Result<Value, Failure> {
    let region = ctx.ask("region", "Where to?").await?;
    // The body is still here, and what it holds as well. A stop ends the wait for an answer.
    let window = match ctx.ask("window", "Now or tonight?").await {
        Ok(window) => window,
        Err(AskError::Cancelled(stop)) => return Err(Failure::new(stop.reason.as_ref())),
        Err(other) => return Err(other.into()),
    };
    Ok(json!({ "region": region, "window": window }))
}
