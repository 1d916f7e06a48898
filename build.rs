//! Link arguments: no libc, no start files, `src/page.ld`.
//!
//! They stand here and not in `.cargo/config.toml`, so that `cargo install`
//! needs no flag either.

use std::{env, fs};

fn main() {
    let variable = |name| env::var(name).unwrap_or_default();
    let (manifest, out) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR"));
    let wide = variable("CARGO_CFG_TARGET_POINTER_WIDTH") == "64";
    let script = format!(
        "-T{manifest}/src/{}.ld",
        if wide { "page" } else { "page32" }
    );
    let included = format!("-L{manifest}/src");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-env-changed=ROT13D_TWIN");

    // For a board the toolchain's own linker is called as such (see
    // `.cargo/boards.toml`); for the host it hangs behind the C compiler.
    let bare = variable("RUSTC_LINKER").ends_with("lld");
    let mut arguments = vec![
        "--build-id=none",
        "--no-dynamic-linker",
        "--no-relax",
        &included,
        &script,
    ];
    if bare {
        arguments.extend(["-nostdlib", "-static", "-pie"]);
        // The libc crate asks for these libraries; nothing is taken from them.
        for library in ["c", "m", "rt", "pthread", "util", "dl", "gcc_s"] {
            fs::write(format!("{out}/lib{library}.a"), "!<arch>\n").expect("an empty library");
        }
        println!("cargo:rustc-link-search=native={out}");
    } else {
        for argument in ["-nostartfiles", "-nostdlib", "-static-pie", "-fuse-ld=lld"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
    // The twin, for `make size`, is the same program with sections and names.
    if variable("ROT13D_TWIN").is_empty() {
        arguments.push("--oformat=binary");
    }
    for argument in arguments {
        let prefix = if bare { "" } else { "-Wl," };
        println!("cargo:rustc-link-arg-bins={prefix}{argument}");
    }
}
