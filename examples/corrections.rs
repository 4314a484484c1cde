//! A sub-agent that takes corrections through its inbox.
//!
//! ```sh
//! cargo run --example corrections
//! ```
//!
//! A writer hands each draft to its parent and takes what comes back: a correction, or the word
//! that it is good. The parent is an editor that only knows what it does not want to read. Neither
//! can hang: a request to stop goes ahead of all messages.
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use understory::{Context, Failure, Manager, Received};

/// What the editor tells the writer. A message is anything that can be written as JSON.
#[derive(Debug, Serialize, Deserialize)]
enum Correction {
    /// Do not use this word.
    Without(String),
    /// The draft is good.
    Good,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::in_memory();
    let editor = manager
        .scope("blog")
        .task("editor")
        .timeout(Duration::from_secs(10))
        .spawn(edit)
        .await?;
    let text = editor.await?;
    println!("printed: {text}");
    assert_eq!(text, "trees supervise tasks");
    Ok(())
}

/// Reads drafts until one has none of the unwanted words.
async fn edit(ctx: Context) -> Result<String, Failure> {
    let unwanted = ["simply", "very"];
    let writer = ctx.task("writer").spawn(write).await?;
    while let Some(message) = ctx.recv().await {
        let draft: String = serde_json::from_value(message.body)?;
        println!("draft {}: {draft}", message.number);
        let word = unwanted.iter().find(|word| draft.contains(**word));
        let Some(word) = word else {
            writer.send(Correction::Good).await?;
            break;
        };
        let receipt = writer.send(Correction::Without((*word).to_owned())).await?;
        println!("correction {}: without {word:?}", receipt.number);
    }
    Ok(writer.await?)
}

/// Hands in drafts until one is good.
async fn write(ctx: Context) -> Result<String, Failure> {
    let mut draft = "trees very simply supervise tasks".to_owned();
    loop {
        ctx.send("parent", &draft).await?;
        match ctx.recv_or_cancelled().await {
            Received::Message(message) => match serde_json::from_value(message.body)? {
                Correction::Good => return Ok(draft),
                Correction::Without(word) => draft = draft.replace(&format!("{word} "), ""),
            },
            Received::Cancelled(stop) => return Err(Failure::new(stop.reason.as_ref())),
            Received::Closed => return Err(Failure::new("nobody reads drafts any more")),
        }
    }
}
