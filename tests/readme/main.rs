//! What the README says is so.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `page` | the tests, files and numbers that the page names exist |
//! | `promises` | each promise once, in its smallest form, through the public face |
//!
//! Not here: the code on the page, which is a doctest; storms, floods and every corner of a verb.

mod page;
mod promises;
