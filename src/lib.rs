//! The pure parts of `rot13d`: no I/O, no `unsafe`, no allocation, no panic.
//! The tests link them with a panic handler that does not exist, so a panic
//! that could be reached from here would not link.
//!
//! | module | what it knows |
//! |---|---|
//! | [`args`] | the command line |
//! | [`usage`] | how the program is called, and what is wrong with how it was |
//! | [`address`] | addresses: read from text, shown as text |
//! | [`message`] | one line of text in a fixed buffer |
//! | [`mod@line`] | the buffer of one client and its line rule |
//! | [`rot13`] | the cipher |

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod args;
pub mod line;
pub mod message;
pub mod rot13;
pub mod usage;
