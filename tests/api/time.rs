//! Retries, timeouts, idle tasks, on paused time.
