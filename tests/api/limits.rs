//! Limits: queues, refusals, slots that are lent.
