//! What was measured: samples by measure and rival, kept in a text file, and the
//! statistics over them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// One measurement, or why there is none.
type Outcome = Result<f64, String>;

#[derive(Default)]
pub struct Samples {
    /// By measure and rival; the round tells which samples belong together.
    by_key: BTreeMap<(String, String), Vec<(u32, Outcome)>>,
}

/// A median, and the quartiles around it.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let at = |part| quantile(&values, part);
        Some(Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        })
    }
}

/// The quantile of sorted values, between neighbours where it falls there.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

impl Samples {
    pub fn add(&mut self, measure: &str, rival: &str, round: u32, outcome: Outcome) {
        self.by_key
            .entry((measure.to_owned(), rival.to_owned()))
            .or_default()
            .push((round, outcome));
    }

    fn rows(&self, measure: &str, rival: &str) -> &[(u32, Outcome)] {
        self.by_key
            .get(&(measure.to_owned(), rival.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// The median over all rounds, with its spread.
    pub fn spread(&self, measure: &str, rival: &str) -> Option<Spread> {
        Spread::of(
            self.rows(measure, rival)
                .iter()
                .filter_map(|(_, outcome)| outcome.as_ref().ok().copied())
                .collect(),
        )
    }

    pub fn median(&self, measure: &str, rival: &str) -> Option<f64> {
        self.spread(measure, rival).map(|spread| spread.median)
    }

    /// `rival` over `base`, round by round: what drifts with the machine's other
    /// work is in both and goes.
    pub fn ratio(&self, measure: &str, rival: &str, base: &str) -> Option<Spread> {
        let bases = self.rows(measure, base);
        let ratios = self
            .rows(measure, rival)
            .iter()
            .filter_map(|(round, outcome)| {
                let (_, base) = bases.iter().find(|(other, _)| other == round)?;
                Some(outcome.as_ref().ok()? / base.as_ref().ok()?)
            });
        Spread::of(ratios.collect())
    }

    /// Why a rival has no figure, if it was tried.
    pub fn failure(&self, measure: &str, rival: &str) -> Option<&str> {
        self.rows(measure, rival)
            .iter()
            .find_map(|(_, outcome)| outcome.as_ref().err())
            .map(String::as_str)
    }

    /// Whether there is a figure or a failure.
    pub fn tried(&self, measure: &str, rival: &str) -> bool {
        !self.rows(measure, rival).is_empty()
    }

    pub fn measures(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(|(measure, _)| measure.as_str())
    }

    /// All measures and rivals that failed, with the reason.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.by_key.keys().filter_map(|(measure, rival)| {
            Some((
                measure.as_str(),
                rival.as_str(),
                self.failure(measure, rival)?,
            ))
        })
    }

    pub fn save(&self, file: &Path) -> io::Result<()> {
        let mut text = String::new();
        for ((measure, rival), rows) in &self.by_key {
            for (round, outcome) in rows {
                let outcome = outcome
                    .as_ref()
                    .map_or_else(|why| format!("!{why}"), f64::to_string);
                let _ = writeln!(text, "{measure}\t{rival}\t{round}\t{outcome}");
            }
        }
        fs::write(file, text)
    }

    pub fn load(file: &Path) -> io::Result<Self> {
        let mut samples = Self::default();
        for line in fs::read_to_string(file)?.lines() {
            let [measure, rival, round, outcome] = line.splitn(4, '\t').collect::<Vec<_>>()[..]
            else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("not a sample: {line}"),
                ));
            };
            let outcome = match outcome.strip_prefix('!') {
                Some(why) => Err(why.to_owned()),
                None => Ok(outcome.parse().map_err(io::Error::other)?),
            };
            samples.add(
                measure,
                rival,
                round.parse().map_err(io::Error::other)?,
                outcome,
            );
        }
        Ok(samples)
    }
}
