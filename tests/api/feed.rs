//! Events: order, gaps, lag, filters, snapshots.
