//! An actor of the manager fails; a store takes nothing.
