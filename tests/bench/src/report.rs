//! The report: what the budgets say, the charts, the tables.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::chart::{self, Bar, Scale, Series, Stack};
use crate::memory;
use crate::rivals::{
    AGAIN, Class, FLOOR, Field, LECTURE, NO_CAGE, NO_CIPHER, OURS, PER_SOURCE, Rival,
};
use crate::samples::{Samples, Spread};

/// The measure that stands for connections per second where only one is shown.
const RATE: &str = "visits 4";
const BULK: &str = "bulk lines";
/// One page: the budget for the file.
const PAGE: f64 = 4096.0;
/// KiB per idle client, by component sum.
const MEMORY_BUDGET: f64 = 56.0;
const SOURCE_BUDGET: usize = 1500;

/// Who is in the chart of growth: all would be a tangle at its bottom.
const GROWTH_CHART: [&str; 7] = [
    OURS,
    PER_SOURCE,
    FLOOR,
    LECTURE,
    "socat",
    "tcpserver",
    "Rust threads",
];

/// Writes `REPORT.md` and its charts into `folder`.
pub fn write(
    folder: &Path,
    root: &Path,
    field: &Field,
    samples: &Samples,
    machine: &str,
) -> io::Result<()> {
    let report = Report {
        field,
        samples,
        root,
    };
    let charts = report.charts();
    for (name, svg) in &charts {
        fs::write(folder.join(name), svg)?;
    }
    let file = folder.join("REPORT.md");
    fs::write(&file, report.text(machine, &charts))?;
    println!("{}", file.display());
    Ok(())
}

struct Report<'a> {
    field: &'a Field,
    samples: &'a Samples,
    root: &'a Path,
}

/// One row of the verdict.
struct Verdict {
    what: &'static str,
    budget: String,
    measured: String,
    met: Option<bool>,
}

impl Report<'_> {
    fn text(&self, machine: &str, charts: &[(&str, String)]) -> String {
        let mut text = format!(
            "# rot13d, measured\n\n{machine}.\n\nWritten by `make bench`. Medians; in brackets the quartiles. A \
             ratio is taken between neighbours in the same round, then the median over the rounds. The server has one \
             CPU, the clients the other. Every answer is checked.\n\n## Budgets\n\n"
        );
        text += &table(
            &["", "budget", "measured", ""],
            self.verdicts().into_iter().map(|verdict| {
                let mark = match verdict.met {
                    Some(true) => "met",
                    Some(false) => "**missed**",
                    None => "",
                };
                vec![
                    verdict.what.to_owned(),
                    verdict.budget,
                    verdict.measured,
                    mark.to_owned(),
                ]
            }),
        );
        text += "\n## Charts\n\n";
        for (name, _) in charts {
            let _ = writeln!(text, "![{}]({name})\n", name.trim_end_matches(".svg"));
        }
        text += &self.tables();
        text += &self.notes();
        text
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = vec![
            self.at_most("file", "file", PAGE, "bytes"),
            self.source_lines(),
            self.at_least_times(
                RATE,
                "connections per second, against the floor",
                OURS,
                FLOOR,
                1.05,
            ),
            self.at_least_times(
                RATE,
                "connections per second, against the lecture's C",
                OURS,
                LECTURE,
                1.5,
            ),
            self.at_least_times(
                BULK,
                "bulk, against the same without a cipher",
                OURS,
                NO_CIPHER,
                0.95,
            ),
            self.no_worse(
                "round trip p50",
                "round trip of a line, against the floor",
                FLOOR,
                Better::Less,
            ),
            self.no_worse(RATE, "the cage, per connection", NO_CAGE, Better::More),
            self.no_worse(
                "round trip p50",
                "the cage, per line",
                NO_CAGE,
                Better::Less,
            ),
        ];
        if let Some(&count) = self.memory_counts().last() {
            let measure = format!("memory {count}");
            verdicts.push(self.at_most("memory per idle client", &measure, MEMORY_BUDGET, "KiB"));
            verdicts.push(self.least_memory(&measure));
            verdicts.push(self.all_echoed(count, &measure));
        }
        verdicts
    }

    fn at_most(&self, what: &'static str, measure: &str, limit: f64, unit: &str) -> Verdict {
        let spread = self.samples.spread(measure, OURS);
        Verdict {
            what,
            budget: format!("at most {} {unit}", number(limit)),
            measured: spread
                .map_or_else(unknown, |spread| format!("{} {unit}", with_spread(spread))),
            met: spread.map(|spread| spread.median <= limit),
        }
    }

    fn at_least_times(
        &self,
        measure: &str,
        what: &'static str,
        rival: &str,
        base: &str,
        limit: f64,
    ) -> Verdict {
        let ratio = self.samples.ratio(measure, rival, base);
        Verdict {
            what,
            budget: format!("at least {limit:.2} times"),
            measured: ratio.map_or_else(unknown, times),
            met: ratio.map(|ratio| ratio.median >= limit),
        }
    }

    /// Met where the server is ahead, or no further behind than it is from itself in
    /// a second place of the same rounds.
    fn no_worse(&self, measure: &str, what: &'static str, base: &str, better: Better) -> Verdict {
        let ratio = self.samples.ratio(measure, OURS, base);
        let noise = self.samples.ratio(measure, AGAIN, OURS);
        let noise = noise.map(|noise| (1.0 - noise.low).max(noise.high - 1.0));
        let budget = match (better, noise) {
            (_, None) => "within noise".into(),
            (Better::Less, Some(noise)) => format!("at most {:.3} times: noise", 1.0 + noise),
            (Better::More, Some(noise)) => format!("at least {:.3} times: noise", 1.0 - noise),
        };
        Verdict {
            what,
            budget,
            measured: ratio.map_or_else(unknown, times),
            met: ratio.zip(noise).map(|(ratio, noise)| match better {
                Better::Less => ratio.median <= 1.0 + noise,
                Better::More => ratio.median >= 1.0 - noise,
            }),
        }
    }

    fn least_memory(&self, measure: &str) -> Verdict {
        let others = self
            .field
            .rivals
            .iter()
            .filter(|rival| in_class(rival) && rival.class != Class::Ours);
        let least = others
            .filter_map(|rival| Some((self.samples.median(measure, &rival.name)?, &rival.name)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let own = self.samples.median(measure, OURS);
        Verdict {
            what: "memory per idle client, against every other",
            budget: "the least".into(),
            measured: least.map_or_else(unknown, |(kib, name)| {
                format!("next: {name}, {} KiB", number(kib))
            }),
            met: own.zip(least).map(|(own, (next, _))| own < next),
        }
    }

    fn all_echoed(&self, count: usize, measure: &str) -> Verdict {
        let failure = self.samples.failure(measure, OURS);
        let tried = self.samples.median(measure, OURS).is_some() || failure.is_some();
        Verdict {
            what: "clients at once",
            budget: "10,000, none lost".into(),
            measured: failure.map_or_else(
                || format!("{}, all echoed", number(count as f64)),
                str::to_owned,
            ),
            met: (tried && count >= 10_000).then_some(failure.is_none()),
        }
    }

    fn source_lines(&self) -> Verdict {
        let lines = source_lines(&self.root.join("src")).ok();
        Verdict {
            what: "source of the server",
            budget: format!("under {} lines", number(SOURCE_BUDGET as f64)),
            measured: lines.map_or_else(unknown, |lines| format!("{} lines", number(lines as f64))),
            met: lines.map(|lines| lines < SOURCE_BUDGET),
        }
    }

    /// The counts of idle clients that were measured, fewest first.
    fn memory_counts(&self) -> Vec<usize> {
        self.counts("memory ")
    }

    fn counts(&self, prefix: &str) -> Vec<usize> {
        let mut counts: Vec<usize> = self
            .samples
            .measures()
            .filter_map(|measure| measure.strip_prefix(prefix)?.parse().ok())
            .collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    fn charts(&self) -> Vec<(&'static str, String)> {
        let mut charts = vec![
            (
                "connections.svg",
                self.bars(
                    "Connections per second",
                    "4 clients at once: connect, one line each way, close. More is better. Pale: clients share a process.",
                    RATE,
                    Better::More,
                    Scale::Linear,
                ),
            ),
            (
                "first-reply.svg",
                self.bars(
                    "Connect to first reply, µs",
                    "one client, median of all connections. Less is better.",
                    "first reply p50",
                    Better::Less,
                    Scale::Linear,
                ),
            ),
            (
                "bulk.svg",
                self.bars(
                    "Bulk, MiB per second",
                    "one connection, lines of 80 bytes, there and back; logarithmic. More is better.",
                    BULK,
                    Better::More,
                    Scale::Log,
                ),
            ),
            (
                "size.svg",
                self.bars(
                    "File size, bytes",
                    "the program's own file, without libraries and helpers; logarithmic. Less is better.",
                    "file",
                    Better::Less,
                    Scale::Log,
                ),
            ),
        ];
        if let Some(&count) = self.memory_counts().last() {
            charts.insert(2, ("memory.svg", self.memory_chart(count)));
        }
        if !self.counts("growth ").is_empty() {
            charts.insert(2, ("growth.svg", self.growth_chart()));
        }
        charts
    }

    fn bars(
        &self,
        title: &str,
        subtitle: &str,
        measure: &str,
        better: Better,
        scale: Scale,
    ) -> String {
        let mut bars: Vec<Bar> = self
            .field
            .rivals
            .iter()
            .filter_map(|rival| {
                let spread = self.samples.spread(measure, &rival.name)?;
                let ratio = self
                    .samples
                    .ratio(measure, &rival.name, OURS)
                    .map(|ratio| ratio.median);
                let figure = match ratio {
                    Some(ratio) if rival.name != OURS => {
                        format!("{}  ({ratio:.2}×)", number(spread.median))
                    }
                    _ => number(spread.median),
                };
                let colour = match rival.class {
                    Class::Ours => chart::OURS,
                    Class::Outside => chart::OUTSIDE,
                    _ => chart::RIVAL,
                };
                Some(Bar {
                    name: rival.name.to_owned(),
                    spread,
                    figure,
                    colour,
                })
            })
            .collect();
        bars.sort_by(|a, b| match better {
            Better::More => b.spread.median.total_cmp(&a.spread.median),
            Better::Less => a.spread.median.total_cmp(&b.spread.median),
        });
        chart::bars(title, subtitle, scale, &bars)
    }

    fn memory_chart(&self, count: usize) -> String {
        let part = |rival: &Rival, part: &str| {
            self.samples
                .median(&format!("memory {count} {part}"), &rival.name)
        };
        let mut stacks: Vec<Stack> = self
            .field
            .rivals
            .iter()
            .filter_map(|rival| {
                let mut parts: Vec<f64> = memory::PARTS
                    .iter()
                    .map(|name| part(rival, name))
                    .collect::<Option<Vec<_>>>()?;
                let rest = part(rival, memory::ALL)? - parts.iter().sum::<f64>();
                parts.push(rest.max(0.0));
                Some(Stack {
                    name: rival.name.to_owned(),
                    parts,
                    own: rival.class == Class::Ours,
                })
            })
            .collect();
        stacks.sort_by(|a, b| a.parts.iter().sum::<f64>().total_cmp(&b.parts.iter().sum()));
        let names = [&memory::PARTS[..], &["socket data and rest"]].concat();
        let subtitle = format!(
            "{} clients, each after one line; both ends of each connection.",
            number(count as f64)
        );
        chart::stacks(
            "System memory per idle client, KiB",
            &subtitle,
            &names,
            &stacks,
        )
    }

    fn growth_chart(&self) -> String {
        let counts = self.counts("growth ");
        let mut colours = chart::LINE_COLOURS.iter().cycle();
        let series: Vec<Series> = self
            .field
            .rivals
            .iter()
            .filter(|rival| GROWTH_CHART.contains(&rival.name.as_str()))
            .filter_map(|rival| {
                let values: Vec<Option<f64>> = counts
                    .iter()
                    .map(|count| self.samples.median(&format!("growth {count}"), &rival.name))
                    .collect();
                values.iter().any(Option::is_some).then(|| Series {
                    name: rival.name.to_owned(),
                    values,
                    colour: if rival.class == Class::Ours {
                        chart::OURS
                    } else {
                        colours.next().unwrap_or(&"#888888")
                    },
                })
            })
            .collect();
        let steps: Vec<String> = counts.iter().map(|&count| number(count as f64)).collect();
        chart::lines(
            "Connections per second as clients stay",
            "one client that comes and goes, beside clients that are connected and idle. More is better.",
            "idle clients",
            &steps,
            &series,
        )
    }

    fn tables(&self) -> String {
        let mut text = String::new();
        let mut section = |title: &str, note: &str, columns: &[Column]| {
            let rows = self.rows(columns);
            if !rows.is_empty() {
                let head: Vec<&str> = [""]
                    .into_iter()
                    .chain(columns.iter().map(|column| column.title.as_str()))
                    .collect();
                let _ = write!(text, "## {title}\n\n{note}\n\n{}\n", table(&head, rows));
            }
        };
        section(
            "Connections per second",
            "Connect, one line each way, close, over and over, by so many clients at once. In brackets the quartiles, \
             then the ratio to ours.",
            &["1", "4", "16"]
                .map(|crowd| Column::ratio(format!("{crowd} at once"), format!("visits {crowd}"))),
        );
        section(
            "Latency, µs",
            "One client on the server's CPU, so that no figure holds the time to wake another. Connect to first reply, \
             and the round trip of a line on an open connection.",
            &[
                Column::ratio("first reply p50", "first reply p50"),
                Column::plain("p99", "first reply p99"),
                Column::ratio("line p50", "round trip p50"),
                Column::plain("p99", "round trip p99"),
            ],
        );
        section(
            "Bulk, MiB per second",
            "One connection, there and back, every byte compared.",
            &[
                Column::ratio("80-byte lines", "bulk lines"),
                Column::ratio("one long line", "bulk one line"),
                Column::ratio("random bytes", "bulk random"),
            ],
        );
        for count in self.memory_counts() {
            let columns: Vec<Column> = [Column::ratio("sum", format!("memory {count}"))]
                .into_iter()
                .chain(
                    memory::PARTS
                        .iter()
                        .chain([&memory::ALL])
                        .map(|part| Column::plain(*part, format!("memory {count} {part}"))),
                )
                .collect();
            section(
                &format!(
                    "System memory per idle client, KiB, with {} clients",
                    number(count as f64)
                ),
                "Growth over the number of clients, each connected and silent after one \
                 line; both ends of the connection are on this machine. Not in the sum, but in the last column: socket \
                 data, of which a 32 KiB page fragment that every process takes at its first send is the most.",
                &columns,
            );
        }
        section(
            "Work",
            "System calls are counted by strace, in all processes; what interrupts accept makes it count twice. \
             Instructions in user space are counted by single steps, over a whole connection with one line.",
            &[
                Column::plain("calls per connection", "calls per connection"),
                Column::plain("calls per line", "calls per line"),
                Column::ratio("instructions per connection", "instructions"),
            ],
        );
        section(
            "Size",
            "Bytes of the program's file, and with all other files that it and a session map (libraries, helper); \
             resident KiB and mappings of the waiting server and of what one client adds; time from before the process \
             is made to its first reply.",
            &[
                Column::ratio("file", "file"),
                Column::plain("with all it maps", "files"),
                Column::plain("server KiB", "server resident"),
                Column::plain("session KiB", "session resident"),
                Column::plain("server mappings", "server mappings"),
                Column::plain("session mappings", "session mappings"),
                Column::plain("start to first reply, µs", "start"),
            ],
        );
        let growth = self.counts("growth ");
        let columns = |suffix: &str| {
            growth
                .iter()
                .map(|&count| {
                    Column::plain(number(count as f64), format!("growth {count}{suffix}"))
                })
                .collect::<Vec<_>>()
        };
        section(
            "Growth: connections per second beside idle clients",
            "One client comes and goes while so many others are connected and silent.",
            &columns(""),
        );
        section(
            "Growth: connect to first reply, µs, beside idle clients",
            "The median of the same connections.",
            &columns(" first reply p50"),
        );
        section(
            "Growth: instructions of the parent per connection, beside idle clients",
            "The parent alone, in user space: most of it is the client table, once to find a free slot and once to \
             find the child that ended; with `-C` also to count the clients of one address.",
            &columns(" instructions"),
        );
        text
    }

    /// A row for each rival that has a figure or a failure in one of the columns.
    fn rows(&self, columns: &[Column]) -> Vec<Vec<String>> {
        let tried = |rival: &&Rival| {
            columns
                .iter()
                .any(|column| self.samples.tried(&column.measure, &rival.name))
        };
        let row = |rival: &Rival| {
            let name = if rival.class == Class::Ours {
                format!("**{}**", &rival.name)
            } else {
                rival.name.to_owned()
            };
            let cells = columns.iter().map(|column| self.cell(column, rival));
            [name].into_iter().chain(cells).collect()
        };
        self.field.rivals.iter().filter(tried).map(row).collect()
    }

    fn cell(&self, column: &Column, rival: &Rival) -> String {
        let Some(spread) = self.samples.spread(&column.measure, &rival.name) else {
            return "–".into();
        };
        let ratio = self.samples.ratio(&column.measure, &rival.name, OURS);
        match ratio {
            Some(ratio) if column.with_ratio && rival.class != Class::Ours => {
                format!("{} {:.2}×", with_spread(spread), ratio.median)
            }
            _ if column.with_ratio => with_spread(spread),
            _ => number(spread.median),
        }
    }

    fn notes(&self) -> String {
        let mut text = String::from("## Who was measured\n\n");
        text += &table(
            &["", "", "class"],
            self.field.rivals.iter().map(|rival| {
                let class = match rival.class {
                    Class::Ours => "ours",
                    Class::Variant | Class::Build => "ours, changed",
                    Class::Floor => "the floor: no error handling, no line rule, no cipher",
                    Class::Lecture => "the lecture's program, with its faults",
                    Class::Peer => "a peer: echoes bytes, no line rule, no cipher",
                    Class::Outside => "out of class: clients share a process",
                };
                vec![
                    rival.name.to_owned(),
                    rival.what.to_owned(),
                    class.to_owned(),
                ]
            }),
        );
        for (name, why) in &self.field.missing {
            let _ = writeln!(text, "\nMissing: {name}: {why}.");
        }
        let mut failures: Vec<String> = self
            .samples
            .failures()
            .map(|(measure, rival, why)| format!("- {rival}, {measure}: {why}"))
            .collect();
        failures.dedup();
        if !failures.is_empty() {
            let _ = write!(text, "\nWhat failed:\n\n{}\n", failures.join("\n"));
        }
        text
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// A column of a table over all rivals.
struct Column {
    title: String,
    measure: String,
    with_ratio: bool,
}

impl Column {
    fn plain(title: impl Into<String>, measure: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            measure: measure.into(),
            with_ratio: false,
        }
    }

    fn ratio(title: impl Into<String>, measure: impl Into<String>) -> Self {
        Self {
            with_ratio: true,
            ..Self::plain(title, measure)
        }
    }
}

fn in_class(rival: &Rival) -> bool {
    !matches!(rival.class, Class::Variant | Class::Build | Class::Outside)
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!(
        "| {} |\n|---|{}\n",
        head.join(" | "),
        "---|".repeat(head.len() - 1)
    );
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn unknown() -> String {
    "not measured".into()
}

fn times(ratio: Spread) -> String {
    format!(
        "{:.3} times [{:.3}–{:.3}]",
        ratio.median, ratio.low, ratio.high
    )
}

/// The median, and the quartiles where they differ in what is shown.
fn with_spread(spread: Spread) -> String {
    let [low, median, high] = [spread.low, spread.median, spread.high].map(number);
    if low == high {
        median
    } else {
        format!("{median} [{low}–{high}]")
    }
}

/// Three digits at least, thousands apart.
fn number(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let digits = text.find('.').unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits);
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Lines of all Rust files under a folder, without the tests at their ends.
fn source_lines(folder: &Path) -> io::Result<usize> {
    let mut lines = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            lines += source_lines(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            lines += text
                .lines()
                .take_while(|line| *line != "#[cfg(test)]")
                .count();
        }
    }
    Ok(lines)
}
