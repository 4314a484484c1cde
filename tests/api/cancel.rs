//! Cancelling: one, a tree, a scope, all; races with everything else.
