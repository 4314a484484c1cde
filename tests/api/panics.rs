//! Panics and hostile bodies stay at home.
