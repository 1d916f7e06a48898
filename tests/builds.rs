//! However it is built, it is the same server: with every linker that people have, in
//! every folder, at every level of optimisation; or it does not link, and one sentence
//! says what to do.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::tree::{Tree, succeeded};
use crate::support::{Dialogue, Scratch, Server, binary, runner};

/// Builds a copy with these variables and arguments of cargo.
fn build(tree: &Tree, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = tree.command(cargo);
    command.args(["build", "--release"]).args(arguments);
    command.envs(variables.iter().copied());
    command.output().expect("cargo runs")
}

/// Starts, serves a line, ends in order.
#[track_caller]
fn smoke_test(file: &Path) {
    let mut server = Server::new().binary(file).args(["-v"]).start();
    let mut client = server.connect();
    client.exchange(b"Hello, world\n");
    client.exchange(&[&[b'n'; 9000][..], b"\n"].concat());
    client.say(b"no newline");
    client.half_close();
    client.hear_echo_of(b"no newline");
    client.assert_end();
    server.wait_log(" exit 0 0/256");
    server.signal(libc::SIGTERM);
    assert!(server.wait_exit().success());
}

/// A way to build, and whether the very file that is shipped must come of it.
struct Way {
    name: &'static str,
    variables: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    same: bool,
}

const fn way(
    name: &'static str,
    variables: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    same: bool,
) -> Way {
    Way {
        name,
        variables,
        arguments,
        same,
    }
}

/// (rust-lld alone links the boards: see tests/target.sh. For this machine cargo would call
/// it for build scripts, too, which take a C library.)
const LINKER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER";
const WAYS: [Way; 6] = [
    way("as it comes", &[], &[], true),
    way(
        "with the target named",
        &[],
        &["--target", "x86_64-unknown-linux-gnu"],
        false,
    ),
    way(
        "with RUSTFLAGS",
        &[("RUSTFLAGS", "--cfg of_somebody_else")],
        &[],
        true,
    ),
    way(
        "gcc with its own ld",
        &[("RUSTFLAGS", "-Clink-arg=-fuse-ld=bfd")],
        &[],
        false,
    ),
    way(
        "gcc with lld",
        &[("RUSTFLAGS", "-Clink-arg=-fuse-ld=lld")],
        &[],
        true,
    ),
    way("gcc, named", &[(LINKER, "gcc")], &[], false),
];

#[test]
#[cfg(target_arch = "x86_64")]
fn every_linker_makes_the_same_server() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let shipped = fs::read(binary()).expect("the binary");
    for (number, way) in WAYS.iter().enumerate() {
        let tree = Tree::copy_to(scratch.path(&format!("with spaces, {number}")));
        let output = build(&tree, way.variables, way.arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", way.name);
        assert!(!said.contains("warning"), "{}: {said}", way.name);
        let folder = match way.arguments {
            ["--target", target] => format!("target/{target}/release/rot13d"),
            _ => "target/release/rot13d".to_owned(),
        };
        let file = tree.path(&folder);
        let same = fs::read(&file).expect("a binary") == shipped;
        assert!(same || !way.same, "{}: another file", way.name);
        smoke_test(&file);
    }
}

#[test]
fn from_another_folder() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("tree"));
    let manifest = tree.path("Cargo.toml");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = tree.command(cargo);
    command
        .current_dir("/")
        .args(["build", "--release", "--manifest-path"]);
    succeeded(&command.arg(manifest).output().expect("cargo runs"));
    let built = fs::read(tree.path("target/release/rot13d")).expect("a binary");
    assert!(built == fs::read(binary()).unwrap(), "another file");
}

/// With other optimisations the program either serves or does not link, since an
/// address would have to be relocated: it must not be built and die.
#[test]
fn every_level_of_optimisation_serves_or_does_not_link() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("levels"));
    const LEVEL: &str = "CARGO_PROFILE_RELEASE_OPT_LEVEL";
    const UNITS: &str = "CARGO_PROFILE_RELEASE_CODEGEN_UNITS";
    for variables in [
        &[(LEVEL, "z")][..],
        &[(LEVEL, "s")],
        &[(LEVEL, "1")],
        &[(LEVEL, "2")],
        &[(LEVEL, "3")],
        &[(UNITS, "16")],
    ] {
        let output = build(&tree, variables, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            println!("{variables:?} links");
            smoke_test(&tree.path("target/release/rot13d"));
        } else {
            println!("{variables:?} does not link");
            assert!(said.contains("it would have to be relocated"), "{said}");
        }
    }
}

/// What `build.rs` says when it is told of this target.
#[track_caller]
fn build_script_says(target: &str, architecture: &str, linker: &str) -> String {
    let scratch = Scratch::new();
    let program = scratch.path("build-script");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let mut compile = Command::new(rustc);
    compile
        .args(["--edition", "2024", "-o"])
        .arg(&program)
        .arg(source);
    succeeded(&compile.output().expect("rustc runs"));
    let output = Command::new(program)
        .env("TARGET", target)
        .env("CARGO_CFG_TARGET_ARCH", architecture)
        .env("CARGO_CFG_TARGET_OS", "linux")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("OUT_DIR", scratch.path(""))
        .env("RUSTC_LINKER", linker)
        .output()
        .expect("it runs");
    succeeded(&output);
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let errors = said
        .lines()
        .filter_map(|line| line.strip_prefix("cargo::error="));
    errors.collect::<Vec<_>>().join("\n")
}

#[test]
fn unsupported_target_gets_one_sentence() {
    for (target, architecture) in [
        ("mips-unknown-linux-gnu", "mips"),
        ("s390x-unknown-linux-gnu", "s390x"),
        ("i686-unknown-linux-gnu", "x86"),
    ] {
        assert_eq!(
            build_script_says(target, architecture, ""),
            format!(
                "rot13d is for Linux on x86_64, aarch64, arm, riscv64; {target} is none of these"
            )
        );
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn board_without_a_linker_gets_one_sentence() {
    let target = "riscv64gc-unknown-linux-gnu";
    let said = build_script_says(target, "riscv64", "");
    assert_eq!(
        said,
        format!(
            "no linker for {target}: run `make TARGET={target}`, \
             or give cargo --config 'target.{target}.linker=\"rust-lld\"'"
        )
    );
    for linker in ["rust-lld", "riscv64-linux-gnu-gcc", "ld"] {
        assert_eq!(build_script_says(target, "riscv64", linker), "");
    }
    assert_eq!(
        build_script_says("x86_64-unknown-linux-gnu", "x86_64", ""),
        ""
    );
}
