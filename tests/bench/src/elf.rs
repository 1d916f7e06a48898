//! What a program's file is made of.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// Bytes by kind, as size(1) counts them.
pub struct Sections {
    pub text: f64,
    pub data: f64,
    pub bss: f64,
}

/// Nothing for a file without section headers, such as the first edition's: it
/// loads and runs by its program headers alone, and size(1) finds nothing to count.
pub fn sections(file: &Path) -> io::Result<Option<Sections>> {
    if !has_section_headers(&fs::read(file)?)? {
        return Ok(None);
    }
    let output = Command::new("size").arg("-B").arg(file).output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = table
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    match figures[..] {
        [text, data, bss, ..] => Ok(Some(Sections { text, data, bss })),
        _ => Err(io::Error::other(format!(
            "size {}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// Whether the ELF header says where section headers are (`e_shoff`).
fn has_section_headers(file: &[u8]) -> io::Result<bool> {
    const MAGIC: &[u8] = b"\x7fELF";
    const WIDE: u8 = 2;
    let offset = match (file.starts_with(MAGIC), file.get(4)) {
        (true, Some(&WIDE)) => file.get(0x28..0x30),
        (true, Some(_)) => file.get(0x20..0x24),
        _ => None,
    };
    let offset = offset.ok_or_else(|| io::Error::other("not an ELF file"))?;
    Ok(offset.iter().any(|&byte| byte != 0))
}
