//! Parts of a text that a command writes: between `<!-- NAME -->` and `<!-- /NAME -->`,
//! each in a line of its own.

use std::path::Path;
use std::{fs, io};

/// What is between the marks.
pub fn part<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n"))?;
    Some(rest.split_once(&format!("<!-- /{name} -->"))?.0)
}

/// The text with another part between the marks; nothing where it has no such marks.
pub fn with_part(text: &str, name: &str, new: &str) -> Option<String> {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open)?;
    let (_, after) = rest.split_once(&close)?;
    Some(format!("{before}{open}{new}{close}{after}"))
}

/// Puts another part into a file that has these marks.
pub fn replace(file: &Path, name: &str, new: &str) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let text = with_part(&text, name, new).ok_or_else(|| no_place(file, name))?;
    fs::write(file, text)
}

/// An error if a file does not have these marks.
pub fn find(file: &Path, name: &str) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    part(&text, name).ok_or_else(|| no_place(file, name))?;
    Ok(())
}

fn no_place(file: &Path, name: &str) -> io::Error {
    io::Error::other(format!("{} has no part <!-- {name} -->", file.display()))
}

/// A part with its marks.
pub fn marked(name: &str, part: &str) -> String {
    format!("<!-- {name} -->\n{part}<!-- /{name} -->\n")
}

#[cfg(test)]
mod tests {
    use super::{marked, part, with_part};

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "before\n<!-- costs -->\nold\n<!-- /costs -->\nafter\n";
        assert_eq!(part(text, "costs"), Some("old\n"));
        assert_eq!(part(text, "cost"), None);
        let new = with_part(text, "costs", "new\n").unwrap();
        assert_eq!(new, format!("before\n{}after\n", marked("costs", "new\n")));
        assert_eq!(with_part("no marks", "costs", "new\n"), None);
    }
}
