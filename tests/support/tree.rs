//! A copy of the sources in a folder of its own, to be built or changed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use super::{cargo, tool, unpacked_tools};

/// What git has or would add.
pub struct Tree(PathBuf);

impl Tree {
    #[track_caller]
    pub fn copy_to(folder: PathBuf) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = Command::new(tool("git"))
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .expect("git runs");
        succeeded(&files);
        let names = String::from_utf8(files.stdout).expect("names in UTF-8");
        for name in names
            .split_terminator('\0')
            .filter(|name| root.join(name).is_file())
        {
            let to = folder.join(name);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder for the copy");
            fs::copy(root.join(name), to).expect("a copy");
        }
        Tree(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        assert!(self.path(name).is_file(), "there is no {name} any more");
        fs::write(self.path(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// A program in this folder, as somebody would start it at a prompt.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in env::vars_os() {
            let ours = name.to_string_lossy();
            let cargo_sets = ours.starts_with("CARGO_PKG_") || ours.starts_with("CARGO_MANIFEST_");
            let make_sets = ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"].contains(&ours.as_ref());
            if cargo_sets || make_sets || ours == "CARGO_TARGET_DIR" {
                command.env_remove(&name);
            }
        }
        let path = env::var("PATH").unwrap_or_default();
        let tools = unpacked_tools().join("bin");
        command.env("PATH", format!("{}:{path}", tools.display()));
        command.current_dir(&self.0);
        command
    }

    pub fn cargo(&self, args: &[&str]) -> Output {
        let output = self.command(cargo()).args(args).output();
        output.expect("cargo runs")
    }
}

#[track_caller]
pub fn succeeded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}
