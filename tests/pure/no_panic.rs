//! No panic can be reached in the pure library: a program that calls all of it links,
//! although its panic handler calls a function that is nowhere.
//!
//! It is linked as the server is: `no_panic/main.rs` takes the place of `src/main.rs`
//! in a copy of the sources.

use std::path::Path;
use std::process::Output;
use std::{env, fs};

use crate::support::tree::Tree;
use crate::support::{Scratch, cargo};

const PROGRAM: &str = include_str!("no_panic/main.rs");
const MODULES: [&str; 6] = ["address", "args", "line", "message", "rot13", "usage"];
const OPT_LEVELS: [&str; 5] = ["z", "s", "1", "2", "3"];

fn source(module: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{module}.rs"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The sources, with the program in the server's place.
fn tree(scratch: &Scratch) -> Tree {
    let tree = Tree::copy_to(scratch.path("tree"));
    tree.write("src/main.rs", PROGRAM);
    // On x86_64 the compiler calls memcpy through a table at some optimisation levels.
    // The table would have to be relocated: then the server is not to be linked, but
    // that is not the question here.
    let script = tree.read("src/layout.ld");
    let lines = script.lines().filter(|line| !line.starts_with("ASSERT"));
    let lines: Vec<&str> = lines.collect();
    tree.write("src/layout.ld", &lines.join("\n"));
    tree
}

/// Links the program as the release profile says, but for the optimisation level of
/// the library and the program.
fn link(tree: &Tree, opt_level: &str) -> Output {
    let mut command = tree.command(cargo());
    command
        .args(["build", "--release", "--bin", "rot13d", "--config"])
        // The dependencies are built once.
        .arg(r#"profile.release.package."*".opt-level = "z""#)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level);
    command.output().expect("cargo runs")
}

#[test]
fn no_panic_can_be_reached_at_any_optimisation_level() {
    let scratch = Scratch::new();
    let tree = tree(&scratch);
    let sound = source("rot13");
    let first = "pub fn rotate(bytes: &mut [u8]) {\n";
    let unsound = sound.replace(first, &format!("{first}    bytes[12345] = 0;\n"));
    assert_ne!(sound, unsound, "the cipher has another first line now");

    for opt_level in OPT_LEVELS {
        tree.write("src/rot13.rs", &sound);
        let output = link(&tree, opt_level);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "opt-level {opt_level}: {said}");

        tree.write("src/rot13.rs", &unsound);
        let output = link(&tree, opt_level);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("a_panic_is_reachable"),
            "opt-level {opt_level}: a panic was not noticed: {said}"
        );
    }
}

/// The name of a function that is public, and what is behind the name.
fn public_functions(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().map(str::trim_start);
    lines.filter_map(|line| {
        let line = line.strip_prefix("pub ")?;
        let line = line.strip_prefix("const ").unwrap_or(line);
        let end = line.find(['(', '<'])?;
        line[..end].strip_prefix("fn ")
    })
}

#[test]
fn every_public_function_is_called_there() {
    let mut count = 0;
    for module in MODULES {
        let source = source(module);
        for name in public_functions(&source) {
            let called = [format!("::{name}("), format!(".{name}(")];
            assert!(
                called.iter().any(|call| PROGRAM.contains(call)),
                "{module}: {name}"
            );
            count += 1;
        }
        for shown in source.lines().filter_map(|line| {
            let (start, shown) = line.strip_suffix(" {")?.split_once("Show for ")?;
            start.starts_with("impl").then_some(shown)
        }) {
            let call = format!("show::<{shown}>(");
            assert!(PROGRAM.contains(&call), "{module}: impl Show for {shown}");
            count += 1;
        }
    }
    assert!(count >= 20, "{count} functions were found");
    let library = source("lib");
    let modules = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    assert!(modules.eq(MODULES), "the library has other modules now");
}
