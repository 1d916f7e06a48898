//! What the budgets say about the source of the server, counted. It is formatted by
//! rustfmt, so that a function ends with the first brace as far to the left as its
//! beginning.

use std::path::Path;
use std::{fs, io};

/// The biggest of its kind, by name.
#[derive(Default)]
pub struct Biggest {
    pub lines: usize,
    pub name: String,
}

impl Biggest {
    fn or(&mut self, lines: usize, name: impl FnOnce() -> String) {
        if lines > self.lines {
            (self.lines, self.name) = (lines, name());
        }
    }
}

#[derive(Default)]
pub struct Source {
    /// With comments and linker scripts, without the tests at the ends of files.
    pub lines: usize,
    pub file: Biggest,
    pub function: Biggest,
    /// In a build for this machine: files of other architectures do not count.
    pub unsafe_blocks: usize,
    pub unsafe_outside_sys: usize,
    pub inline_always: usize,
    /// Places that keep the compiler from knowing what it works on: assembly without an
    /// instruction, `black_box`.
    pub hidden: usize,
    pub llvm_flags: usize,
}

impl Source {
    /// Looks at `src` and at the configuration of cargo under the project's folder.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut source = Self::default();
        let folder = root.join("src");
        source.add_folder(&folder, &folder)?;
        for file in ["Cargo.toml", "build.rs", ".cargo/config.toml"] {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            source.llvm_flags += text.matches("llvm-args").count();
        }
        Ok(source)
    }

    fn add_folder(&mut self, src: &Path, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.add_folder(src, &path)?;
                continue;
            }
            let name = path.strip_prefix(src).unwrap_or(&path);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => self.add(name, &fs::read_to_string(&path)?),
                Some("ld") => self.lines += fs::read_to_string(&path)?.lines().count(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds a file, by its name under `src`.
    fn add(&mut self, name: &Path, text: &str) {
        let lines: Vec<&str> = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .collect();
        self.lines += lines.len();
        self.file.or(lines.len(), || name.display().to_string());
        for (start, line) in lines.iter().enumerate() {
            if let Some(function) = function_name(line) {
                let length = length_of_function(&lines[start..]);
                let name = || format!("{function} in {}", name.display());
                self.function.or(length, name);
            }
        }

        let code: Vec<&str> = lines
            .iter()
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect();
        let code = code.join("\n");
        let blocks = code.matches("unsafe {").count();
        if is_built_here(name) {
            self.unsafe_blocks += blocks;
        }
        if !name.starts_with("sys") {
            self.unsafe_outside_sys += blocks;
        }
        self.inline_always += code.matches("inline(always)").count();
        let empty = code.split("asm!(").skip(1).filter(|rest| {
            let rest = rest.trim_start();
            rest.starts_with("\"\"") || rest.starts_with("\"/*")
        });
        self.hidden += empty.count() + code.matches("black_box(").count();
    }
}

/// Whether a file is for every architecture or for this one.
fn is_built_here(name: &Path) -> bool {
    let of_one = name.parent().is_some_and(|folder| folder.ends_with("arch"));
    let stem = name.file_stem().unwrap_or_default();
    !of_one || stem == "mod" || stem == std::env::consts::ARCH
}

/// The name, if a function begins in this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, rest) = line.trim_start().split_once("fn ")?;
    let qualifier = |word: &str| {
        ["pub", "const", "unsafe", "extern", "async"].contains(&word)
            || word.starts_with("pub(")
            || word.starts_with('"')
    };
    let end = rest.find(['(', '<'])?;
    before
        .split_whitespace()
        .all(qualifier)
        .then_some(&rest[..end])
}

/// Lines from the first, which begins a function, to its end.
fn length_of_function(lines: &[&str]) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let first = indent(lines[0]);
    let ends = |line: &&str| line.ends_with('}') || line.ends_with(';');
    if ends(&lines[0]) {
        return 1;
    }
    let rest = &lines[1..];
    let last = rest
        .iter()
        .position(|line| !line.is_empty() && indent(line) == first && ends(line));
    last.map_or(lines.len(), |last| last + 2)
}

#[cfg(test)]
mod tests {
    use super::Source;
    use std::path::Path;

    const TEXT: &str = r#"
//! No unsafe { } here.
pub const fn short() -> u32 { 1 }

#[inline(always)]
pub(crate) unsafe extern "C" fn long<T>(
    first: T,
) -> u32
where
    T: Copy,
{
    if true {
        unsafe { one() };
    }

    // unsafe { }
    let fn_pointer: fn (u32) = two;
    unsafe { asm!(
        "/* {0} */", in(reg) first) }
}

#[cfg(test)]
mod tests { unsafe {} }
"#;

    fn source(name: &str) -> Source {
        let mut source = Source::default();
        source.add(Path::new(name), TEXT);
        source
    }

    #[test]
    fn functions_and_files_are_measured_without_their_tests() {
        let source = source("server.rs");
        assert_eq!(source.lines, 21);
        assert_eq!((source.file.lines, &*source.file.name), (21, "server.rs"));
        let function = &source.function;
        assert_eq!((function.lines, &*function.name), (15, "long in server.rs"));
    }

    #[test]
    fn unsafe_counts_outside_comments_and_for_this_machine() {
        let place = |source: Source| (source.unsafe_blocks, source.unsafe_outside_sys);
        assert_eq!(place(source("server.rs")), (2, 2));
        assert_eq!(place(source("sys/mod.rs")), (2, 0));
        assert_eq!(place(source("sys/arch/another.rs")), (0, 0));
        assert_eq!(place(source("sys/arch/mod.rs")), (2, 0));
    }

    #[test]
    fn tricks_are_counted() {
        let source = source("sys/mod.rs");
        assert_eq!((source.inline_always, source.hidden), (1, 1));
    }
}
