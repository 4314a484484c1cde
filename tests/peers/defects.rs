//! One test for each defect of theirs that a library can have.

mod awaken;
#[cfg(feature = "testing")]
mod crash;
mod cross;
mod hooks;
mod lash;
mod mastra;
mod n8n;
