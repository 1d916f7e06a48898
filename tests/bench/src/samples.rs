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

/// A median, and the interval that holds the true one in 99 of 100 runs.
#[derive(Clone, Copy)]
pub struct Interval {
    pub low: f64,
    pub median: f64,
    pub high: f64,
    pub rounds: usize,
}

impl Interval {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let rounds = values.len();
        let outer = outer_ranks(rounds);
        Some(Self {
            low: values[outer],
            median: quantile(&values, 0.5),
            high: values[rounds - 1 - outer],
            rounds,
        })
    }

    /// How far from one the median may be by chance alone, where one is the truth.
    pub fn distance_from_one(self) -> f64 {
        (1.0 - self.low).max(self.high - 1.0)
    }
}

/// How many of `rounds` sorted values may be left out at either end so that the true
/// median is between the others with a probability of 99 %. Nothing is known of how
/// the values are spread, only that each is as likely above the true median as below:
/// so how many are below is a number of heads among `rounds` tosses of a coin. Under
/// eight values the smallest and the largest are the best there is.
fn outer_ranks(rounds: usize) -> usize {
    let tosses = rounds as f64;
    let mut chance = 0.5_f64.powi(rounds as i32);
    let mut below = chance;
    let mut heads = 0_usize;
    while below <= 0.005 {
        chance *= (tosses - heads as f64) / (heads + 1) as f64;
        below += chance;
        heads += 1;
    }
    heads.saturating_sub(1)
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

    /// Whether there is one of this round, measured or failed.
    pub fn has(&self, measure: &str, rival: &str, round: u32) -> bool {
        let rows = self.rows(measure, rival);
        rows.iter().any(|(other, _)| *other == round)
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
        Spread::of(self.ratios(measure, rival, base))
    }

    /// How far the median of these ratios may be off.
    pub fn ratio_interval(&self, measure: &str, rival: &str, base: &str) -> Option<Interval> {
        Interval::of(self.ratios(measure, rival, base))
    }

    fn ratios(&self, measure: &str, rival: &str, base: &str) -> Vec<f64> {
        let bases = self.rows(measure, base);
        self.rows(measure, rival)
            .iter()
            .filter_map(|(round, outcome)| {
                let (_, base) = bases.iter().find(|(other, _)| other == round)?;
                Some(outcome.as_ref().ok()? / base.as_ref().ok()?)
            })
            .collect()
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

#[cfg(test)]
mod tests {
    use super::{Interval, Samples, outer_ranks};

    #[test]
    fn the_interval_is_that_of_the_tables_of_the_sign_test() {
        // Ranks from one, as the tables give them, for 99 %.
        for (rounds, rank) in [
            (8, 1),
            (10, 1),
            (12, 2),
            (15, 3),
            (20, 4),
            (25, 6),
            (50, 16),
        ] {
            assert_eq!(outer_ranks(rounds) + 1, rank, "{rounds} rounds");
        }
        assert_eq!(outer_ranks(1), 0);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let mut samples = Samples::default();
        for (round, drift) in [1.0, 10.0, 100.0].into_iter().enumerate() {
            samples.add("rate", "base", round as u32, Ok(drift));
            samples.add("rate", "rival", round as u32, Ok(drift * 1.5));
        }
        samples.add("rate", "rival", 3, Err("silent".into()));
        let ratio = samples.ratio_interval("rate", "rival", "base").unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (1.5, 1.5, 1.5));
        assert_eq!(ratio.rounds, 3);
    }

    #[test]
    fn the_noise_is_the_end_that_is_further_from_one() {
        let noise = Interval::of(vec![0.96, 1.0, 1.01]).unwrap();
        assert!((noise.distance_from_one() - 0.04).abs() < 1e-12);
    }
}
