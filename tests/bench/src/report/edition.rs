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
    measure: String,
    better: Better,
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

    fn compared(&self) -> Vec<Row> {
        use Better::{Less, More};
        let row = |what: String, measure: String, better| Row {
            what,
            measure,
            better,
        };
        let mut rows = Vec::new();
        for crowd in CROWDS {
            let what = format!("connections per second, {crowd} at once");
            rows.push(row(what, format!("visits {crowd}"), More));
        }
        for count in self.counts("growth ") {
            let what = format!("the same, 1 beside {} idle", number(count as f64));
            rows.push(row(what, format!("growth {count}"), More));
        }
        rows.push(row(
            "line round trip, µs".into(),
            "round trip p50".into(),
            Less,
        ));
        for (measure, _) in TEXTS {
            rows.push(row(format!("{measure}, MiB/s"), measure.into(), More));
        }
        for count in self.counts("memory ") {
            let what = format!("KiB per idle client, {}", number(count as f64));
            rows.push(row(what, format!("memory {count}"), Less));
        }
        let first_reply = "connect to first reply, µs";
        rows.push(row(first_reply.into(), "first reply p50".into(), Less));
        rows.push(row("start to first reply, µs".into(), "start".into(), Less));
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
            row.what.clone(),
            better.into(),
            figure(FIRST),
            figure(OURS),
            shown(to_first),
            shown(ratio(AGAIN, OURS)),
            shown(ratio(FLOOR, OURS)),
            match (to_first, self.noise(&row.measure)) {
                (None, _) => "not measured".into(),
                (_, None) => "too few rounds".into(),
                (Some(ratio), Some(noise)) => verdict(ratio.median, noise, row.better).into(),
            },
        ]
    }
}

fn verdict(ratio: f64, noise: f64, better: Better) -> &'static str {
    let gain = match better {
        Better::More => ratio - 1.0,
        Better::Less => 1.0 - ratio,
    };
    match gain {
        gain if gain > noise => "better",
        gain if gain < -noise => "**worse**",
        _ => "within noise",
    }
}

#[cfg(test)]
mod tests {
    use super::{Better, verdict};

    #[test]
    fn a_verdict_knows_what_is_better() {
        assert_eq!(verdict(1.05, 0.02, Better::More), "better");
        assert_eq!(verdict(1.05, 0.02, Better::Less), "**worse**");
        assert_eq!(verdict(0.95, 0.02, Better::More), "**worse**");
        assert_eq!(verdict(0.95, 0.02, Better::Less), "better");
        assert_eq!(verdict(0.99, 0.02, Better::Less), "within noise");
    }
}
