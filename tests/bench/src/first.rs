//! The first edition of the server, built from this repository's own history.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::field::{cargo, run};

/// The last commit of the first edition.
const COMMIT: &str = "fd1ce8bb10a16006aafbf77f1a9a62cd66d21a93";

/// Builds it under target/bench/first-edition, with its own flags and lock file.
/// Source and build are kept for the next run.
pub fn build(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("target/bench/first-edition");
    let source = folder.join("source");
    if !source.is_dir() {
        unpack(root, &folder, &source)?;
    }
    let target = folder.join("target");
    // Not started in its folder: there cargo would read the configuration of this
    // edition as well, which is further up.
    run(cargo("/".as_ref(), &target)
        .arg("--locked")
        .arg("--manifest-path")
        .arg(source.join("Cargo.toml"))
        .arg("--config")
        .arg(source.join(".cargo/config.toml")))?;
    Ok(target.join("release/rot13d"))
}

/// Unpacks the commit beside where it belongs and then moves it there, so that a
/// source folder is always whole.
fn unpack(root: &Path, folder: &Path, source: &Path) -> Result<(), String> {
    look_for_commit(root)?;
    let (archive, unpacked) = (folder.join("source.tar"), folder.join("unpacked"));
    let say = |error: std::io::Error| format!("{}: {error}", folder.display());
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked).map_err(say)?;
    run(git(root)
        .args(["archive", "--format=tar", COMMIT, "-o"])
        .arg(&archive))?;
    run(Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&unpacked))?;
    // A workspace of its own, whatever this edition's manifest says further up.
    let manifest = unpacked.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(say)?;
    fs::write(&manifest, text + "\n[workspace]\n").map_err(say)?;
    fs::remove_file(&archive).map_err(say)?;
    fs::rename(&unpacked, source).map_err(say)
}

fn look_for_commit(root: &Path) -> Result<(), String> {
    let object = format!("{COMMIT}^{{commit}}");
    let Err(why) = run(git(root).args(["cat-file", "-e", &object])) else {
        return Ok(());
    };
    let short = &COMMIT[..7];
    let shallow = git(root)
        .args(["rev-parse", "--is-shallow-repository"])
        .output();
    match shallow {
        Ok(output) if output.stdout.starts_with(b"true") => Err(format!(
            "commit {short} is not here, since this clone is shallow: `git fetch --unshallow` brings it"
        )),
        Ok(output) if output.status.success() => Err(format!(
            "commit {short} is not in this repository, and the first edition is built from it"
        )),
        _ => Err(format!("commit {short} cannot be looked for: {why}")),
    }
}

fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root);
    git
}
