//! The same on a small processor: a few figures from a booted machine, against the
//! lecture's program and a peer. `tests/boards.sh bench` boots it and prints samples.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::marked::{self, marked};
use crate::report::format::{table, with_spread, wrapped};
use crate::samples::{Samples, Spread};

/// The names of the parts: a section of the report, and what of it is in the README.
pub const SECTION: &str = "board";
pub const IN_SHORT: &str = "board-costs";

/// The servers, by the names that the machine has for them.
const OURS: &str = "rot13d";
const LECTURE: &str = "lecture";
const PEER: &str = "tcpsvd";
const NAMES: [(&str, &str); 3] = [
    (OURS, "**rot13d**"),
    (LECTURE, "lecture static glibc"),
    (PEER, "tcpsvd, runs busybox's cat"),
];

const VISITS: &str = "visits";
const LINES: &str = "lines";
const MEMORY: &str = "memory";
const MEASURES: [(&str, &str); 3] = [
    (VISITS, "connections per second"),
    (LINES, "round trip of a line, µs"),
    (MEMORY, "KiB per idle client"),
];

/// Boots, measures, and writes the section of the report; if this is a whole run, the
/// README's line as well.
pub fn measure(root: &Path, folder: &Path, whole: bool) -> io::Result<()> {
    let rounds = if whole { "7" } else { "1" };
    eprintln!("bench: boots a machine and measures in it; that takes a minute or two");
    let output = Command::new("sh")
        .args(["tests/boards.sh", "bench", rounds])
        .current_dir(root)
        // Of this program's build, not of the server's.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(io::Error::other(format!("{text}\nnothing was measured")));
    }
    let samples = read(&text)?;
    samples.save(&root.join("target/bench/board.samples"))?;
    let in_short = in_short(&samples).ok_or_else(|| incomplete(&text))?;
    let section = section(&samples, &in_short).ok_or_else(|| incomplete(&text))?;
    println!("{section}");
    if !whole {
        return Ok(());
    }
    marked::replace(&folder.join("REPORT.md"), SECTION, &section)?;
    marked::replace(&root.join("README.md"), IN_SHORT, &in_short)
}

fn incomplete(text: &str) -> io::Error {
    io::Error::other(format!("not all samples are there:\n{text}"))
}

/// The section of an older report, for a new one: marks alone where there is none.
pub fn kept(report: &str) -> String {
    marked(SECTION, marked::part(report, SECTION).unwrap_or_default())
}

fn read(text: &str) -> io::Result<Samples> {
    let mut samples = Samples::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [measure, server, round, value] = words[..] else {
            return Err(io::Error::other(format!("not a sample: {line}")));
        };
        let round = round.parse().map_err(io::Error::other)?;
        let value = value.parse().map_err(io::Error::other)?;
        samples.add(measure, server, round, Ok(value));
    }
    Ok(samples)
}

fn section(samples: &Samples, in_short: &str) -> Option<String> {
    let rows: Option<Vec<Vec<String>>> = NAMES
        .iter()
        .map(|(server, name)| {
            let cells: Option<Vec<String>> = MEASURES
                .iter()
                .map(|(measure, _)| {
                    let spread = with_spread(samples.spread(measure, server)?);
                    let ratio = ratio(samples, measure, server)?;
                    let is_base = *server == LECTURE;
                    Some(if is_base {
                        spread
                    } else {
                        format!("{spread} {ratio}×")
                    })
                })
                .collect();
            Some([vec![(*name).to_owned()], cells?].concat())
        })
        .collect();
    let head: Vec<&str> = [""]
        .into_iter()
        .chain(MEASURES.map(|(_, title)| title))
        .collect();
    Some(format!(
        "## On a small processor\n\nAn arm64 machine with one processor, booted in qemu with Debian's kernel. Its clock \
         advances by 8 ns with every instruction, so these figures count the instructions of kernel, server and client \
         and know no caches: only the ratios mean something, and what else this machine has to do is not in them. One \
         client at a time, in that machine, over loopback. Memory is that of one of 300 idle clients, with both ends of \
         its connection. Medians, the quartiles in brackets where they differ, then the ratio to the lecture's program. \
         Written by `make bench-board`.\n\n{}\n{}",
        table(&head, rows?),
        marked(IN_SHORT, in_short)
    ))
}

/// One sentence for the README.
fn in_short(samples: &Samples) -> Option<String> {
    let of = |server| {
        let [visits, lines, memory] = MEASURES.map(|(measure, _)| ratio(samples, measure, server));
        Some((visits?, lines?, memory?))
    };
    let (ours, peer) = (of(OURS)?, of(PEER)?);
    Some(wrapped(&format!(
        "On an arm64 machine in qemu (`make bench-board`; its clock counts instructions, so only ratios mean something), \
         rot13d has {} times the connections per second of the lecture's program, takes {} of its time for a line and {} \
         of its memory per idle client; tcpsvd with busybox's cat has {}, {} and {}.",
        ours.0, ours.1, ours.2, peer.0, peer.1, peer.2
    )))
}

fn ratio(samples: &Samples, measure: &str, server: &str) -> Option<String> {
    let Spread { median, .. } = samples.ratio(measure, server, LECTURE)?;
    Some(format!("{median:.2}"))
}

#[cfg(test)]
mod tests {
    use super::{in_short, kept, read, section};

    fn samples() -> String {
        let mut text = String::new();
        for round in 0..3 {
            for (server, rate, micros, kib) in [
                ("rot13d", 516.0, 292.0, 47.0),
                ("lecture", 258.0, 584.0, 94.0),
                ("tcpsvd", 129.0, 292.0, 188.0),
            ] {
                text += &format!("visits {server} {round} {rate}\n");
                text += &format!("lines {server} {round} {micros}\n");
                text += &format!("memory {server} {round} {kib}\n");
            }
        }
        text
    }

    #[test]
    fn a_board_is_told_in_ratios_to_the_lecture() {
        let samples = read(&samples()).unwrap();
        let line = in_short(&samples).unwrap().replace('\n', " ");
        assert!(line.contains("2.00 times the connections"), "{line}");
        assert!(line.contains("0.50 of its time for a line and 0.50 of its memory"));
        assert!(line.contains("cat has 0.50, 0.50 and 2.00"), "{line}");
        let section = section(&samples, "in short\n").unwrap();
        assert!(section.contains("| 516 2.00×"), "{section}");
        // It stays when the rest of the report is written anew.
        let report = format!("# before\n<!-- board -->\n{section}<!-- /board -->\nafter\n");
        assert!(kept(&report).contains(&section));
    }

    #[test]
    fn a_board_that_said_too_little_has_no_section() {
        assert!(read("visits rot13d 0\n").is_err());
        assert!(read("visits rot13d 0 fast\n").is_err());
        let few = read(&samples().replace("memory tcpsvd", "memory lecture")).unwrap();
        assert!(in_short(&few).is_none());
        assert!(section(&few, "").is_none());
    }
}
