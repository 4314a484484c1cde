//! One test for each defect of theirs that a library can have.

mod awaken;
mod cross;
mod lash;
mod mastra;
mod n8n;
