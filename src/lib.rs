//! The pure parts of `rot13d`: what needs no system call, and so no `unsafe` but for
//! the vectors of [`rot13`].
//!
//! Nothing here does I/O, allocates or panics: the server links with a panic
//! handler that does not exist (see `main.rs`), so a panic that could be
//! reached from this code would not link.
//!
//! | module | what it knows |
//! |---|---|
//! | [`rot13`] | the cipher |
//! | [`mod@line`] | the buffer of one client and its line rule |
//! | [`args`] | the command line |
//! | [`addr`] | addresses: text, socket address, text again |
//! | [`fmt`] | one message in a fixed buffer |

#![no_std]
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod addr;
pub mod args;
pub mod fmt;
pub mod line;
pub mod rot13;
