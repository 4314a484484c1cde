//! Many at once: spawn storms against cancels, floods, large trees.
