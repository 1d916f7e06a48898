//! The pure library: cipher, line rule, command line, addresses, messages,
//! each tried on every input of a small kind against an obvious definition
//! (contract, sections 1, 3 and 4).

mod addresses;
mod arguments;
mod cipher;
mod line_rule;
mod messages;

use rot13d_pure::addr::SocketAddress;
use rot13d_pure::fmt::{Source, Text};

/// An argument as the library takes it.
type Word = std::vec::IntoIter<u8>;

fn word(text: &[u8]) -> Word {
    Vec::from(text).into_iter()
}

/// What a text may speak of: an address, an argument, and the numbers of `Source`.
struct About<'a>(&'a SocketAddress, Option<Word>, [u32; 4]);

impl Source for About<'_> {
    type Word = Word;

    fn number(&self, at: u32) -> u32 {
        self.2[at as usize]
    }

    fn address(&self) -> &SocketAddress {
        self.0
    }

    fn argument(&self) -> Option<Word> {
        self.1.clone()
    }
}

/// The line that `fill` puts together for text `id`, without its newline; `numbers`
/// are the first, how a client ended, the clients there are and may be.
fn line(
    id: u8,
    numbers: [u32; 4],
    address: &SocketAddress,
    argument: Option<Word>,
    fill: impl FnOnce(&mut Text<'_, About<'_>>),
) -> String {
    let [first, status, count, clients] = numbers;
    let about = About(address, argument, [clients, 0, status, count]);
    let mut text = Text::new(id.into(), first, &about);
    fill(&mut text);
    // SAFETY: `Text::line` has written every byte of it.
    let line = text.line().iter().map(|byte| unsafe { byte.assume_init() });
    let mut line: Vec<u8> = line.collect();
    assert_eq!(line.pop(), Some(b'\n'));
    String::from_utf8_lossy(&line).into_owned()
}
