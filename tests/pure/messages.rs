//! Messages: numbers, words of the command line, system errors in words.

use rot13d_pure::address::Address;
use rot13d_pure::message::{CAPACITY, Line, Show};
use rustix::io::Errno;

use super::{finished, shown};
use crate::support::Random;

fn reason(error: i32) -> String {
    shown(&Errno::from_raw_os_error(error))
}

#[test]
fn numbers() {
    let mut random = Random::seeded();
    let powers = (0..32).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
    let tens = (0..10).flat_map(|zeros| [10u32.pow(zeros) - 1, 10u32.pow(zeros)]);
    let some = (0..10_000).map(|_| random.next() as u32 >> (random.next() % 32));
    let all = powers.chain(tens).chain([u32::MAX]).chain(some);
    for number in all.chain(0..100_000) {
        assert_eq!(shown(&number), number.to_string());
        if let Ok(number) = i32::try_from(number) {
            assert_eq!(shown(&number), number.to_string());
        }
    }
}

#[test]
fn every_number_in_hexadecimal() {
    for number in 0..=u16::MAX {
        let mut line = Line::new();
        line.hexadecimal(number);
        assert_eq!(finished(line), format!("{number:x}"));
    }
}

#[test]
fn parts_stand_next_to_each_other() {
    let mut line = Line::new();
    let (process, address) = (29289i32, Address::Local);
    "start ".show(&mut line);
    process.show(&mut line);
    line.push(b' ');
    address.show(&mut line);
    " ".show(&mut line);
    7u32.show(&mut line);
    b"/\0"[..].show(&mut line);
    assert_eq!(finished(line), "start 29289 local 7/?");
    assert_eq!(finished(Line::new()), "");
}

/// Every error that a user can cause or a machine can run into, in its words.
const WORDS: [(i32, &str); 12] = [
    (libc::EPERM, "not permitted"),
    (libc::EAGAIN, "temporarily unavailable"),
    (libc::ENOMEM, "out of memory"),
    (libc::EACCES, "permission denied"),
    (libc::EINVAL, "invalid argument"),
    (libc::ENFILE, "file table full"),
    (libc::EMFILE, "too many open files"),
    (libc::ENOTSOCK, "not a socket"),
    (libc::EAFNOSUPPORT, "address family not supported"),
    (libc::EADDRINUSE, "address in use"),
    (libc::EADDRNOTAVAIL, "address not available"),
    (libc::ENOBUFS, "no buffer space"),
];

/// The words of these, the number of every other: no two are alike.
#[test]
fn every_error_has_a_text_of_its_own() {
    for error in 1..4096 {
        let expected = match WORDS.iter().find(|(number, _)| *number == error) {
            Some((_, words)) => (*words).to_owned(),
            None => format!("error {error}"),
        };
        assert_eq!(reason(error), expected);
    }
}

/// What does not fit is cut, never written past the end, and the newline is there.
#[test]
fn too_long_a_message_is_cut() {
    for length in CAPACITY - 4..CAPACITY + 4 {
        let mut line = Line::new();
        (0..length).for_each(|_| line.push(b'x'));
        assert_eq!(finished(line), "x".repeat(length.min(CAPACITY - 1)));
    }
    for start in CAPACITY - 40..CAPACITY + 4 {
        let text = "x".repeat(start);
        let mut whole = text.clone();
        let mut line = Line::new();
        text.show(&mut line);
        u32::MAX.show(&mut line);
        Errno::ADDRINUSE.show(&mut line);
        b"word"[..].show(&mut line);
        whole.push_str("4294967295address in useword");
        whole.truncate(CAPACITY - 1);
        assert_eq!(finished(line), whole);
    }
}
