//! The rules of the house, so that the next change keeps them.
//!
//! A file uses only files below it: in the order of the table in `src/main.rs`, then
//! of that in `src/lib.rs`. The tables are read, so they must be complete. For this,
//! `sys` with all of its files is one row, and knows none of its users, with one
//! exception: its entry point calls `crate::main`.
//!
//! Within `sys` there is no order, but no circle either. What a folder's `mod.rs`
//! defines is common to the files of that folder: they may name it, and that does not
//! count. (So `sys/start` ends the process by what `sys/mod` has for everybody, and
//! `sys/mod` declares `sys/start`.)
//!
//! Besides: where `unsafe` may stand and what must stand above it, that the files for
//! the architectures have the same items, and how long a file and a function may be.

pub mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::Source;

const LONGEST_FILE: usize = 200;
const LONGEST_FUNCTION: usize = 60;

/// The one arrow upwards.
const ENTRY: (&str, &str) = ("sys/start", "main");

fn sources() -> Vec<Source> {
    let all = Source::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(all.len() > 15, "{} files", all.len());
    all
}

/// The first column of the table in the doc comment of a file, without the heading.
fn table(source: &Source) -> Vec<String> {
    let rows = source.lines.iter().filter_map(|line| {
        let row = line.strip_prefix("//! |")?;
        let cell = row.split('|').next()?.trim();
        let cell = cell.trim_matches(['[', ']', '`']);
        Some(cell.strip_prefix("mod@").unwrap_or(cell).to_owned())
    });
    let rows: Vec<String> = rows.collect();
    assert!(rows.get(1).is_some_and(|row| row == "---"), "no table");
    rows[2..].to_vec()
}

/// The house: its files by name, and the order of its rows.
struct House {
    files: BTreeMap<String, Source>,
    rows: Vec<String>,
    pure: Vec<String>,
}

impl House {
    fn new(files: Vec<Source>) -> Self {
        let files = files.into_iter().map(|file| (file.name.clone(), file));
        let files: BTreeMap<String, Source> = files.collect();
        let pure = table(&files["lib"]);
        let mut rows = table(&files["main"]);
        rows.extend(pure.iter().cloned());
        House { files, rows, pure }
    }

    /// Where the row of a file is in the order.
    fn place(&self, file: &str) -> usize {
        let row = file.split('/').next().expect("a name");
        let place = self.rows.iter().position(|other| other == row);
        place.unwrap_or_else(|| panic!("{file} is in no table"))
    }

    /// The file of a module: `["sys", "arch"]` is `sys/arch/mod`.
    fn file(&self, module: &[String]) -> Option<&str> {
        let name = module.join("/");
        let names = [name.clone(), format!("{name}/mod")];
        let found = names.iter().find_map(|name| self.files.get(name));
        found.map(|file| file.name.as_str())
    }

    /// The file that `path` in `file` leads to, if it leads to one of the house.
    fn target(&self, file: &str, path: &[String]) -> Option<&str> {
        let module: Vec<String> = match file {
            "main" | "lib" => Vec::new(),
            _ => {
                let module = file.strip_suffix("/mod").unwrap_or(file);
                module.split('/').map(str::to_owned).collect()
            }
        };
        let root = if file == "lib" || self.pure.iter().any(|pure| pure == file) {
            "lib"
        } else {
            "main"
        };
        let (mut here, mut rest, mut root) = (module, path, root);
        match rest[0].as_str() {
            "crate" => here.clear(),
            "rot13d_pure" => (here, root) = (Vec::new(), "lib"),
            "self" | "super" => {
                if rest[0] == "super" {
                    here.pop();
                }
                while rest.get(1).is_some_and(|next| next == "super") {
                    here.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                // A module that this file declares, or nothing of the house.
                here.push(child.to_owned());
                self.file(&here)?;
            }
        }
        for next in &rest[1..] {
            here.push(next.clone());
            if self.file(&here).is_none() {
                here.pop();
                break;
            }
        }
        if here.is_empty() {
            return Some(if root == "lib" { "lib" } else { "main" });
        }
        self.file(&here)
    }

    /// Which file uses which, and on which line; no file uses itself.
    fn arrows(&self) -> Vec<(&str, &str, usize)> {
        let mut arrows = Vec::new();
        for (name, file) in &self.files {
            for (path, line) in file.paths() {
                match self.target(name, &path) {
                    Some(target) if target != name => arrows.push((name.as_str(), target, line)),
                    _ => {}
                }
            }
        }
        arrows
    }
}

/// Whether `target` is the `mod.rs` of a folder that `file` is in.
fn is_common(file: &str, target: &str) -> bool {
    let folder = target.strip_suffix("mod");
    folder.is_some_and(|folder| file.starts_with(folder))
}

#[test]
fn tables_list_every_file() {
    let house = House::new(sources());
    let rows = house.files.keys().filter(|name| *name != "lib");
    let rows: BTreeSet<&str> = rows.map(|name| name.split('/').next().unwrap()).collect();
    let listed: BTreeSet<&str> = house.rows.iter().map(String::as_str).collect();
    assert_eq!(rows, listed);
    assert_eq!(listed.len(), house.rows.len(), "a file is listed twice");
}

/// What goes upwards, as lines of text.
fn upward(house: &House) -> Vec<String> {
    let mut upward = Vec::new();
    for (file, target, line) in house.arrows() {
        let is_inside = file.starts_with("sys/") && target.starts_with("sys/");
        let is_listing = file == "main" || file == "lib";
        if is_inside || is_listing || (file, target) == ENTRY {
            continue;
        }
        if target == "lib" || target == "main" || house.place(target) <= house.place(file) {
            upward.push(format!("src/{file}.rs:{}: uses {target}", line + 1));
        }
    }
    upward
}

#[test]
fn no_file_reaches_upwards() {
    let house = House::new(sources());
    assert_eq!(upward(&house), [""; 0]);
    let entries = house.arrows().into_iter();
    let entries = entries.filter(|(file, target, _)| (*file, *target) == ENTRY);
    assert_eq!(entries.count(), 1, "the entry point calls main, once");
}

/// A circle of files that use each other, if there is one.
fn circle(house: &House) -> Option<Vec<&str>> {
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, target, _) in house.arrows() {
        if !is_common(file, target) && (file, target) != ENTRY {
            uses.entry(file).or_default().insert(target);
        }
    }
    // A folder's `mod.rs` stands for all of its files.
    for file in house.files.keys() {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        if let Some((common, _)) = house.files.get_key_value(&format!("{folder}/mod"))
            && common != file
        {
            uses.entry(common).or_default().insert(file);
        }
    }
    // Files that use nothing, or only such that are gone, are in no circle.
    loop {
        let free = house.files.keys().map(String::as_str).find(|file| {
            let used = uses.get(file);
            used.is_some_and(|used| used.iter().all(|used| !uses.contains_key(used)))
        });
        match free {
            Some(file) => uses.remove(file),
            None => break,
        };
    }
    (!uses.is_empty()).then(|| uses.into_keys().collect())
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let house = House::new(sources());
    assert!(house.arrows().len() > 40, "{:?}", house.arrows());
    assert_eq!(circle(&house), None);
}

/// The rules see what they are there for.
#[test]
fn an_arrow_upwards_is_seen_in_every_form() {
    for (file, text) in [
        ("log", "use crate::clients;"),
        ("log", "use crate::{sys, clients::count};"),
        ("log", "use super::server::run;"),
        ("log", "fn f() { crate::session::run() }"),
        (
            "log",
            "use crate::{\n    sys::{self, STDERR},\n    listener::{self},\n};",
        ),
        ("session", "use crate::server;"),
        ("server", "fn f() { crate::main() }"),
        ("sys/memory", "use crate::log::log;"),
        ("sys/memory", "fn f() { super::super::clients::count() }"),
        ("sys/start", "fn f() { crate::main() + crate::log::line() }"),
        ("rot13", "use crate::message::Line;"),
        ("message", "use super::address;"),
    ] {
        let mut files = sources();
        files.retain(|other| other.name != file);
        files.push(Source::new(file, text));
        let house = House::new(files);
        assert_eq!(
            upward(&house).len(),
            1,
            "{file}: {text}: {:?}",
            upward(&house)
        );
    }
    for (file, text) in [
        (
            "sys/start",
            "use super::arch::syscall; fn f() { crate::main() }",
        ),
        (
            "sys/start",
            "use crate::sys::memory; fn f() { crate::main() }",
        ),
        ("sys/arch/arm", "use crate::sys::signals::SignalInfo;"),
        ("clients", "use crate::log::log; // use crate::server;"),
        (
            "clients",
            "fn f<'a>(c: char) { let x = ['\"', 'c', '\\'']; \"crate::server\"; }",
        ),
    ] {
        let mut files = sources();
        files.retain(|other| other.name != file);
        files.push(Source::new(file, text));
        let house = House::new(files);
        assert_eq!(upward(&house), [""; 0], "{file}: {text}");
        assert_eq!(
            circle(&house).is_some(),
            file.starts_with("sys/"),
            "{file}: {text}"
        );
    }
}

/// Lines outside `sys` on which `unsafe` stands, or is allowed.
fn unsafe_outside(file: &Source) -> Vec<usize> {
    let texts: Vec<&str> = file
        .tokens
        .iter()
        .map(|token| token.text.as_str())
        .collect();
    let mut lines = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let is_level = |text: &&str| ["allow", "expect", "warn", "deny", "forbid"].contains(text);
        let level = || texts[..at].iter().rev().find(|text| is_level(text));
        if *text == "unsafe"
            || *text == "unsafe_code" && !matches!(level(), Some(&"deny" | &"forbid"))
        {
            lines.push(file.tokens[at].line);
        }
    }
    lines
}

#[test]
fn unsafe_is_in_sys_alone() {
    for file in sources() {
        // The compiler looks as well.
        let level = match file.name.as_str() {
            "lib" => Some("#![forbid(unsafe_code)]"),
            "main" => Some("#![deny(unsafe_code)]"),
            _ => None,
        };
        if let Some(level) = level {
            assert!(file.lines.iter().any(|line| line == level), "{level}");
        }
        if !file.name.starts_with("sys/") {
            let lines = unsafe_outside(&file);
            let found = lines.first().map(|&line| (line + 1, &file.lines[line]));
            assert_eq!(found, None, "src/{}.rs", file.name);
        }
    }
    let seen = |text| unsafe_outside(&Source::new("log", text)).len();
    assert_eq!(seen("#![deny(unsafe_code)]\n// unsafe\n\"unsafe\";"), 0);
    assert_eq!(seen("#[allow(dead_code, unsafe_code)]"), 1);
    assert_eq!(seen("fn f() { unsafe { g() } }"), 1);
}

/// Lines on which an `unsafe` block or implementation begins whose statement has no
/// `// SAFETY:` right above it.
fn without_reason(file: &Source) -> Vec<usize> {
    let mut lines = Vec::new();
    for pair in file.tokens.windows(2) {
        if pair[0].text != "unsafe" || !["{", "impl"].contains(&pair[1].text.as_str()) {
            continue;
        }
        // Up to the line on which the statement begins.
        let mut above = file.lines[..pair[0].line]
            .iter()
            .rev()
            .map(|line| line.trim());
        let mut above = above.by_ref().skip_while(|line| {
            !line.is_empty() && !line.starts_with("//") && !line.ends_with([';', '{', '}', ','])
        });
        let is_safety = |line: &str| line.starts_with("// SAFETY: ");
        let mut comment = above.by_ref().take_while(|line| line.starts_with("// "));
        if !comment.any(is_safety) {
            lines.push(pair[0].line);
        }
    }
    lines
}

#[test]
fn every_unsafe_block_has_its_reason_above_it() {
    let mut wanting = Vec::new();
    for file in sources() {
        for line in without_reason(&file) {
            wanting.push(format!("src/{}.rs:{}", file.name, line + 1));
        }
    }
    assert_eq!(wanting, [""; 0]);
    let seen = |text| without_reason(&Source::new("sys/mod", text)).len();
    assert_eq!(
        seen("// SAFETY: a fact,\n// and more.\nlet x =\n    unsafe { f() };"),
        0
    );
    assert_eq!(seen("// SAFETY: a fact.\ng();\nunsafe { f() };"), 1);
    assert_eq!(seen("// A fact.\nunsafe impl Sync for X {}"), 1);
}

#[test]
fn architectures_have_the_same_items_in_the_same_order() {
    let sources = sources();
    let arch = |name: &str| sources.iter().find(|file| file.name == name).unwrap();
    let expected = table(arch("sys/arch/mod"));
    let mut count = 0;
    for file in &sources {
        if !file.name.starts_with("sys/arch/") || file.name == "sys/arch/mod" {
            continue;
        }
        count += 1;
        let items = file.items().into_iter();
        let items = items.filter(|(public, name)| *public || expected.contains(name));
        let items: Vec<String> = items.map(|(_, name)| name).collect();
        assert_eq!(items, expected, "src/{}.rs", file.name);
    }
    assert!(count >= 4, "{count} architectures");
}

/// How each architecture loads the token, makes a system call and wipes the register.
const TOKEN_PASSES: [(&str, [&str; 3]); 4] = [
    ("aarch64", ["ldr x4, [x4]", "svc 0", "mov x4, xzr"]),
    ("arm", ["ldr r4, [r4]", "svc #0", "mov r4, #0"]),
    ("riscv64", ["ld a4, 0(a4)", "ecall", "mv a4, zero"]),
    ("x86_64", ["mov r8, [r8]", "syscall", "xor r8d, r8d"]),
];

/// Before anything else is done, in the parent or in a child: on x86_64 a debugger
/// sees what a child has in its registers, on the others nobody looks.
#[test]
fn token_is_wiped_right_after_each_call_that_carries_it() {
    let known = TOKEN_PASSES.map(|(name, _)| format!("sys/arch/{name}"));
    let files = sources().into_iter().map(|file| file.name);
    let mut files: Vec<String> = files.filter(|name| name.starts_with("sys/arch/")).collect();
    files.retain(|name| name != "sys/arch/mod");
    files.sort();
    assert_eq!(files, known);
    for (name, [load, call, wipe]) in TOKEN_PASSES {
        let name = format!("sys/arch/{name}");
        let sources = sources();
        let source = sources.iter().find(|file| file.name == name).unwrap();
        let instructions = source.lines.iter();
        let instructions = instructions.filter_map(|line| line.trim().strip_prefix('"'));
        let instructions = instructions.filter_map(|line| line.split('"').next());
        let instructions: Vec<&str> = instructions.collect();
        let loads = instructions.windows(3).filter(|three| three[0] == load);
        let loads: Vec<&[&str]> = loads.collect();
        assert_eq!(loads.len(), 2, "{name}: any call, and clone");
        for three in loads {
            // (x86_64 has two ways to do it.)
            let wiped = [wipe, "mov r8d, 0"].contains(&three[2]);
            assert!(three[1] == call && wiped, "{name}: {three:?}");
        }
    }
}

#[test]
fn no_file_and_no_function_is_longer_than_agreed() {
    let mut too_long = Vec::new();
    let mut count = 0;
    for file in sources() {
        let lines = file.lines.len();
        if lines > LONGEST_FILE {
            too_long.push(format!("src/{}.rs: {lines} lines", file.name));
        }
        for function in file.functions() {
            let lines = function.last - function.first + 1;
            count += 1;
            if lines > LONGEST_FUNCTION {
                let place = format!("src/{}.rs:{}", file.name, function.first + 1);
                too_long.push(format!("{place}: {}: {lines} lines", function.name));
            }
        }
    }
    assert!(count > 120, "{count} functions");
    assert_eq!(too_long, [""; 0]);
}
