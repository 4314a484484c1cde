//! A supervision tree for background tasks and sub-agents.
