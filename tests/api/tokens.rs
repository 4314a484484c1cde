//! Foreign tokens, the token of a body, handles that cancel when dropped.
