//! Parents, children, dependencies, names and keys.
