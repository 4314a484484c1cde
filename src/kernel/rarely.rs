//! Fields that few values set: those that set none of them own no memory for them.
//!
//! # Invariants
//! 1. What was never written reads as [`Ordinary::ordinary`].
//! 2. Two are equal when they read the same, written or not.
//!
//! *Not here*: which fields these are (`spec`, `record`).

use std::fmt;
use std::ops::{Deref, DerefMut};

/// What nearly all values of a type are like.
pub trait Ordinary: 'static {
    /// Such a value.
    fn ordinary() -> &'static Self;
}

/// A `T` that is mostly ordinary. To write into it makes room for it, so whoever has nothing to
/// write lets it be.
#[derive(Clone)]
pub struct Rarely<T>(Option<Box<T>>);

impl<T> Rarely<T> {
    /// An ordinary one.
    pub const fn not() -> Self {
        Self(None)
    }

    /// What was written, to be changed; `None` when it is ordinary.
    pub fn written(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Rarely<T> {
    fn default() -> Self {
        Self::not()
    }
}

impl<T: Ordinary + PartialEq> From<T> for Rarely<T> {
    fn from(value: T) -> Self {
        let is_ordinary = value == *T::ordinary();
        Self((!is_ordinary).then(|| Box::new(value)))
    }
}

impl<T: Ordinary> Deref for Rarely<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::ordinary())
    }
}

impl<T: Ordinary + Clone> DerefMut for Rarely<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0
            .get_or_insert_with(|| Box::new(T::ordinary().clone()))
    }
}

impl<T: Ordinary + PartialEq> PartialEq for Rarely<T> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(_), _) | (_, Some(_)) => **self == **other,
        }
    }
}

impl<T: Ordinary + Eq> Eq for Rarely<T> {}

impl<T: Ordinary + fmt::Debug> fmt::Debug for Rarely<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
