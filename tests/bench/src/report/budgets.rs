//! The budgets: what was promised, what was measured, whether it is met.

use super::Report;
use super::format::{Better, number, table, times, unknown, with_spread};
use crate::rivals::{FIRST, FLOOR, NO_CAGE, NO_CIPHER, OURS};
use crate::source::{Biggest, Source};

/// The measure that stands for connections per second where only one is shown.
pub const RATE: &str = "visits 4";
pub const BULK: &str = "bulk lines";
pub const LINE: &str = "round trip p50";

/// Bytes of the file, on every architecture; here it is this machine's.
const FILE: f64 = 16_384.0;
/// KiB per idle client by component sum, beside so many.
const MEMORY: [(usize, f64); 2] = [(1_000, 54.0), (10_000, 58.0)];
const CLIENTS: usize = 10_000;
/// Lines of source; "about" is a twentieth more.
const LINES: usize = 2_300;
const FILE_LINES: usize = 200;
const FUNCTION_LINES: usize = 60;
const UNSAFE_BLOCKS: usize = 30;

pub struct Budget {
    pub what: &'static str,
    budget: String,
    measured: String,
    pub met: Option<bool>,
    /// By which share of the budget it is passed; nothing where it is a matter of yes
    /// or no.
    pub over: Option<f64>,
    /// The same of the first edition, where it was measured in the same run.
    first: String,
}

impl Report<'_> {
    pub fn budgets(&self) -> String {
        let rows = self.budget_rows().into_iter().map(|row| {
            let met = match row.met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "–",
            };
            let what = row.what.to_owned();
            vec![what, row.budget, row.measured, met.into(), row.first]
        });
        format!(
            "## Budgets\n\n{}",
            table(&["", "budget", "measured", "", "first edition"], rows)
        )
    }

    pub fn budget_rows(&self) -> Vec<Budget> {
        let mut rows = vec![self.at_most("file (this architecture)", "file", FILE, "bytes")];
        rows.extend(self.source_budgets());
        rows.extend([
            self.ratio_budget(
                "connections per second, against the bare loop",
                RATE,
                FLOOR,
                Better::More,
                1.05,
            ),
            self.ratio_budget(
                "bulk, against the same without a cipher",
                BULK,
                NO_CIPHER,
                Better::More,
                0.95,
            ),
            self.ratio_budget(
                "round trip of a line, against the bare loop",
                LINE,
                FLOOR,
                Better::Less,
                1.03,
            ),
        ]);
        for (count, limit) in MEMORY {
            let what = match count {
                1_000 => "memory per idle client, 1,000 of them",
                _ => "memory per idle client, 10,000 of them",
            };
            rows.push(self.at_most(what, &format!("memory {count}"), limit, "KiB"));
        }
        rows.extend([
            self.no_cost("the cage, per connection", RATE, Better::More),
            self.no_cost("the cage, per line", LINE, Better::Less),
            self.all_echoed(),
        ]);
        rows
    }

    fn at_most(&self, what: &'static str, measure: &str, limit: f64, unit: &str) -> Budget {
        let spread = self.samples.spread(measure, OURS);
        let first = self.samples.spread(measure, FIRST);
        let shown = |spread| format!("{} {unit}", with_spread(spread));
        Budget {
            what,
            budget: format!("at most {} {unit}", number(limit)),
            measured: spread.map_or_else(unknown, shown),
            met: spread.map(|spread| spread.median <= limit),
            over: spread.map(|spread| spread.median / limit - 1.0),
            first: first.map_or_else(|| "–".into(), shown),
        }
    }

    /// This edition's share of `base`, in more or less of what `measure` counts.
    fn ratio_budget(
        &self,
        what: &'static str,
        measure: &str,
        base: &str,
        better: Better,
        limit: f64,
    ) -> Budget {
        let ratio = self.samples.ratio(measure, OURS, base);
        // The first edition without a cipher is not measured.
        let first = (base == FLOOR)
            .then(|| self.samples.ratio(measure, FIRST, base))
            .flatten();
        Budget {
            what,
            budget: limit_in_words(better, limit),
            measured: ratio.map_or_else(unknown, times),
            met: ratio.map(|ratio| is_within(ratio.median, better, limit)),
            over: ratio.map(|ratio| over(ratio.median, better, limit)),
            first: first.map_or_else(|| "–".into(), times),
        }
    }

    /// Met where the server is ahead of itself without a cage, or no further behind
    /// than its copy may be.
    fn no_cost(&self, what: &'static str, measure: &str, better: Better) -> Budget {
        let ratio = self.samples.ratio(measure, OURS, NO_CAGE);
        let limit = self.noise(measure).map(|noise| match better {
            Better::More => 1.0 - noise,
            Better::Less => 1.0 + noise,
        });
        Budget {
            what,
            budget: limit.map_or_else(
                || "within noise".into(),
                |limit| format!("within noise: {}", limit_in_words(better, limit)),
            ),
            measured: ratio.map_or_else(unknown, times),
            met: ratio
                .zip(limit)
                .map(|(ratio, limit)| is_within(ratio.median, better, limit)),
            over: ratio
                .zip(limit)
                .map(|(ratio, limit)| over(ratio.median, better, limit)),
            first: "–".into(),
        }
    }

    fn all_echoed(&self) -> Budget {
        let measure = format!("memory {CLIENTS}");
        let outcome = |rival| {
            let failure = self.samples.failure(&measure, rival);
            let all = format!("{}, all echoed", number(CLIENTS as f64));
            let tried = self.samples.tried(&measure, rival);
            tried.then(|| failure.map_or(all, str::to_owned))
        };
        let measured = outcome(OURS);
        Budget {
            what: "clients at once",
            budget: "10,000, all echoed".into(),
            met: measured
                .is_some()
                .then(|| self.samples.failure(&measure, OURS).is_none()),
            over: None,
            measured: measured.unwrap_or_else(unknown),
            first: outcome(FIRST).unwrap_or_else(|| "–".into()),
        }
    }

    fn source_budgets(&self) -> Vec<Budget> {
        let (Ok(now), first) = (
            Source::of(self.root),
            Source::of(&self.root.join("target/bench/first-edition/source")).ok(),
        ) else {
            return Vec::new();
        };
        let share = |count: usize, limit: usize| Some(count as f64 / limit as f64 - 1.0);
        let row = |what, budget: String, show: fn(&Source) -> String, met, over| Budget {
            what,
            budget,
            measured: show(&now),
            met,
            over,
            first: first.as_ref().map_or_else(|| "–".into(), show),
        };
        vec![
            row(
                "source of the server, with comments",
                format!("about {} lines", number(LINES as f64)),
                |source| number(source.lines as f64),
                Some(now.lines <= LINES + LINES / 20),
                share(now.lines, LINES),
            ),
            row(
                "its longest file",
                format!("at most {FILE_LINES} lines"),
                |source| lines(&source.file),
                Some(now.file.lines <= FILE_LINES),
                share(now.file.lines, FILE_LINES),
            ),
            row(
                "its longest function",
                format!("at most {FUNCTION_LINES} lines"),
                |source| lines(&source.function),
                Some(now.function.lines <= FUNCTION_LINES),
                share(now.function.lines, FUNCTION_LINES),
            ),
            row(
                "`unsafe` blocks in a build for this machine",
                format!("at most {UNSAFE_BLOCKS}"),
                |source| source.unsafe_blocks.to_string(),
                Some(now.unsafe_blocks <= UNSAFE_BLOCKS),
                share(now.unsafe_blocks, UNSAFE_BLOCKS),
            ),
            row(
                "`unsafe` blocks outside `sys`",
                "none".into(),
                |source| source.unsafe_outside_sys.to_string(),
                Some(now.unsafe_outside_sys == 0),
                None,
            ),
            row(
                "`inline(always)`",
                "as few as a measurement justifies".into(),
                |source| source.inline_always.to_string(),
                None,
                None,
            ),
            row(
                "tricks against the compiler",
                "none".into(),
                |source| source.hidden.to_string(),
                Some(now.hidden == 0),
                None,
            ),
            row(
                "flags for LLVM",
                "none".into(),
                |source| source.llvm_flags.to_string(),
                Some(now.llvm_flags == 0),
                None,
            ),
        ]
    }
}

fn lines(biggest: &Biggest) -> String {
    format!("{} ({})", number(biggest.lines as f64), biggest.name)
}

fn limit_in_words(better: Better, limit: f64) -> String {
    match better {
        Better::More => format!("at least {limit:.3}"),
        Better::Less => format!("at most {limit:.3}"),
    }
}

/// By which share a ratio passes its limit.
fn over(ratio: f64, better: Better, limit: f64) -> f64 {
    match better {
        Better::More => limit / ratio - 1.0,
        Better::Less => ratio / limit - 1.0,
    }
}

fn is_within(ratio: f64, better: Better, limit: f64) -> bool {
    match better {
        Better::More => ratio >= limit,
        Better::Less => ratio <= limit,
    }
}
