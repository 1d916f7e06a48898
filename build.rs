//! What the linker is told, and what `-V` says.
//!
//! It stands here and not in `.cargo/config.toml`, so that `cargo install` and a build
//! system that calls cargo itself need no flag.

use std::process::Command;
use std::{env, fs};

/// Architectures that `src/sys/arch` knows, as rustc calls them.
const SUPPORTED: [&str; 4] = ["x86_64", "aarch64", "arm", "riscv64"];

/// The libc crate asks for these libraries. Nothing may be taken from them.
const EMPTY: [&str; 9] = [
    "c", "dl", "gcc", "gcc_s", "m", "pthread", "rt", "unwind", "util",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/layout.ld");
    let (target, architecture) = (variable("TARGET"), variable("CARGO_CFG_TARGET_ARCH"));
    // Another linker is told other things, so this runs again when another one is named
    // here. (One that cargo's configuration names is not noticed.)
    let name = target.to_uppercase().replace('-', "_");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_{name}_LINKER");

    if !SUPPORTED.contains(&architecture.as_str()) || variable("CARGO_CFG_TARGET_OS") != "linux" {
        let supported = SUPPORTED.join(", ");
        println!("cargo::error=rot13d is for Linux on {supported}; {target} is none of these");
        return;
    }
    // The same whatever C library the target is named for: none is used.
    let machine = target.split('-').next().unwrap_or_default();
    println!("cargo::rustc-env=MACHINE={machine}-linux");

    let folder = variable("OUT_DIR");
    for library in EMPTY {
        let file = format!("{folder}/lib{library}.a");
        fs::write(file, "!<arch>\n").expect("an empty library");
    }
    argument(&format!("-L{folder}"));
    // A copy: another checkout may share the folder that is built in.
    let layout = format!("{folder}/layout.ld");
    fs::copy("src/layout.ld", &layout).expect("src/layout.ld");
    argument(&format!("-T{layout}"));

    // The linker is called as such, or by a C compiler.
    let linker = variable("RUSTC_LINKER");
    let (own, through) = if linker.ends_with("ld") {
        (["-static", "-pie", "--no-dynamic-linker"], "")
    } else {
        (["-nostdlib", "-nostartfiles", "-static-pie"], "-Wl,")
    };
    own.iter().for_each(|text| argument(text));
    for option in ["--build-id=none", "-zmax-page-size=65536", "-znorelro"] {
        argument(&format!("{through}{option}"));
    }
    if linker.is_empty() && !links_for(&architecture) {
        println!(
            "cargo::error=no linker for {target}: run `make TARGET={target}`, \
             or give cargo --config 'target.{target}.linker=\"rust-lld\"'"
        );
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn argument(text: &str) {
    println!("cargo::rustc-link-arg-bins={text}");
}

/// Whether the C compiler that rustc calls by default is one for this architecture.
fn links_for(architecture: &str) -> bool {
    let Ok(output) = Command::new("cc").arg("-dumpmachine").output() else {
        // Then rustc says what is missing.
        return true;
    };
    String::from_utf8_lossy(&output.stdout).starts_with(architecture)
}
