//! The pure library: cipher, line rule, command line, addresses, messages, each
//! tried on every input of a small kind against an obvious definition; and a proof
//! that no panic can be reached in it.

mod addresses;
mod arguments;
mod cipher;
mod line_rule;
mod messages;
mod no_panic;

use rot13d_pure::message::{Line, Show};

/// `part` as it is shown.
fn shown(part: &(impl Show + ?Sized)) -> String {
    let mut line = Line::new();
    part.show(&mut line);
    finished(line)
}

/// The text of a line, without its newline.
fn finished(mut line: Line) -> String {
    let text = str::from_utf8(line.finish()).expect("ASCII");
    let text = text.strip_suffix('\n').expect("a newline at the end");
    assert!(!text.contains('\n'), "two lines: {text:?}");
    text.to_owned()
}
