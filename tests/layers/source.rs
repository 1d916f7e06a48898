//! A file of the server's source, read far enough for the rules of the house.

use std::fs;
use std::path::Path;

/// A word, `::`, or any other sign, and the line that it is on, counted from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

pub struct Source {
    /// Where it is under `src`, without `.rs`: `sys/arch/x86_64`.
    pub name: String,
    pub lines: Vec<String>,
    /// Without comments, and without what is in string and character literals.
    pub tokens: Vec<Token>,
}

/// A function with its signature and its body; its lines, counted from 0.
pub struct Function {
    pub name: String,
    pub first: usize,
    pub last: usize,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        Source {
            name: name.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            tokens: tokens(&blank(text)),
        }
    }

    /// All files under `folder`.
    pub fn all(folder: &Path) -> Vec<Source> {
        let mut all = Vec::new();
        read_folder(folder, "", &mut all);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Every path of two words and more, or that begins with `crate` or `super`; what
    /// is in braces behind `::` is a path each.
    pub fn paths(&self) -> Vec<(Vec<String>, usize)> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let starts = is_word(self.text(at)) && (at == 0 || self.text(at - 1) != "::");
            at = if starts {
                self.path(at, &[], &mut all)
            } else {
                at + 1
            };
        }
        all.retain(|(path, _)| path.len() > 1 || path == &["super"]);
        all
    }

    /// Reads the path at token `at`, which goes on from `before`; returns where it ends.
    fn path(&self, at: usize, before: &[String], all: &mut Vec<(Vec<String>, usize)>) -> usize {
        if self.text(at) == "{" {
            let mut at = at + 1;
            while at < self.tokens.len() && self.text(at) != "}" {
                at = match self.text(at) {
                    "," => at + 1,
                    _ => self.path(at, before, all),
                };
            }
            return at + 1;
        }
        let mut path = before.to_vec();
        if self.text(at) != "self" || before.is_empty() {
            path.push(self.text(at).to_owned());
        }
        if self.text(at + 1) == "::" && (is_word(self.text(at + 2)) || self.text(at + 2) == "{") {
            return self.path(at + 2, &path, all);
        }
        all.push((path, self.tokens[at].line));
        at + 1
    }

    /// The items at the top level, as `(is public, name)`.
    pub fn items(&self) -> Vec<(bool, String)> {
        let (mut depth, mut public) = (0, false);
        let mut items = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            match token.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let name = self.text(at + 1);
            match token.text.as_str() {
                "pub" if depth == 0 => public = true,
                "fn" | "const" | "static" | "struct" | "enum" | "type" | "mod" | "trait"
                    if depth == 0 && is_word(name) && !["fn", "unsafe", "mut"].contains(&name) =>
                {
                    items.push((public, name.to_owned()));
                }
                ";" | "}" if depth == 0 => public = false,
                _ => {}
            }
        }
        items
    }

    pub fn functions(&self) -> Vec<Function> {
        let starts = (0..self.tokens.len())
            .filter(|&at| self.text(at) == "fn" && is_word(self.text(at + 1)));
        starts.filter_map(|at| self.function(at)).collect()
    }

    fn function(&self, fn_at: usize) -> Option<Function> {
        let (mut depth, mut body) = (0, false);
        for at in fn_at.. {
            match self.tokens.get(at)?.text.as_str() {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                "{" => {
                    body |= depth == 0;
                    depth += 1;
                }
                "}" => {
                    depth -= 1;
                    if body && depth == 0 {
                        return Some(Function {
                            name: self.text(fn_at + 1).to_owned(),
                            first: self.tokens[fn_at].line,
                            last: self.tokens[at].line,
                        });
                    }
                }
                // It has no body.
                ";" if depth == 0 => return None,
                _ => {}
            }
        }
        None
    }
}

fn read_folder(folder: &Path, prefix: &str, all: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.is_dir() {
            read_folder(&path, &format!("{prefix}{name}/"), all);
        } else if let Some(name) = name.strip_suffix(".rs") {
            let text = fs::read_to_string(&path).expect("a file in UTF-8");
            all.push(Source::new(&format!("{prefix}{name}"), &text));
        }
    }
}

pub fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// `text` with spaces for comments and for what is in literals; line by line the same.
fn blank(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut blanked = String::new();
    let mut at = 0;
    while at < letters.len() {
        let end = end_of_blank(&letters, at);
        if end == at {
            blanked.push(letters[at]);
            at += 1;
        }
        while at < end {
            blanked.push(if letters[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    blanked
}

/// Where the comment or the literal ends that begins at `at`; `at` if none does.
fn end_of_blank(letters: &[char], at: usize) -> usize {
    let starts = |at: usize, text: &str| {
        let mut rest = letters[at.min(letters.len())..].iter();
        text.chars().all(|letter| rest.next() == Some(&letter))
    };
    let behind = |mut at: usize, text: &str, escapes: bool| {
        while at < letters.len() && !starts(at, text) {
            at += if escapes && letters[at] == '\\' { 2 } else { 1 };
        }
        (at + text.chars().count()).min(letters.len())
    };
    let in_word = at > 0 && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_');
    if starts(at, "//") {
        return behind(at, "\n", false) - 1;
    }
    if starts(at, "/*") {
        return behind(at, "*/", false);
    }
    if starts(at, "\"") {
        return behind(at + 1, "\"", true);
    }
    if !in_word && starts(at, "r#\"") {
        return behind(at + 3, "\"#", false);
    }
    if !in_word && starts(at, "r\"") {
        return behind(at + 2, "\"", false);
    }
    // A character; a lifetime has no second quote there.
    if starts(at, "'\\") {
        return behind(at + 3, "'", false);
    }
    if starts(at, "'") && starts(at + 2, "'") {
        return at + 3;
    }
    at
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (line, code) in code.lines().enumerate() {
        // Whether the next letter may belong to the last token.
        let mut joins = false;
        for letter in code.chars() {
            let is_part = letter.is_alphanumeric() || letter == '_';
            match tokens.last_mut() {
                Some(last) if joins && is_part && is_word(&last.text) => last.text.push(letter),
                Some(last) if joins && letter == ':' && last.text == ":" => last.text.push(':'),
                _ if !letter.is_whitespace() => tokens.push(Token {
                    text: letter.to_string(),
                    line,
                }),
                _ => {}
            }
            joins = !letter.is_whitespace();
        }
    }
    tokens
}
