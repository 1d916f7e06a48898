//! The file that is shipped: what it is, what the usual tools show of it, that it can
//! be built again to the byte, and what a panic does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::tree::{Tree, succeeded};
use crate::support::{Dialogue, Scratch, Server, binary, is_for_x86_64, runner, tool};

/// The most bytes that the file may have, on every board.
const LARGEST: usize = 16_384;
/// Not reached yet in ARM code, all that ARMv6 has: what it may have for now.
const LARGEST_IN_ARM_CODE: usize = 18_944;
const EM_ARM: u64 = 40;

/// Pages may have up to 64 KiB.
const LARGEST_PAGE: u64 = 0x10000;

const ET_DYN: u64 = 3;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_GNU_STACK: u64 = 0x6474_e551;
const EXECUTABLE: u64 = 1;
const WRITABLE: u64 = 2;
const SHT_RELA: u64 = 4;
const SHT_REL: u64 = 9;
const SHT_RELR: u64 = 19;

/// The headers of an ELF file, elf(5).
struct Elf {
    file: Vec<u8>,
    wide: bool,
}

/// A segment as its program header has it.
#[derive(Debug)]
struct Segment {
    kind: u64,
    flags: u64,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

#[derive(Debug)]
struct Section {
    name: String,
    kind: u64,
    size: u64,
}

impl Elf {
    fn read(path: &Path) -> Self {
        let file = fs::read(path).expect("the binary");
        assert_eq!(&file[..4], b"\x7fELF");
        let wide = file[4] == 2;
        assert_eq!(file[5], 1, "little-endian");
        Elf { file, wide }
    }

    /// The number of `size` bytes at `offset`.
    fn number(&self, offset: usize, size: usize) -> u64 {
        let bytes = &self.file[offset..offset + size];
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        bytes.iter().rev().fold(0, join)
    }

    /// An address or an offset at `wide` or, in a file of 32 bits, at `narrow`.
    fn word(&self, wide: usize, narrow: usize) -> u64 {
        if self.wide {
            self.number(wide, 8)
        } else {
            self.number(narrow, 4)
        }
    }

    /// Where the headers of a table are: its offset, and the places of its sizes.
    fn table(&self, offset: u64, sizes: (usize, usize)) -> Vec<usize> {
        let sizes = if self.wide { sizes.0 } else { sizes.1 };
        let (size, count) = (self.number(sizes, 2), self.number(sizes + 2, 2));
        (0..count).map(|n| (offset + n * size) as usize).collect()
    }

    fn segments(&self) -> Vec<Segment> {
        let headers = self.table(self.word(32, 28), (54, 42));
        let segment = |at: usize| Segment {
            kind: self.number(at, 4),
            flags: self.number(at + if self.wide { 4 } else { 24 }, 4),
            offset: self.word(at + 8, at + 4),
            address: self.word(at + 16, at + 8),
            file_size: self.word(at + 32, at + 16),
            memory_size: self.word(at + 40, at + 20),
            alignment: self.word(at + 48, at + 28),
        };
        headers.into_iter().map(segment).collect()
    }

    fn loaded(&self) -> Vec<Segment> {
        let mut segments = self.segments();
        segments.retain(|segment| segment.kind == PT_LOAD);
        segments
    }

    fn sections(&self) -> Vec<Section> {
        let headers = self.table(self.word(40, 32), (58, 46));
        let names_at = headers[self.number(if self.wide { 62 } else { 50 }, 2) as usize];
        let names = self.word(names_at + 24, names_at + 16) as usize;
        let section = |at: usize| {
            let name = &self.file[names + self.number(at, 4) as usize..];
            let end = name.iter().position(|&byte| byte == 0).expect("its end");
            Section {
                name: String::from_utf8_lossy(&name[..end]).into_owned(),
                kind: self.number(at + 4, 4),
                size: self.word(at + 32, at + 20),
            }
        };
        headers.into_iter().skip(1).map(section).collect()
    }
}

#[test]
fn no_larger_than_agreed() {
    let elf = Elf::read(binary());
    // The entry point of Thumb code is odd, elf(5) for the ARM architecture.
    let is_thumb = elf.word(24, 24) % 2 == 1;
    let is_arm_code = elf.number(18, 2) == EM_ARM && !is_thumb;
    let largest = if is_arm_code {
        LARGEST_IN_ARM_CODE
    } else {
        LARGEST
    };
    let size = elf.file.len();
    println!("{size} bytes");
    assert!(size <= largest, "{size} bytes, {largest} at most");
}

#[test]
fn static_position_independent_and_without_relocations() {
    let elf = Elf::read(binary());
    assert_eq!(elf.number(16, 2), ET_DYN, "position-independent");
    for segment in elf.segments() {
        let absent = [PT_INTERP, PT_DYNAMIC];
        assert!(
            !absent.contains(&segment.kind),
            "an interpreter or relocations: {segment:?}"
        );
    }
    for section in elf.sections() {
        let relocates = [SHT_RELA, SHT_REL, SHT_RELR].contains(&section.kind);
        assert!(!relocates || section.size == 0, "relocations: {section:?}");
    }
}

#[test]
fn no_segment_is_writable_and_executable_nor_is_the_stack_executable() {
    let elf = Elf::read(binary());
    let loaded = elf.loaded();
    assert!(
        loaded.iter().any(|s| s.flags & EXECUTABLE != 0),
        "{loaded:?}"
    );
    for segment in &loaded {
        assert_ne!(
            segment.flags & (WRITABLE | EXECUTABLE),
            WRITABLE | EXECUTABLE,
            "{loaded:?}"
        );
    }
    // Without this header the kernel may make the stack executable.
    let segments = elf.segments();
    let stack: Vec<_> = segments.iter().filter(|s| s.kind == PT_GNU_STACK).collect();
    assert_eq!(stack.len(), 1, "{segments:?}");
    assert_eq!(stack[0].flags & EXECUTABLE, 0, "{segments:?}");
}

/// Kernels have pages of 4, 16 or 64 KiB. Where two segments share one, the program is
/// killed before its first instruction.
#[test]
fn segments_share_no_page_of_64_kib() {
    let loaded = Elf::read(binary()).loaded();
    assert_eq!(loaded.len(), 2, "code, data: {loaded:?}");
    let mut pages: Vec<u64> = Vec::new();
    for segment in &loaded {
        assert_eq!(segment.alignment, LARGEST_PAGE, "{segment:?}");
        let distance = segment.address.wrapping_sub(segment.offset);
        assert_eq!(distance % LARGEST_PAGE, 0, "{segment:?}");
        assert!(segment.file_size <= segment.memory_size, "{segment:?}");
        let first = segment.address / LARGEST_PAGE;
        let last = (segment.address + segment.memory_size - 1) / LARGEST_PAGE;
        pages.extend(first..=last);
    }
    let all = pages.len();
    pages.dedup();
    assert_eq!(pages.len(), all, "a shared page: {loaded:?}");
}

/// A child has the code, which must not have anything else in its pages; and the
/// program headers are found at the start of it (see `src/sys/start.rs`).
#[test]
fn code_begins_with_the_elf_header() {
    let loaded = Elf::read(binary()).loaded();
    let code = &loaded[0];
    assert_eq!(code.flags & EXECUTABLE, EXECUTABLE, "{code:?}");
    assert_eq!((code.offset, code.address), (0, 0), "{code:?}");
}

/// What a tool of binutils prints about `file`.
#[track_caller]
fn shown(name: &str, args: &[&str], file: &Path) -> String {
    let output = Command::new(tool(name)).args(args).arg(file).output();
    let output = output.expect("it runs");
    succeeded(&output);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(complaints, "", "{name} {args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn usual_tools_work_on_it() {
    let names: Vec<String> = Elf::read(binary())
        .sections()
        .into_iter()
        .map(|section| section.name)
        .collect();
    for name in [".rodata", ".text", ".bss", ".shstrtab"] {
        assert!(names.iter().any(|other| other == name), "{names:?}");
    }
    let sections = shown("readelf", &["-SlW"], binary());
    assert!(
        sections.contains("Section to Segment mapping"),
        "{sections}"
    );
    if !is_for_x86_64() {
        return; // Debian's binutils know one architecture.
    }
    let sizes = shown("size", &[], binary());
    let text = sizes
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().next());
    let text: u64 = text.and_then(|text| text.parse().ok()).expect("a size");
    assert!(text > 4096, "{sizes}");
    let code = shown("objdump", &["-d"], binary());
    assert!(code.matches("syscall").count() > 20, "it has system calls");
    assert!(!code.contains("(bad)"), "nothing but code is in .text");
}

#[test]
fn stripping_it_again_leaves_it_as_it_is() {
    if !is_for_x86_64() {
        return;
    }
    let scratch = Scratch::new();
    let stripped = scratch.path("rot13d");
    let mut strip = Command::new(tool("strip"));
    succeeded(
        &strip
            .arg("-o")
            .arg(&stripped)
            .arg(binary())
            .output()
            .unwrap(),
    );
    let server = Server::new().binary(&stripped).start();
    server.connect().exchange(b"as before\n");
}

/// A signal frame may have 11 KiB (x86_64 with AMX) or 20 (aarch64 with SVE): this
/// machine's may be smaller. What the server itself needs comes on top.
const LEAST_STACK: u64 = 32 * 1024;

/// The command that the README gives for a build with symbols.
#[test]
fn build_with_symbols_has_the_same_code() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("symbols"));
    succeeded(&tree.cargo(&[
        "rustc",
        "--release",
        "--bin",
        "rot13d",
        "--",
        "-Cstrip=none",
    ]));
    let with_symbols = tree.path("target/release/rot13d");
    let names = shown("nm", &["-C"], &with_symbols);
    for name in [
        "rot13d::session::run",
        "rot13d::server::run",
        "rot13d::cage::PROGRAM",
    ] {
        assert!(names.contains(name), "no {name} in {names}");
    }
    let sizes = shown("nm", &["-CS"], &with_symbols);
    let stack = sizes.lines().find(|line| line.ends_with("::PARENT_STACK"));
    let size = stack.and_then(|line| line.split_whitespace().nth(1));
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
    assert!(size >= Some(LEAST_STACK), "the parent's stack: {stack:?}");
    let code = |file: &Path| {
        let to = scratch.path("code");
        let mut objcopy = Command::new(tool("objcopy"));
        objcopy.args(["-O", "binary", "-j", ".text", "-j", ".rodata"]);
        succeeded(&objcopy.arg(file).arg(&to).output().expect("objcopy"));
        fs::read(to).expect("the code")
    };
    assert!(code(&with_symbols) == code(binary()), "other code");
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

/// A child has two mappings, the code and its own stack, and two pages that were
/// touched: one of each, as long as its lines are short.
#[test]
fn memory_of_a_child() {
    assert!(runner().is_empty(), "an emulator's mappings say nothing");
    let server = Server::start();
    let mut client = server.connect();
    client.exchange(b"hello\n");
    let child = server.only_child();
    let mut mappings = mappings(child);
    // An address that only traps, which no process can give back.
    mappings.retain(|(_, _, name)| name != "[vsyscall]");
    assert_eq!(mappings.len(), 2, "{mappings:#?}");
    let own = mappings.iter().find(|(_, access, _)| access.contains('w'));
    let addresses = own.and_then(|(addresses, ..)| addresses.split_once('-'));
    let size = addresses.and_then(|(start, end)| {
        let number = |text| u64::from_str_radix(text, 16).ok();
        number(end)?.checked_sub(number(start)?)
    });
    assert!(size >= Some(LEAST_STACK), "a child's stack: {own:?}");
    let memory = crate::support::proc::memory(child).expect("it lives");
    assert!(memory.private_dirty <= 4, "{memory:?}, in KiB");
}

/// Two builds from nothing, in different folders, one of them by `cargo install`, are
/// the file that is shipped.
#[test]
fn reproducible() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let built = Tree::copy_to(scratch.path("a"));
    succeeded(&built.cargo(&["build", "--release"]));
    let installed = Tree::copy_to(scratch.path("another folder"));
    succeeded(&installed.cargo(&["install", "--path", ".", "--root", "root"]));
    for file in [
        built.path("target/release/rot13d"),
        installed.path("root/bin/rot13d"),
    ] {
        let same = fs::read(&file).expect("a binary") == fs::read(binary()).unwrap();
        assert!(same, "{} is another file", file.display());
    }
}

/// A build of a copy in which `with` stands in front of `place` in `file`.
#[track_caller]
fn built_with(scratch: &Scratch, file: &str, place: &str, with: &str) -> PathBuf {
    let tree = Tree::copy_to(scratch.path("changed"));
    let source = tree.read(file);
    assert_eq!(source.matches(place).count(), 1, "{place} in {file}");
    tree.write(file, &source.replace(place, &format!("{with}{place}")));
    succeeded(&tree.cargo(&["build", "--release", "--quiet"]));
    tree.path("target/release/rot13d")
}

/// A panic in the process of a client ends that client alone, and says so.
#[test]
fn panic_in_a_child_is_a_message_and_111() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let panics = "assert!(!matches!(buffer.step(), Step::Write(b\"cnavp\\n\")));\n        ";
    let place = "let (result, reads) = match buffer.step() {";
    let file = built_with(&scratch, "src/session.rs", place, panics);
    let server = Server::new().binary(file).args(["-v"]).start();
    let mut other = server.connect();
    other.exchange(b"before\n");
    let mut client = server.connect();
    client.exchange(b"no reason to\n");
    client.say(b"panic\n");
    client.assert_end();
    server.wait_log(" exit 111 1/256");
    assert!(server.log().contains(&"rot13d: fatal: panic".to_owned()));
    other.exchange(b"after\n");
}

/// A panic in the parent ends the server; its clients are served to their end.
#[test]
fn panic_in_the_parent_is_a_message_and_111() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let panics = "assert!(clients::count().connected < 1);\n        ";
    let file = built_with(&scratch, "src/server.rs", "let (socket, name) =", panics);
    let mut server = Server::new().binary(file).start();
    let mut client = server.connect();
    client.exchange(b"one is served\n");
    assert_eq!(server.wait_exit().code(), Some(111));
    server.wait_log("rot13d: fatal: panic");
    client.exchange(b"and is still\n");
}
