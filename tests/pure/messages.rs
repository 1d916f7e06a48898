//! Messages: numbers, system errors in words, the texts of contract section 4.

use std::num::NonZeroU32;

use rot13d_pure::addr::{SocketAddress, V4};
use rot13d_pure::fmt::{CAPACITY, id};

use super::{line, word};
use crate::support::Random;

/// Message `number` about `numbers`, the clients there are and may be, and an
/// address and an argument.
fn message(number: u8, numbers: [u32; 4]) -> String {
    let mut address = SocketAddress::every(0, 0);
    assert!(address.parse(word(b"192.0.2.7")));
    address.set_port(42268);
    let argument = Some(word(b"-x"));
    line(number, numbers, &address, argument, |text| text.add())
}

fn reason(error: i32) -> String {
    let message = message(id::ACCEPT, [error as u32, 0, 0, 0]);
    message
        .strip_prefix("rot13d: accept: ")
        .expect("an error of accept")
        .to_owned()
}

fn digits(number: u32, radix: u32) -> String {
    line(0, [0; 4], &SocketAddress::every(V4, 0), None, |text| {
        text.number(0, number, NonZeroU32::new(radix).expect("a radix"));
    })
}

#[test]
fn numbers() {
    let mut random = Random::seeded();
    let powers = (0..32).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
    let tens = (0..10).flat_map(|zeros| [10u32.pow(zeros) - 1, 10u32.pow(zeros)]);
    let some = (0..10_000).map(|_| random.next() as u32 >> (random.next() % 32));
    for number in powers.chain(tens).chain([u32::MAX]).chain(some) {
        assert_eq!(digits(number, 10), number.to_string());
        assert_eq!(digits(number, 16), format!("{number:x}"));
    }
}

#[test]
fn texts_of_the_contract() {
    let numbers = [29289, 9, 7, 256];
    for (number, text) in [
        (id::LISTENING, "rot13d: listening on 192.0.2.7:42268"),
        (id::START, "rot13d: start 29289 192.0.2.7:42268 7/256"),
        (id::EXIT, "rot13d: end 29289 exit 9 7/256"),
        (id::SIGNAL, "rot13d: end 29289 signal 9 7/256"),
        (id::REFUSED, "rot13d: refused 192.0.2.7:42268"),
    ] {
        assert_eq!(message(number, numbers), text);
    }
    let denied = message(id::BIND, [libc::EACCES as u32, 0, 0, 0]);
    assert_eq!(
        denied,
        "rot13d: fatal: bind 192.0.2.7:42268: permission denied"
    );
}

/// Every error that a user can cause or a machine can run into reads as words.
#[test]
fn likely_errors_have_words() {
    for (error, words) in [
        (libc::EPERM, "not permitted"),
        (libc::EACCES, "permission denied"),
        (libc::EADDRINUSE, "address in use"),
        (libc::EADDRNOTAVAIL, "address not available"),
        (libc::EMFILE, "too many open files"),
    ] {
        assert_eq!(reason(error), words);
    }
    for error in [
        libc::EAGAIN,
        libc::ENOMEM,
        libc::EINVAL,
        libc::ENFILE,
        libc::ENOTSOCK,
        libc::EAFNOSUPPORT,
        libc::ENOBUFS,
    ] {
        let words = reason(error);
        assert!(is_words(&words), "error {error}: {words:?}");
    }
}

fn is_words(text: &str) -> bool {
    text.len() > 5
        && text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_lowercase())
}

/// One text per error and no two alike: none is taken for another text.
/// (What files, sockets and processes fail with is all below 128.)
#[test]
fn every_error_has_a_text_of_its_own() {
    let texts: Vec<String> = (1..128).map(reason).collect();
    for (at, text) in texts.iter().enumerate() {
        let number = format!("error {}", at + 1);
        assert!(*text == number || is_words(text), "{number}: {text:?}");
        assert!(!texts[..at].contains(text), "{number}: {text:?} twice");
    }
}

/// What does not fit is cut, never written past the end.
#[test]
fn too_long_a_message_is_cut() {
    for length in CAPACITY - 4..CAPACITY + 4 {
        let kept = line(0, [0; 4], &SocketAddress::every(V4, 0), None, |text| {
            (0..length).for_each(|_| {
                text.byte('x'.into());
            });
        });
        assert!(kept.len() >= length.min(CAPACITY) - 2 && kept.len() < CAPACITY);
        assert!(kept.bytes().all(|byte| byte == b'x'));
    }
}
