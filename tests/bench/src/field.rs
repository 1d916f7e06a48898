//! Who is measured: built from source here, taken from the system, or named as
//! missing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::arguments::Arguments;
use crate::first;
use crate::rivals::{
    AGAIN, Class, FEW_DESCRIPTORS, FIRST, FLOOR, FLOOR_ONCE, LECTURE, MANY_DESCRIPTORS, NO_CAGE,
    NO_CIPHER, OURS, PER_SOURCE, Rival,
};
use crate::server::find_program;

/// The rivals that are here, and the missing ones with the reason.
pub struct Field<'a> {
    pub rivals: Vec<Rival>,
    pub missing: Vec<(String, String)>,
    arguments: &'a Arguments,
    root: PathBuf,
    work: PathBuf,
}

/// The server's own line, the same for its variants: more clients than the bench
/// has, the longest backlog, all else by default (so the idle limit is on).
const OWN_OPTIONS: [&str; 6] = ["-c", "30000", "-b", "65535", "127.0.0.1", "PORT"];

impl<'a> Field<'a> {
    /// Builds and finds the rivals that the arguments ask for; `root` is the
    /// project's folder.
    pub fn gather(root: &Path, arguments: &'a Arguments) -> Self {
        let work = root.join("target/bench/rivals");
        fs::create_dir_all(&work).expect("target/bench/rivals");
        let mut field = Self {
            rivals: Vec::new(),
            missing: Vec::new(),
            arguments,
            root: root.to_owned(),
            work,
        };
        field.add_own();
        field.add_builds();
        field.add_c();
        field.add_peers();
        field.add_out_of_class();
        field
    }

    pub fn rival(&self, name: &str) -> Option<&Rival> {
        self.rivals.iter().find(|rival| rival.name == name)
    }

    /// Adds a rival if it is wanted; only then its program is built or looked for.
    fn add(
        &mut self,
        name: &str,
        class: Class,
        what: &'static str,
        words: &[&str],
        program: impl FnOnce(&Self) -> Result<PathBuf, String>,
    ) {
        if !self.arguments.want(name, class) {
            return;
        }
        match program(self) {
            Ok(program) => {
                let words = words.iter().map(OsString::from);
                self.rivals.push(Rival {
                    name: name.to_owned(),
                    class,
                    what,
                    command: [program.into_os_string()]
                        .into_iter()
                        .chain(words)
                        .collect(),
                    config: None,
                    descriptors: FEW_DESCRIPTORS,
                });
            }
            Err(why) => self.missing.push((name.to_owned(), why)),
        }
    }

    fn add_own(&mut self) {
        let named = env::var_os("ROT13D").map(PathBuf::from);
        let own = match &named {
            Some(path) => Ok(path.clone()),
            None => self.build_server("target", None),
        };
        let what = "this edition, as shipped";
        self.add(OURS, Class::Ours, what, &OWN_OPTIONS, |_| own.clone());

        let what = "a copy of the same file: the difference is noise";
        self.add(AGAIN, Class::Variant, what, &OWN_OPTIONS, |field| {
            let copy = field.work.join("rot13d-copy");
            let copied = fs::copy(own.clone()?, &copy);
            copied.map_err(|error| format!("{}: {error}", copy.display()))?;
            Ok(copy)
        });

        let what = "built from this repository's history";
        self.add(FIRST, Class::FirstEdition, what, &OWN_OPTIONS, |field| {
            first::build(&field.root)
        });

        let what = "with a limit per source address";
        let per_source = [&["-C", "30000"], &OWN_OPTIONS[..]].concat();
        self.add(PER_SOURCE, Class::Variant, what, &per_source, |_| {
            own.clone()
        });

        let variants = [
            (NO_CAGE, "built without the seccomp filter", "bench_no_cage"),
            (NO_CIPHER, "built without the cipher", "bench_no_cipher"),
        ];
        for (name, what, switch) in variants {
            self.add(name, Class::Variant, what, &OWN_OPTIONS, |field| {
                if named.is_some() {
                    return Err("the server under test was not built here".into());
                }
                let target = format!("target/bench/{switch}");
                let program = field.build_server(&target, Some(switch))?;
                if fs::read(own.clone()?).ok() == fs::read(&program).ok() {
                    return Err(format!("the source has no switch `{switch}`"));
                }
                Ok(program)
            });
        }
    }

    fn add_builds(&mut self) {
        for build in &self.arguments.also {
            let what = "another build of the server";
            self.add(
                build,
                Class::Build,
                what,
                &OWN_OPTIONS,
                |_| Ok(build.into()),
            );
        }
    }

    /// Builds the server, as it is or with a `switch`, into a target folder.
    fn build_server(&self, target: &str, switch: Option<&str>) -> Result<PathBuf, String> {
        let target = self.root.join(target);
        let mut cargo = cargo(&self.root, &target);
        if let Some(switch) = switch {
            let flags = format!("target.'cfg(all())'.rustflags = ['--cfg', '{switch}']");
            cargo.args(["--config", &flags]);
        }
        run(&mut cargo)?;
        Ok(target.join("release/rot13d"))
    }

    fn add_c(&mut self) {
        let bare = ["-O2", "-static", "-nostdlib", "-fno-stack-protector"];
        let what = "C without a libc: accept, fork, recv, send, exit";
        self.add(FLOOR, Class::Floor, what, &["PORT"], |field| {
            field.compile("gcc", &bare, "floor.c", "floor")
        });
        let what = "the same, leaving after its first reply";
        self.add(FLOOR_ONCE, Class::Floor, what, &["PORT"], |field| {
            let flags = [&bare[..], &["-DONCE"]].concat();
            field.compile("gcc", &flags, "floor.c", "floor-once")
        });

        let builds = [
            (LECTURE, "in C, dynamic glibc", "gcc", &["-O2"][..]),
            (
                "lecture static glibc",
                "in C, static glibc",
                "gcc",
                &["-O2", "-static"],
            ),
            (
                "lecture static musl",
                "in C, static musl",
                "musl-gcc",
                &["-O2", "-static"],
            ),
        ];
        for (name, what, compiler, flags) in builds {
            self.add(name, Class::Lecture, what, &["PORT"], |field| {
                field.compile(compiler, flags, "lecture.c", &name.replace(' ', "-"))
            });
        }
    }

    fn compile(
        &self,
        compiler: &str,
        flags: &[&str],
        source: &str,
        file: &str,
    ) -> Result<PathBuf, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("rivals")
            .join(source);
        let target = self.work.join(file);
        run(Command::new(compiler)
            .args(flags)
            .arg("-Wall")
            .arg("-Wextra")
            .arg(source)
            .arg("-o")
            .arg(&target))?;
        Ok(target)
    }

    fn add_peers(&mut self) {
        let cat = find_program("cat", &[]).map_or("cat".into(), |path| path.display().to_string());
        // Deep backlogs and no look-up of names, as a careful user would have it.
        let peers = [
            (
                "tcpserver",
                "ucspi-tcp, runs cat",
                "tcpserver",
                "-DHR -l0 -c30000 -b65535 127.0.0.1 PORT CAT",
            ),
            (
                "tcpsvd",
                "ipsvd, runs cat",
                "tcpsvd",
                "-llocalhost -c30000 -b65535 127.0.0.1 PORT CAT",
            ),
            (
                "socat",
                "fork, its own echo (PIPE)",
                "socat",
                "TCP-LISTEN:PORT,bind=127.0.0.1,reuseaddr,fork,backlog=65535 PIPE",
            ),
            (
                "ncat",
                "-k, runs cat",
                "ncat",
                "-nlk -m30000 -e CAT 127.0.0.1 PORT",
            ),
            ("xinetd", "runs cat", "xinetd", "-dontfork -f CONFIG"),
            ("openbsd-inetd", "runs cat", "inetd", "-i -R0 CONFIG"),
        ];
        for (name, what, program, words) in peers {
            let words = words.replace("CAT", &cat);
            let words: Vec<&str> = words.split(' ').collect();
            self.add(name, Class::Peer, what, &words, |field| {
                let folders = [field.work.join("unpacked/usr/sbin"), "/usr/sbin".into()];
                find_program(program, &folders).ok_or_else(|| "not installed".into())
            });
        }
        for rival in &mut self.rivals {
            let config = match rival.name.as_str() {
                "xinetd" => include_str!("../rivals/xinetd.conf"),
                "openbsd-inetd" => include_str!("../rivals/inetd.conf"),
                "ncat" => {
                    rival.descriptors = MANY_DESCRIPTORS;
                    continue;
                }
                _ => continue,
            };
            rival.config = Some(config.replace("CAT", &cat));
        }
    }

    fn add_out_of_class(&mut self) {
        // Built beside this program by the same cargo run.
        let folder = env::current_exe()
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_default();
        let rivals = [
            (
                "Rust threads",
                "std, one thread per client",
                "rival-threads",
            ),
            ("Rust tokio", "one task per client", "rival-tokio"),
        ];
        for (name, what, file) in rivals {
            self.add(name, Class::Outside, what, &["PORT"], |_| {
                let folders = std::slice::from_ref(&folder);
                find_program(file, folders).ok_or_else(|| "not built".into())
            });
        }
        for rival in &mut self.rivals {
            if rival.class == Class::Outside {
                rival.descriptors = MANY_DESCRIPTORS;
            }
        }
    }
}

/// A release build of the server, started in `folder`, into `target`. Its flags are
/// those of its own configuration, which the rivals are built without.
pub fn cargo(folder: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--quiet", "--bin", "rot13d"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(folder)
        .env_remove("RUSTFLAGS");
    cargo
}

/// Runs a build step; an error is the first line that it printed about one, or why
/// it did not run.
pub fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find(|line| line.contains("error"))
        .or(text.lines().last());
    Err(format!("{name}: {}", line.unwrap_or("failed")))
}
