//! The JSON shapes, against golden files.
