//! The pure library: cipher, line rule, command line, addresses, messages,
//! each tried on every input of a small kind against an obvious definition
//! (contract, sections 1, 3 and 4).

mod addresses;
mod arguments;
mod cipher;
mod line_rule;
mod messages;

use rot13d_pure::addr::SocketAddress;
use rot13d_pure::fmt::Text;

/// An argument as the library takes it.
type Word = std::vec::IntoIter<u8>;

fn word(text: &[u8]) -> Word {
    Vec::from(text).into_iter()
}

/// The line that `fill` puts together for text `id`, without its newline.
fn line(
    id: u8,
    numbers: [u32; 4],
    address: &SocketAddress,
    argument: Option<Word>,
    fill: impl FnOnce(&mut Text<'_, Word>),
) -> String {
    let mut text = Text::new(id.into(), numbers, address, argument);
    fill(&mut text);
    // SAFETY: `Text::line` has written every byte of it.
    let line = text.line().iter().map(|byte| unsafe { byte.assume_init() });
    let mut line: Vec<u8> = line.collect();
    assert_eq!(line.pop(), Some(b'\n'));
    String::from_utf8_lossy(&line).into_owned()
}
