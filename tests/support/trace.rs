//! What strace, or an emulator in its place, has written, process by process.

use std::collections::BTreeMap;

/// The calls and signals of each process, in order. A call that strace had to
/// cut in two, because another process did something in between, is whole again.
pub fn by_process(trace: &[String]) -> BTreeMap<i32, Vec<String>> {
    let mut processes: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for line in trace {
        let (pid, text) = line.trim_start().split_once(' ').unwrap_or_default();
        let Ok(pid) = pid.parse() else { continue };
        let lines = processes.entry(pid).or_default();
        let text = text.trim_start();
        match text.split_once(" resumed>") {
            Some((start, rest)) if start.starts_with("<... ") => {
                if let Some(last) = lines.last_mut() {
                    *last = last.trim_end_matches("<unfinished ...>").to_owned();
                    // The space that strace puts before that mark.
                    last.pop();
                    last.push_str(rest);
                }
            }
            _ => lines.push(text.to_owned()),
        }
    }
    processes
}

/// The same for a program in an emulator, which itself writes (qemu's `-strace`)
/// the program's calls to standard error: `trace` has these writes, in
/// hexadecimal. (Read from there, the words of processes would be mixed.)
pub fn by_process_in_emulator(trace: &[String]) -> BTreeMap<i32, Vec<String>> {
    let mut processes = BTreeMap::new();
    for (pid, writes) in by_process(trace) {
        let text: Vec<u8> = writes.iter().flat_map(|line| written(line)).collect();
        let text = String::from_utf8_lossy(&text);
        // The program's own messages are at the end of a line, after a call.
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            if let Some(call) = line.strip_prefix(&format!("{pid} ")) {
                lines.push(call.to_owned());
            } else if line.starts_with("--- SIG") {
                // If it interrupts accept, that is begun anew and shown twice.
                lines.pop_if(|last| name(last).starts_with("accept"));
                lines.push(line.to_owned());
            }
        }
        if !lines.is_empty() {
            processes.insert(pid, lines);
        }
    }
    processes
}

/// The bytes of `write(2, "\xHH...", ...`.
fn written(line: &str) -> Vec<u8> {
    let text = line.strip_prefix("write(2, \"\\x");
    let text = text.and_then(|text| text.split_once('"'));
    let bytes = text.map_or("", |(bytes, _)| bytes).split("\\x");
    bytes
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect()
}

/// The name of the call in a line; nothing for a signal or an end.
pub fn name(line: &str) -> &str {
    let name = line.split_once('(').map_or("", |(name, _)| name);
    let plain = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    if name.bytes().all(plain) { name } else { "" }
}

/// What the call in a line returned: a number or an error's name; nothing
/// while it lasts.
pub fn result(line: &str) -> &str {
    let result = line.rsplit_once(" = ").map_or("", |(_, result)| result);
    let mut words = result.split_whitespace();
    match words.next() {
        Some("-1" | "?") => words.next().unwrap_or_default(),
        Some(word) => word,
        None => "",
    }
}
