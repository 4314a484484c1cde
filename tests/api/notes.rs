//! Progress, output, events of a body, and their bounds.
