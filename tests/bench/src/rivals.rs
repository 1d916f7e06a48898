//! Who is measured: built from source here, taken from the system, or named as
//! missing.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::server::find_program;

/// The names that the report's budgets refer to.
pub const OURS: &str = "rot13d";
/// The same file a second time: how far it is from the first is noise.
pub const AGAIN: &str = "rot13d again";
pub const NO_CAGE: &str = "rot13d uncaged";
pub const NO_CIPHER: &str = "rot13d no cipher";
pub const PER_SOURCE: &str = "rot13d -C";
pub const FLOOR: &str = "floor";
const FLOOR_ONCE: &str = "floor one line";
pub const LECTURE: &str = "lecture glibc";

/// What a rival is to the reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The server under test.
    Ours,
    /// The server under test less one of its parts: what that part costs.
    Variant,
    /// Another build of the server, to compare two states of the source.
    Build,
    /// The physical limit of one process per client.
    Floor,
    /// The lecture's program.
    Lecture,
    /// What a user would install instead.
    Peer,
    /// Not one process per client: for honesty.
    Outside,
}

/// What is measured, in groups that not every rival takes part in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    Visits,
    Trips,
    Bulk,
    Memory,
    Program,
    Growth,
}

const ALL_AREAS: &[Area] = &[
    Area::Visits,
    Area::Trips,
    Area::Bulk,
    Area::Memory,
    Area::Program,
    Area::Growth,
];

pub struct Rival {
    pub name: String,
    pub class: Class,
    areas: &'static [Area],
    /// How it runs and what it does, for the report.
    pub what: &'static str,
    /// The program first; `PORT` and `CONFIG` are put in at the start.
    command: Vec<OsString>,
    /// A configuration file, with `PORT` in it.
    config: Option<String>,
    /// The limit of descriptors that it needs. Some close all of them in each
    /// child, so that more than needed would slow them down.
    pub descriptors: u64,
}

/// Enough for who keeps no client's descriptor, and for who keeps them all.
const FEW_DESCRIPTORS: u64 = 1024;
const MANY_DESCRIPTORS: u64 = 30_000;

impl Rival {
    pub fn takes_part(&self, area: Area) -> bool {
        self.areas.contains(&area)
    }

    /// Whether it is the server under test, as shipped or not.
    pub fn is_own(&self) -> bool {
        matches!(self.class, Class::Ours | Class::Variant | Class::Build)
    }

    /// Whether a budget names this rival: it is measured in more rounds.
    pub fn in_focus(&self) -> bool {
        self.class == Class::Build
            || [OURS, AGAIN, NO_CAGE, NO_CIPHER, PER_SOURCE, FLOOR, LECTURE]
                .contains(&self.name.as_str())
    }

    pub fn program(&self) -> &Path {
        Path::new(&self.command[0])
    }

    /// The command line, and the configuration file written if there is one.
    pub fn arguments(&self, port: u16) -> io::Result<Vec<OsString>> {
        let port = port.to_string();
        let config = env::temp_dir().join(format!("rot13d-bench-{}.conf", std::process::id()));
        if let Some(text) = &self.config {
            fs::write(&config, text.replace("PORT", &port))?;
        }
        let place = |word: &OsString| match word.to_str() {
            Some("CONFIG") => config.clone().into(),
            Some(word) => word.replace("PORT", &port).into(),
            None => word.clone(),
        };
        Ok(self.command.iter().map(place).collect())
    }
}

/// The rivals that are here, and the missing ones with the reason.
pub struct Field {
    pub rivals: Vec<Rival>,
    pub missing: Vec<(String, String)>,
    root: PathBuf,
    work: PathBuf,
}

/// The server's own line, the same for its variants: more clients than the bench
/// has, the longest backlog, all else by default (so the idle limit is on).
const OWN_OPTIONS: [&str; 6] = ["-c", "30000", "-b", "65535", "127.0.0.1", "PORT"];

impl Field {
    /// Builds and finds all rivals; `root` is the project's folder, `builds` are
    /// other builds of the server.
    pub fn gather(root: &Path, builds: &[String]) -> Self {
        let work = root.join("target/bench/rivals");
        fs::create_dir_all(&work).expect("target/bench/rivals");
        let mut field = Self {
            rivals: Vec::new(),
            missing: Vec::new(),
            root: root.to_owned(),
            work,
        };
        field.add_own();
        for build in builds {
            field.add(
                build,
                Class::Build,
                "another build of the server",
                Ok(build.into()),
                &OWN_OPTIONS,
            );
        }
        field.add_c();
        field.add_peers();
        field.add_out_of_class();
        field
    }

    fn add(
        &mut self,
        name: &str,
        class: Class,
        what: &'static str,
        program: Result<PathBuf, String>,
        words: &[&str],
    ) {
        match program {
            Ok(program) => {
                let words = words.iter().map(OsString::from);
                let command = std::iter::once(program.into_os_string())
                    .chain(words)
                    .collect();
                let areas: &[Area] = match name {
                    AGAIN => &[Area::Visits, Area::Trips, Area::Bulk],
                    NO_CAGE => &[Area::Visits, Area::Trips],
                    NO_CIPHER => &[Area::Bulk],
                    PER_SOURCE => &[Area::Growth],
                    FLOOR_ONCE => &[Area::Visits],
                    _ => ALL_AREAS,
                };
                let descriptors = FEW_DESCRIPTORS;
                self.rivals.push(Rival {
                    name: name.to_owned(),
                    class,
                    areas,
                    what,
                    command,
                    config: None,
                    descriptors,
                });
            }
            Err(why) => self.missing.push((name.to_owned(), why)),
        }
    }

    fn add_own(&mut self) {
        let own = match env::var_os("ROT13D") {
            Some(path) => Ok(PathBuf::from(path)),
            None => self.build_server("target", None),
        };
        self.add(
            OURS,
            Class::Ours,
            "the server under test, as shipped",
            own.clone(),
            &OWN_OPTIONS,
        );

        let what = "the same once more: the difference is noise";
        self.add(AGAIN, Class::Variant, what, own.clone(), &OWN_OPTIONS);

        let per_source = [&["-C", "30000"], &OWN_OPTIONS[..]].concat();
        self.add(
            PER_SOURCE,
            Class::Variant,
            "with a limit per source address",
            own.clone(),
            &per_source,
        );

        let variants = [
            (NO_CAGE, "built without the seccomp filter", "bench_no_cage"),
            (NO_CIPHER, "built without the cipher", "bench_no_cipher"),
        ];
        for (name, what, switch) in variants {
            let program = self.build_server(&format!("target/bench/{switch}"), Some(switch));
            let differs = program.and_then(|program| match &own {
                Ok(own) if fs::read(own).ok() == fs::read(&program).ok() => {
                    Err(format!("the source has no switch `{switch}`"))
                }
                _ => Ok(program),
            });
            self.add(name, Class::Variant, what, differs, &OWN_OPTIONS);
        }
    }

    /// Builds the server, as it is or with a `switch`, into a target folder.
    fn build_server(&self, target: &str, switch: Option<&str>) -> Result<PathBuf, String> {
        let target = self.root.join(target);
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args([
                "build",
                "--release",
                "--quiet",
                "--bin",
                "rot13d",
                "--target-dir",
            ])
            .arg(&target);
        cargo.current_dir(&self.root);
        // The flags of its own configuration, which the rivals are built without.
        cargo.env_remove("RUSTFLAGS");
        if let Some(switch) = switch {
            let flags = format!("target.'cfg(all())'.rustflags = ['--cfg', '{switch}']");
            cargo.args(["--config", &flags]);
        }
        run(&mut cargo)?;
        Ok(target.join("release/rot13d"))
    }

    fn add_c(&mut self) {
        let bare = ["-O2", "-static", "-nostdlib", "-fno-stack-protector"];
        let floor = self.compile("gcc", &bare, "floor.c", "floor");
        self.add(
            FLOOR,
            Class::Floor,
            "C without a libc: accept, fork, recv, send, exit",
            floor,
            &["PORT"],
        );
        let once = self.compile(
            "gcc",
            &[&bare[..], &["-DONCE"]].concat(),
            "floor.c",
            "floor-once",
        );
        self.add(
            FLOOR_ONCE,
            Class::Floor,
            "the same, leaving after its first reply",
            once,
            &["PORT"],
        );

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
            let file = name.replace(' ', "-");
            let program = self.compile(compiler, flags, "lecture.c", &file);
            self.add(name, Class::Lecture, what, program, &["PORT"]);
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
        let unpacked = [self.work.join("unpacked/usr/sbin"), "/usr/sbin".into()];
        for (name, what, program, words) in peers {
            let program =
                find_program(program, &unpacked).ok_or_else(|| "not installed".to_owned());
            let words = words.replace("CAT", &cat);
            self.add(
                name,
                Class::Peer,
                what,
                program,
                &words.split(' ').collect::<Vec<_>>(),
            );
        }
        for rival in &mut self.rivals {
            let config = match rival.name.as_str() {
                "xinetd" => include_str!("../rivals/xinetd.conf"),
                "openbsd-inetd" => include_str!("../rivals/inetd.conf"),
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
            let program = find_program(file, std::slice::from_ref(&folder))
                .ok_or_else(|| "not built".to_owned());
            self.add(name, Class::Outside, what, program, &["PORT"]);
        }
        for rival in self
            .rivals
            .iter_mut()
            .filter(|rival| rival.class == Class::Outside || rival.name == "ncat")
        {
            rival.descriptors = MANY_DESCRIPTORS;
        }
    }
}

/// Runs a build step; an error is the last line that it printed, or why not run.
fn run(command: &mut Command) -> Result<(), String> {
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
