//! Messages: addresses, order, bounds, what is left unread.
