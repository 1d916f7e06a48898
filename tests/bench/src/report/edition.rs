//! This edition against the first: what got faster or smaller, what got slower or
//! bigger, and what is within the noise.

use super::Report;
use super::format::{Better, about, number, table};
use crate::plan::{CROWDS, TEXTS};
use crate::rivals::{AGAIN, FIRST, FLOOR, OURS};
use crate::samples::Interval;

/// In fewer rounds the copy may look like its original by chance, and the first
/// edition not: with three this happens to one figure in twenty.
const FEWEST_ROUNDS: usize = 5;

/// What is compared.
struct Row {
    what: String,
    unit: &'static str,
    measure: String,
    better: Better,
}

/// This edition against the first in one figure.
pub struct Comparison {
    pub what: String,
    pub ratio: f64,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Better,
    Worse,
    Noise,
}

impl Report<'_> {
    /// How far this edition may be from itself in `measure`, by its copy.
    pub fn noise(&self, measure: &str) -> Option<f64> {
        let copy = self.samples.ratio_interval(measure, AGAIN, OURS)?;
        (copy.rounds >= FEWEST_ROUNDS).then(|| copy.distance_from_one())
    }

    /// Nothing if no figure of the first edition is there.
    pub fn against_first_edition(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .compared()
            .iter()
            .filter(|row| self.samples.median(&row.measure, FIRST).is_some())
            .map(|row| self.compare(row))
            .collect();
        if rows.is_empty() {
            return String::new();
        }
        let head = [
            "",
            "better",
            "first",
            "this",
            "this / first",
            "copy / this",
            "bare loop / this",
            "verdict",
        ];
        format!(
            "## This edition against the first\n\nA ratio is taken between neighbours in the same round, then the \
             median over the rounds; in brackets the interval that holds it in 99 of 100 runs (with fewer than eight \
             rounds: the smallest and the largest). The copy is this edition's own file once more: how far its \
             interval reaches from 1 is the noise. A ratio to the first edition is better or worse if its median is \
             further from 1 than that.\n\n{}",
            table(&head, rows)
        )
    }

    /// All figures of which it can be said.
    pub fn comparisons(&self) -> Vec<Comparison> {
        let comparison = |row: &Row| {
            let ratio = self.samples.ratio(&row.measure, OURS, FIRST)?.median;
            let verdict = verdict(ratio, self.noise(&row.measure)?, row.better);
            let what = row.what.clone();
            Some(Comparison {
                what,
                ratio,
                verdict,
            })
        };
        self.compared().iter().filter_map(comparison).collect()
    }

    fn compared(&self) -> Vec<Row> {
        use Better::{Less, More};
        let row = |what: String, unit, measure: String, better| Row {
            what,
            unit,
            measure,
            better,
        };
        let mut rows = Vec::new();
        for crowd in CROWDS {
            let what = format!("connections per second, {crowd} at once");
            rows.push(row(what, "", format!("visits {crowd}"), More));
        }
        for count in self.counts("growth ") {
            let beside = number(count as f64);
            let what = format!("connections per second, 1 beside {beside} idle");
            rows.push(row(what, "", format!("growth {count}"), More));
        }
        let what = "round trip of a line".into();
        rows.push(row(what, ", µs", "round trip p50".into(), Less));
        for (measure, what, _) in TEXTS {
            rows.push(row(what.into(), ", MiB/s", measure.into(), More));
        }
        for count in self.counts("memory ") {
            let what = format!("memory per idle client, {}", number(count as f64));
            rows.push(row(what, ", KiB", format!("memory {count}"), Less));
        }
        let what = "connect to first reply".into();
        rows.push(row(what, ", µs", "first reply p50".into(), Less));
        let what = "start to first reply".into();
        rows.push(row(what, ", µs", "start".into(), Less));
        rows
    }

    fn compare(&self, row: &Row) -> Vec<String> {
        let figure = |rival| {
            let median = self.samples.median(&row.measure, rival);
            median.map_or_else(|| "–".into(), number)
        };
        let ratio = |rival, base| self.samples.ratio_interval(&row.measure, rival, base);
        let shown = |ratio: Option<Interval>| ratio.map_or_else(|| "–".into(), about);
        let better = match row.better {
            Better::More => "more",
            Better::Less => "less",
        };
        let to_first = ratio(OURS, FIRST);
        vec![
            format!("{}{}", row.what, row.unit),
            better.into(),
            figure(FIRST),
            figure(OURS),
            shown(to_first),
            shown(ratio(AGAIN, OURS)),
            shown(ratio(FLOOR, OURS)),
            match (to_first, self.noise(&row.measure)) {
                (None, _) => "not measured".into(),
                (_, None) => "too few rounds".into(),
                (Some(ratio), Some(noise)) => match verdict(ratio.median, noise, row.better) {
                    Verdict::Better => "better".into(),
                    Verdict::Worse => "**worse**".into(),
                    Verdict::Noise => "within noise".into(),
                },
            },
        ]
    }
}

fn verdict(ratio: f64, noise: f64, better: Better) -> Verdict {
    let gain = match better {
        Better::More => ratio - 1.0,
        Better::Less => 1.0 - ratio,
    };
    match gain {
        gain if gain > noise => Verdict::Better,
        gain if gain < -noise => Verdict::Worse,
        _ => Verdict::Noise,
    }
}

#[cfg(test)]
mod tests {
    use super::{Better, Verdict, verdict};

    #[test]
    fn a_verdict_knows_what_is_better() {
        assert_eq!(verdict(1.05, 0.02, Better::More), Verdict::Better);
        assert_eq!(verdict(1.05, 0.02, Better::Less), Verdict::Worse);
        assert_eq!(verdict(0.95, 0.02, Better::More), Verdict::Worse);
        assert_eq!(verdict(0.95, 0.02, Better::Less), Verdict::Better);
        assert_eq!(verdict(0.99, 0.02, Better::Less), Verdict::Noise);
    }
}
