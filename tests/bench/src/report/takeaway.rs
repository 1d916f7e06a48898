//! What a reader should take away: three sentences and a table, out of the figures.

use super::Report;
use super::budgets::{BULK, Budget, LINE, RATE};
use super::edition::{Comparison, Verdict};
use super::format::{number, table, wrapped};
use crate::marked::marked;
use crate::rivals::{FIRST, FLOOR, LECTURE, OURS};

/// The parts that the README has as well.
pub const COSTS: &str = "costs";
pub const IN_SHORT: &str = "in-short";

impl Report<'_> {
    pub fn takeaway(&self, machine: &str) -> String {
        format!(
            "{}\n{}\n{}",
            marked(IN_SHORT, &self.in_short()),
            wrapped(&budgets_in_words(&self.budget_rows())),
            marked(COSTS, &self.costs(machine))
        )
    }

    /// Against the first edition, and against the lecture's program.
    pub fn in_short(&self) -> String {
        let editions = match self.comparisons() {
            all if !all.is_empty() => editions_in_words(&all),
            _ if self.is_here(FIRST) => {
                "In so few rounds the two editions cannot be told apart.".into()
            }
            _ => "The first edition was not measured beside it.".into(),
        };
        wrapped(&format!("{editions} {}", self.lecture_in_words()))
    }

    /// Whether there is any figure of a rival.
    fn is_here(&self, rival: &str) -> bool {
        let mut measures = self.samples.measures();
        measures.any(|measure| self.samples.median(measure, rival).is_some())
    }

    fn lecture_in_words(&self) -> String {
        let ratio = |measure: &str| Some(self.samples.ratio(measure, OURS, LECTURE)?.median);
        let memory = self
            .memory_counts()
            .last()
            .map(|count| format!("memory {count}"));
        let ratios = (
            ratio(RATE),
            ratio(LINE),
            ratio(BULK),
            memory.and_then(|memory| ratio(&memory)),
        );
        let (Some(rate), Some(line), Some(bulk), Some(memory)) = ratios else {
            return "The lecture's program was not measured beside it.".into();
        };
        format!(
            "Against the lecture's program in C it serves {rate:.2} times the connections per second, takes {line:.2} of \
             the time for a line, moves {} times the bytes in bulk, and takes {memory:.2} of the memory per idle client.",
            number(bulk)
        )
    }

    /// Absolute figures, few enough for the README.
    pub fn costs(&self, machine: &str) -> String {
        let rivals = [
            (OURS, "rot13d"),
            (FIRST, "first edition"),
            (LECTURE, "lecture's program"),
            (FLOOR, "bare loop in C"),
        ];
        let memory: Vec<(String, String)> = self
            .memory_counts()
            .last()
            .map(|&count| {
                let what = format!("memory per idle client of {}, KiB", number(count as f64));
                (what, format!("memory {count}"))
            })
            .into_iter()
            .collect();
        let rows = [
            ("connections per second, 4 at once", RATE),
            ("connect to first reply, µs", "first reply p50"),
            ("round trip of a line, µs", LINE),
            ("bulk, MiB per second, 80-byte lines", BULK),
        ]
        .map(|(what, measure)| (what.to_owned(), measure.to_owned()))
        .into_iter()
        .chain(memory);
        let here = rivals.map(|(rival, title)| self.is_here(rival).then_some((rival, title)));
        let rivals: Vec<_> = here.into_iter().flatten().collect();
        let cell = |measure: &str, rival: &str| {
            let median = self.samples.median(measure, rival);
            median.map_or_else(|| "–".into(), number)
        };
        let rows = rows.map(|(what, measure)| {
            let cells = rivals.iter().map(|(rival, _)| cell(&measure, rival));
            [what].into_iter().chain(cells).collect()
        });
        let head: Vec<&str> = [""]
            .into_iter()
            .chain(rivals.iter().map(|(_, title)| *title))
            .collect();
        format!(
            "{}; medians:\n\n{}",
            short_machine(machine),
            table(&head, rows)
        )
    }
}

/// Date, processor and kernel out of the description of the machine.
fn short_machine(machine: &str) -> String {
    let parts = machine.split(", ");
    let is_kernel = |part: &&str| part.starts_with("Linux ");
    let kernel = parts.clone().find(is_kernel);
    parts.take(2).chain(kernel).collect::<Vec<_>>().join(", ")
}

fn editions_in_words(all: &[Comparison]) -> String {
    let of = |verdict: Verdict| {
        let which = all.iter().filter(|one| one.verdict == verdict);
        let named: Vec<String> = which
            .map(|one| format!("{} {:.2}×", one.what, one.ratio))
            .collect();
        match (named.len(), verdict) {
            (0, _) => "none".into(),
            (count, Verdict::Noise) => count.to_string(),
            (count, _) => format!("{count} ({})", named.join("; ")),
        }
    };
    format!(
        "Against the first edition, of {} figures {} better, {} worse, and {} within noise.",
        all.len(),
        with_verb(&of(Verdict::Better)),
        with_verb(&of(Verdict::Worse)),
        with_verb(&of(Verdict::Noise)),
    )
}

/// "1 is", "none is", "2 are".
fn with_verb(count: &str) -> String {
    let one = count == "none" || count == "1" || count.starts_with("1 ");
    format!("{count} {}", if one { "is" } else { "are" })
}

fn budgets_in_words(all: &[Budget]) -> String {
    let met = all.iter().filter(|budget| budget.met == Some(true)).count();
    let missed: Vec<String> = all
        .iter()
        .filter(|budget| budget.met == Some(false))
        .map(|budget| match budget.over {
            Some(over) => format!("{} (by {:.1} %)", budget.what, 100.0 * over),
            None => budget.what.to_owned(),
        })
        .collect();
    let missed = match missed.len() {
        0 => "none is missed".into(),
        _ => format!("missed: {}", missed.join(", ")),
    };
    let open = all.iter().filter(|budget| budget.met.is_none()).count();
    let open = match open {
        0 => String::new(),
        _ => format!("; {open} have no verdict"),
    };
    format!(
        "Of {} budgets {} met, {missed}{open}.",
        all.len(),
        with_verb(&met.to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Verdict, editions_in_words, short_machine};

    #[test]
    fn the_editions_are_told_in_one_sentence() {
        let one = |what: &str, ratio, verdict| Comparison {
            what: what.into(),
            ratio,
            verdict,
        };
        let all = [
            one("rate", 1.1, Verdict::Better),
            one("bulk", 0.836, Verdict::Worse),
            one("start", 1.2, Verdict::Worse),
        ];
        assert_eq!(
            editions_in_words(&all),
            "Against the first edition, of 3 figures 1 (rate 1.10×) is better, 2 (bulk 0.84×; start 1.20×) are worse, \
             and none is within noise."
        );
    }

    #[test]
    fn the_readme_has_the_date_the_processor_and_the_kernel() {
        let machine =
            "2026-01-02: A Processor, 2 cores, 1.0 GiB of memory, Linux 6.1 x86_64, Debian";
        let short = "2026-01-02: A Processor, 2 cores, Linux 6.1 x86_64";
        assert_eq!(short_machine(machine), short);
    }
}
