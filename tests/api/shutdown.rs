//! The end of a manager.
