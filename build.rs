//! Arguments for the linker, and the name of the target for `-V`.
use std::{env, fs};

fn main() {
    let variable = |name| env::var(name).unwrap_or_default();
    let (manifest, out) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR"));
    println!("cargo:rustc-env=TARGET={}", variable("TARGET"));
    println!("cargo:rerun-if-changed=src/layout.ld");
    println!("cargo:rerun-if-changed=build.rs");
    for library in ["c", "m", "rt", "pthread", "util", "dl", "gcc_s", "gcc"] {
        fs::write(format!("{out}/lib{library}.a"), "!<arch>\n").expect("an empty library");
    }
    println!("cargo:rustc-link-arg-bins=-L{out}");
    let bare = variable("RUSTC_LINKER").ends_with("lld");
    let mut arguments = vec![
        "--build-id=none".to_string(),
        "-zmax-page-size=65536".into(),
        "-znorelro".into(),
        format!("-T{manifest}/src/layout.ld"),
    ];
    if bare {
        arguments.extend(["-nostdlib", "-static", "-pie", "--no-dynamic-linker"].map(String::from));
    } else {
        for argument in ["-nostartfiles", "-nostdlib", "-static-pie"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
    for argument in arguments {
        println!(
            "cargo:rustc-link-arg-bins={}{argument}",
            if bare { "" } else { "-Wl," }
        );
    }
}
