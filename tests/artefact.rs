//! The file that is shipped (contract, section 7): what it is, that it can be
//! built again to the byte, and that a panic which could be reached would keep
//! it from being built.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use crate::support::{Dialogue, Scratch, Server, binary, runner, tool};

/// The most that the file may have on x86_64: one page.
const LARGEST: usize = 4096;
const EM_X86_64: u64 = 62;

const ET_DYN: u64 = 3;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_GNU_STACK: u64 = 0x6474_e551;
const EXECUTABLE: u64 = 1;
const WRITABLE: u64 = 2;

/// The headers of an ELF file, elf(5).
struct Elf {
    file: Vec<u8>,
    wide: bool,
    big_endian: bool,
}

/// A segment as its program header has it.
#[derive(Debug)]
struct Segment {
    kind: u64,
    flags: u64,
}

impl Elf {
    fn read(path: &Path) -> Self {
        let file = fs::read(path).expect("the binary");
        assert_eq!(&file[..4], b"\x7fELF");
        let (wide, big_endian) = (file[4] == 2, file[5] == 2);
        Elf {
            file,
            wide,
            big_endian,
        }
    }

    /// The number of `size` bytes at `offset`.
    fn number(&self, offset: usize, size: usize) -> u64 {
        let bytes = &self.file[offset..offset + size];
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, join)
        } else {
            bytes.iter().rev().fold(0, join)
        }
    }

    fn kind(&self) -> u64 {
        self.number(16, 2)
    }

    fn machine(&self) -> u64 {
        self.number(18, 2)
    }

    fn segments(&self) -> Vec<Segment> {
        let (table, sizes, flags) = if self.wide { (32, 54, 4) } else { (28, 42, 24) };
        let start = self.number(table, if self.wide { 8 } else { 4 }) as usize;
        let (size, count) = (self.number(sizes, 2), self.number(sizes + 2, 2));
        let offsets = (0..count).map(|n| start + (n * size) as usize);
        offsets
            .map(|at| Segment {
                kind: self.number(at, 4),
                flags: self.number(at + flags, 4),
            })
            .collect()
    }
}

#[test]
fn no_larger_than_agreed() {
    let elf = Elf::read(binary());
    let size = elf.file.len();
    println!("{size} bytes, ELF machine {}", elf.machine());
    assert!(
        elf.machine() != EM_X86_64 || size <= LARGEST,
        "{size} bytes, {LARGEST} at most"
    );
}

#[test]
fn static_position_independent_and_without_relocations() {
    let elf = Elf::read(binary());
    assert_eq!(elf.kind(), ET_DYN, "position-independent");
    for segment in elf.segments() {
        let absent = [PT_INTERP, PT_DYNAMIC];
        assert!(
            !absent.contains(&segment.kind),
            "an interpreter or relocations: {segment:?}"
        );
    }
}

#[test]
fn no_segment_is_writable_and_executable_nor_is_the_stack_executable() {
    let segments = Elf::read(binary()).segments();
    let loaded: Vec<_> = segments.iter().filter(|s| s.kind == PT_LOAD).collect();
    assert!(
        loaded.iter().any(|s| s.flags & EXECUTABLE != 0),
        "{segments:?}"
    );
    for segment in loaded {
        assert_ne!(
            segment.flags & (WRITABLE | EXECUTABLE),
            WRITABLE | EXECUTABLE,
            "{segments:?}"
        );
    }
    // Without this header the kernel may make the stack executable.
    let stack: Vec<_> = segments.iter().filter(|s| s.kind == PT_GNU_STACK).collect();
    assert_eq!(stack.len(), 1, "{segments:?}");
    assert_eq!(stack[0].flags & EXECUTABLE, 0, "{segments:?}");
}

/// The mappings of a running server and of a child: addresses, permissions, name.
fn mappings(pid: i32) -> Vec<(String, String, String)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let fields = |line: &str| {
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap_or_default().to_owned();
        let (addresses, permissions) = (next(), next());
        (
            addresses,
            permissions,
            words.nth(3).unwrap_or_default().to_owned(),
        )
    };
    maps.lines().map(fields).collect()
}

#[test]
fn memory_of_a_running_server() {
    assert!(runner().is_empty(), "an emulator's mappings say nothing");
    let mut starts = Vec::new();
    for _ in 0..3 {
        let server = Server::start();
        let mut client = server.connect();
        client.exchange(&[&[b'n'; 5000][..], b"\n"].concat());
        for pid in [server.pid(), server.only_child()] {
            let mappings = mappings(pid);
            assert!(mappings.len() > 1, "{mappings:#?}");
            for (_, permissions, name) in &mappings {
                assert!(
                    !(permissions.contains('w') && permissions.contains('x')),
                    "{mappings:#?}"
                );
                assert_ne!(name, "[heap]", "{mappings:#?}");
            }
        }
        let file = binary().to_string_lossy();
        let code = mappings(server.pid())
            .into_iter()
            .find(|(_, _, name)| *name == file);
        starts.push(code.expect("the program's code").0);
    }
    starts.dedup();
    assert!(starts.len() > 1, "always at {starts:?}: no ASLR");
}

/// A copy of what git has or would add, in a folder of its own.
struct Copy(PathBuf);

impl Copy {
    fn new(folder: PathBuf) -> Self {
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
        assert!(files.status.success(), "git ls-files: {files:?}");
        let names = String::from_utf8(files.stdout).expect("names in UTF-8");
        for name in names
            .split_terminator('\0')
            .filter(|name| root.join(name).is_file())
        {
            let to = folder.join(name);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder for the copy");
            fs::copy(root.join(name), to).expect("a copy");
        }
        Copy(folder)
    }

    /// Runs cargo in the copy, as somebody would at a prompt.
    fn cargo(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os() {
            let ours = name.to_string_lossy();
            let cargo_sets = ours.starts_with("CARGO_PKG_") || ours.starts_with("CARGO_MANIFEST_");
            if cargo_sets || ["CARGO_TARGET_DIR", "ROT13D_TWIN"].contains(&ours.as_ref()) {
                command.env_remove(&name);
            }
        }
        let output = command.args(args).current_dir(&self.0).output();
        output.expect("cargo runs")
    }
}

#[track_caller]
fn succeeded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

/// Two builds from nothing, in different folders, one of them by `cargo
/// install`, are the file that is shipped. In one of the folders, which has
/// everything but the server compiled by then, a panic is made reachable.
#[test]
fn reproducible_and_no_panic_is_reachable() {
    let scratch = Scratch::new();
    let built = Copy::new(scratch.path("a"));
    succeeded(&built.cargo(&["build", "--release"]));
    let built_file = fs::read(built.0.join("target/release/rot13d")).expect("a binary");

    let installed = Copy::new(scratch.path("another/folder"));
    succeeded(&installed.cargo(&["install", "--path", ".", "--root", "root"]));
    let installed_file = fs::read(installed.0.join("root/bin/rot13d")).expect("a binary");
    assert!(
        built_file == installed_file,
        "cargo install gives another file than cargo build"
    );
    assert!(
        built_file == fs::read(binary()).unwrap(),
        "{} is another file",
        binary().display()
    );

    const FIRST: &str = "let before = self.pending as usize;\n";
    let source = built.0.join("src/line.rs");
    let sound = fs::read_to_string(&source).expect("the line rule");
    let panics = sound.replace(FIRST, &format!("{FIRST}self.bytes[before + 12345] = 0;\n"));
    assert_ne!(sound, panics, "the line rule has another first line now");
    fs::write(&source, panics).expect("a changed line rule");
    let broken = built.cargo(&["build", "--release"]);
    let said = String::from_utf8_lossy(&broken.stderr);
    assert!(!broken.status.success(), "a reachable panic was built");
    assert!(
        said.contains("a_panic_is_reachable"),
        "the reason is not clear: {said}"
    );
}
