//! Reading and waiting.
