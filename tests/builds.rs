//! However it is built, it is the same server: with every linker that people have, in
//! every folder, at every level of optimisation; or it does not link, and one sentence
//! says what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use crate::support::tree::{Tree, succeeded};
use crate::support::{Dialogue, Scratch, Server, binary, cargo, runner, tool};

/// Builds a copy with these variables and arguments of cargo.
fn build(tree: &Tree, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = tree.command(cargo());
    command.args(["build", "--release"]).args(arguments);
    command.envs(variables.iter().copied());
    command.output().expect("cargo runs")
}

/// Starts, serves a line, ends in order.
#[track_caller]
fn smoke_test(file: &Path, emulator: Option<&str>) {
    let mut server = Server::new().binary(file).args(["-v"]);
    if let Some(emulator) = emulator {
        server = server.emulated_by(emulator);
    }
    let mut server = server.start();
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

/// A way to build it, and what must come of it.
struct Way {
    name: &'static str,
    target: Option<&'static str>,
    by: By,
    /// What is set in the environment.
    variables: &'static [(&'static str, &'static str)],
    /// The linker in cargo's own configuration, if there is one.
    configured: Option<&'static str>,
    made: Made,
}

/// What is run.
enum By {
    Cargo,
    Make,
}

/// What comes of it, compared with the first way.
enum Made {
    /// The same file.
    File,
    /// The same functions, of the same sizes. For another name of the target rustc
    /// orders them differently, and another linker leaves other gaps between sections.
    Functions,
}

impl Way {
    const fn cargo(name: &'static str) -> Self {
        Way {
            name,
            target: None,
            by: By::Cargo,
            variables: &[],
            configured: None,
            made: Made::Functions,
        }
    }

    const fn make(name: &'static str) -> Self {
        Way {
            by: By::Make,
            ..Way::cargo(name)
        }
    }

    const fn target(self, target: &'static str) -> Self {
        Way {
            target: Some(target),
            ..self
        }
    }

    const fn with(self, variables: &'static [(&'static str, &'static str)]) -> Self {
        Way { variables, ..self }
    }

    const fn configured(self, linker: &'static str) -> Self {
        Way {
            configured: Some(linker),
            ..self
        }
    }

    const fn same_file(self) -> Self {
        Way {
            made: Made::File,
            ..self
        }
    }

    /// Builds it with its symbols, which changes nothing else
    /// (`artefact::build_with_symbols_has_the_same_code`).
    fn build(&self, tree: &Tree) -> PathBuf {
        let mut command = match self.by {
            By::Cargo => {
                let mut cargo = tree.command(cargo());
                cargo.args(["build", "--release"]);
                cargo.args(self.target.iter().flat_map(|target| ["--target", target]));
                cargo
            }
            By::Make => {
                let mut make = tree.command("make");
                make.args(self.target.map(|target| format!("TARGET={target}")));
                make
            }
        };
        command.env("RUSTFLAGS", "-Cstrip=none");
        for (name, value) in self.variables {
            match *name {
                "RUSTFLAGS" => command.env(name, format!("{value} -Cstrip=none")),
                _ => command.env(name, value),
            };
        }
        let folder = tree.path(".cargo");
        if let (Some(linker), Some(target)) = (self.configured, self.target) {
            fs::create_dir_all(&folder).expect("a folder");
            let text = format!("[target.{target}]\nlinker = {linker:?}\n");
            fs::write(folder.join("config.toml"), text).expect("cargo's configuration");
        }
        let output = command.output().expect("it runs");
        let _ = fs::remove_dir_all(&folder);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", self.name);
        assert!(!said.contains("warning"), "{}: {said}", self.name);
        let folder = self.target.unwrap_or_default();
        tree.path("target").join(folder).join("release/rot13d")
    }
}

/// The sizes and names of all functions in `file`.
#[track_caller]
fn functions(file: &Path) -> Vec<String> {
    let output = Command::new(tool("nm")).arg("-CS").arg(file).output();
    let output = output.expect("nm runs");
    succeeded(&output);
    let symbols = String::from_utf8(output.stdout).expect("UTF-8");
    let function = |line: &str| {
        let (_, symbol) = line.split_once(' ')?;
        let (size, symbol) = symbol.split_once(' ')?;
        let name = symbol.strip_prefix(['t', 'T'])?;
        // What the compiler has made of common ends of functions has numbers.
        Some(format!("{size}{}", name.trim_end_matches(char::is_numeric)))
    };
    let mut functions: Vec<_> = symbols.lines().filter_map(function).collect();
    functions.sort();
    functions
}

/// Builds in each way, one after the other in the same folder, as people do, and tries
/// what comes of it.
#[track_caller]
fn assert_same_server(ways: &[Way], emulator: Option<&str>) {
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("a path with spaces"));
    let mut first: Option<(Vec<u8>, Vec<String>)> = None;
    for way in ways {
        let file = way.build(&tree);
        let bytes = fs::read(&file).expect("a binary");
        let functions = functions(&file);
        smoke_test(&file, emulator);
        let Some((first, first_functions)) = &first else {
            assert!(functions.len() > 50, "{}: {functions:?}", way.name);
            first = Some((bytes, functions));
            continue;
        };
        match way.made {
            Made::File => assert!(bytes == *first, "{}: another file", way.name),
            Made::Functions => assert_eq!(functions, *first_functions, "{}", way.name),
        }
    }
}

/// (For this machine itself cargo calls the same linker for build scripts, which take a
/// C library, so that rust-lld cannot be it.)
const WAYS: [Way; 6] = [
    Way::cargo("as it comes"),
    Way::cargo("with the target named").target("x86_64-unknown-linux-gnu"),
    Way::cargo("with RUSTFLAGS")
        .with(&[("RUSTFLAGS", "--cfg of_somebody_else")])
        .same_file(),
    Way::cargo("gcc with its own ld").with(&[("RUSTFLAGS", "-Clink-arg=-fuse-ld=bfd")]),
    Way::cargo("gcc with lld")
        .with(&[("RUSTFLAGS", "-Clink-arg=-fuse-ld=lld")])
        .same_file(),
    Way::cargo("gcc, named").with(&[("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "gcc")]),
];

#[test]
#[cfg(target_arch = "x86_64")]
fn every_linker_makes_the_same_server() {
    assert!(runner().is_empty(), "it is built for this machine");
    assert_same_server(&WAYS, None);
}

const X86_64_MUSL: &str = "x86_64-unknown-linux-musl";
const X86_64_MUSL_LINKER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER";
const MUSL_WAYS: [Way; 4] = [
    Way::cargo("as it comes"),
    Way::cargo("musl").target(X86_64_MUSL),
    Way::cargo("musl, rust-lld")
        .target(X86_64_MUSL)
        .with(&[(X86_64_MUSL_LINKER, "rust-lld")]),
    Way::make("musl, make").target(X86_64_MUSL),
];

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "takes another target than this machine's: make test-boards"]
fn name_that_ends_in_musl_is_the_same_server() {
    assert_same_server(&MUSL_WAYS, None);
}

const AARCH64: &str = "aarch64-unknown-linux-gnu";
const AARCH64_LINKER: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER";
const AARCH64_MUSL: &str = "aarch64-unknown-linux-musl";
const AARCH64_MUSL_LINKER: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER";
const AARCH64_GCC: &str = "aarch64-linux-gnu-gcc";
const AARCH64_WAYS: [Way; 9] = [
    Way::make("make").target(AARCH64),
    Way::cargo("rust-lld")
        .target(AARCH64)
        .with(&[(AARCH64_LINKER, "rust-lld")])
        .same_file(),
    Way::cargo("a cross gcc, in the environment")
        .target(AARCH64)
        .with(&[(AARCH64_LINKER, AARCH64_GCC)]),
    Way::make("make, with a cross gcc in the environment")
        .target(AARCH64)
        .with(&[(AARCH64_LINKER, AARCH64_GCC)])
        .same_file(),
    Way::cargo("a cross gcc, in cargo's configuration")
        .target(AARCH64)
        .configured(AARCH64_GCC),
    Way::make("make, with a cross gcc in cargo's configuration")
        .target(AARCH64)
        .configured(AARCH64_GCC)
        .same_file(),
    Way::cargo("musl, a cross gcc")
        .target(AARCH64_MUSL)
        .with(&[(AARCH64_MUSL_LINKER, AARCH64_GCC)]),
    Way::cargo("musl, rust-lld")
        .target(AARCH64_MUSL)
        .with(&[(AARCH64_MUSL_LINKER, "rust-lld")]),
    Way::make("musl, make").target(AARCH64_MUSL),
];

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "takes cross compilers: make test-boards"]
fn every_linker_makes_the_same_server_for_aarch64() {
    assert_same_server(&AARCH64_WAYS, Some("qemu-aarch64-static"));
}

const ARMV7: &str = "armv7-unknown-linux-gnueabihf";
const ARMV7_GCC: &str = "arm-linux-gnueabihf-gcc";
const ARMV7_WAYS: [Way; 3] = [
    Way::make("make").target(ARMV7),
    Way::cargo("a cross gcc, in the environment")
        .target(ARMV7)
        .with(&[(
            "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER",
            ARMV7_GCC,
        )]),
    Way::cargo("a cross gcc, in cargo's configuration")
        .target(ARMV7)
        .configured(ARMV7_GCC),
];

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "takes cross compilers: make test-boards"]
fn every_linker_makes_the_same_server_for_armv7() {
    assert_same_server(&ARMV7_WAYS, Some("qemu-arm-static"));
}

#[test]
fn from_another_folder() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("tree"));
    let manifest = tree.path("Cargo.toml");
    let mut command = tree.command(cargo());
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
            smoke_test(&tree.path("target/release/rot13d"), None);
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
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
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
