//! The command line of the bench.

use crate::plan::{self, Plan};
use crate::rivals::{AGAIN, Area, Class, FIRST, FLOOR, OURS};

pub const USAGE: &str =
    "usage: bench [--compare] [--quick] [--only RIVAL,...] [--area AREA,...] [--also FILE,...]
             [--resume] [--render]
       bench --board [--quick]

  --compare  only this edition, its copy, the first edition and the bare loop
  --quick    short rounds, to see that all runs; with --compare a few
  --only     these rivals (and rot13d, for the ratios)
  --area     of visits, trips, bulk, memory, program, growth: only these
  --also     other builds of rot13d beside the shipped one
  --resume   go on where the last run ended, with the same options
  --render   write the report again from the samples of the last run
  --board    a few figures from an arm64 machine, booted in qemu

A whole run writes REPORT.md and its charts here, and the README's table, any other one
under target/bench/part. --board writes its part of both.";

#[derive(Default)]
pub struct Arguments {
    pub compare: bool,
    pub quick: bool,
    pub resume: bool,
    pub render: bool,
    pub board: bool,
    pub areas: Vec<String>,
    /// Paths of other builds of the server.
    pub also: Vec<String>,
    only: Vec<String>,
}

impl Arguments {
    /// Nothing if the words make no sense.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut parsed = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--compare" => parsed.compare = true,
                "--quick" => parsed.quick = true,
                "--resume" => parsed.resume = true,
                "--board" => parsed.board = true,
                "--render" => parsed.render = true,
                "--only" => parsed.only = list(&words.next()?),
                "--area" => parsed.areas = areas(&words.next()?)?,
                "--also" => parsed.also = list(&words.next()?),
                _ => return None,
            }
        }
        Some(parsed)
    }

    pub fn plan(&self) -> Plan {
        match (self.compare, self.quick) {
            (false, false) => plan::FULL,
            (false, true) => plan::QUICK,
            (true, false) => plan::COMPARE,
            (true, true) => plan::QUICK_COMPARE,
        }
    }

    /// Whether all is measured: only then it is the report to keep.
    pub fn whole(&self) -> bool {
        let fewer = self.compare || self.quick || !self.only.is_empty() || !self.areas.is_empty();
        !fewer && self.also.is_empty()
    }

    /// Whether a rival is built and measured.
    pub fn want(&self, rival: &str, class: Class) -> bool {
        if matches!(class, Class::Ours | Class::Build) {
            return true;
        }
        if !self.only.is_empty() {
            return self.only.iter().any(|name| name == rival);
        }
        !self.compare || [OURS, AGAIN, FIRST, FLOOR].contains(&rival)
    }
}

/// Nothing if one of them is not known.
fn areas(text: &str) -> Option<Vec<String>> {
    let areas = list(text);
    let known = |area: &String| Area::ALL.iter().any(|known| known.is_called(area));
    areas.iter().all(known).then_some(areas)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).collect()
}
