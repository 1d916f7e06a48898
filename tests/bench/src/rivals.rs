//! What is measured: a program, its command line, and what it is to the reader.

use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

/// The names that the report refers to.
pub const OURS: &str = "rot13d";
/// A copy of the same file: how far it is from the original is noise.
pub const AGAIN: &str = "rot13d copy";
pub const FIRST: &str = "rot13d first edition";
pub const NO_CAGE: &str = "rot13d uncaged";
pub const NO_CIPHER: &str = "rot13d no cipher";
pub const PER_SOURCE: &str = "rot13d -C";
pub const FLOOR: &str = "bare loop";
pub const FLOOR_ONCE: &str = "bare loop once";
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
    /// The server as it was before it was rewritten.
    FirstEdition,
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

impl Area {
    pub const ALL: [Self; 6] = [
        Self::Visits,
        Self::Trips,
        Self::Bulk,
        Self::Memory,
        Self::Program,
        Self::Growth,
    ];

    pub fn is_called(self, name: &str) -> bool {
        format!("{self:?}").eq_ignore_ascii_case(name)
    }
}

pub struct Rival {
    pub name: String,
    pub class: Class,
    /// How it runs and what it does, for the report.
    pub what: &'static str,
    /// The program first; `PORT` and `CONFIG` are put in at the start.
    pub command: Vec<OsString>,
    /// A configuration file, with `PORT` in it.
    pub config: Option<String>,
    /// The limit of descriptors that it needs. Some close all of them in each
    /// child, so that more than needed would slow them down.
    pub descriptors: u64,
}

/// Enough for who keeps no client's descriptor, and for who keeps them all.
pub const FEW_DESCRIPTORS: u64 = 1024;
pub const MANY_DESCRIPTORS: u64 = 30_000;

impl Rival {
    pub fn takes_part(&self, area: Area) -> bool {
        match self.name.as_str() {
            NO_CAGE => matches!(area, Area::Visits | Area::Trips),
            NO_CIPHER => area == Area::Bulk,
            PER_SOURCE => area == Area::Growth,
            FLOOR_ONCE => area == Area::Visits,
            _ => true,
        }
    }

    /// Whether it is the server under test, as shipped or not, in any edition.
    pub fn is_own(&self) -> bool {
        use Class::{Build, FirstEdition, Ours, Variant};
        matches!(self.class, Ours | Variant | Build | FirstEdition)
    }

    /// Whether a budget or a comparison needs this rival's ratios: it is measured in more
    /// rounds. Where ten thousand clients are connected each time, only the editions and
    /// the bare loop are.
    pub fn in_focus(&self, area: Area) -> bool {
        match (area, self.name.as_str()) {
            (_, FLOOR) => true,
            (Area::Memory | Area::Growth, LECTURE | PER_SOURCE) => false,
            (_, LECTURE) => true,
            _ => self.is_own(),
        }
    }

    pub fn program(&self) -> &Path {
        Path::new(&self.command[0])
    }

    /// The command line, and the configuration file written if there is one.
    pub fn arguments(&self, port: u16) -> io::Result<Vec<OsString>> {
        let port = port.to_string();
        // In a folder that is there for what a run leaves.
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench/rival.conf");
        if let Some(text) = &self.config {
            fs::write(&config, text.replace("PORT", &port))?;
        }
        let place = |word: &OsString| match word.to_str() {
            Some("CONFIG") => config.clone().into(),
            Some(word) => word.replace("PORT", &port).into(),
            None => word.clone(),
        };
        // The path of the program is taken as it is.
        let words = self.command[1..].iter().map(place);
        Ok([self.command[0].clone()].into_iter().chain(words).collect())
    }
}
