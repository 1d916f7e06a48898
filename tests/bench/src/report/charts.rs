//! The charts of the report.

use super::Report;
use super::budgets::{BULK, RATE};
use super::format::{Better, number};
use crate::chart::{self, Bar, Series, Stack};
use crate::memory;
use crate::rivals::{AGAIN, Class, FIRST, FLOOR, LECTURE, OURS, PER_SOURCE, Rival};

/// Who is in the chart of growth: all would be a tangle at its bottom.
const GROWTH_CHART: [&str; 8] = [
    OURS,
    FIRST,
    PER_SOURCE,
    FLOOR,
    LECTURE,
    "socat",
    "tcpserver",
    "Rust threads",
];

impl Report<'_> {
    /// All rivals but the copy, which is there to say what noise is.
    fn charted(&self) -> impl Iterator<Item = &Rival> {
        let rivals = self.field.rivals.iter();
        rivals.filter(|rival| rival.name != AGAIN)
    }

    pub fn charts(&self) -> Vec<(&'static str, String)> {
        let mut charts = vec![
            (
                "connections.svg",
                self.bars(
                    "Connections per second",
                    "4 clients at once: connect, one line each way, close. More is better.",
                    RATE,
                    Better::More,
                ),
            ),
            (
                "first-reply.svg",
                self.bars(
                    "Connect to first reply, µs",
                    "One client, median of all connections. Less is better.",
                    "first reply p50",
                    Better::Less,
                ),
            ),
            (
                "bulk.svg",
                self.bars(
                    "Bulk, MiB per second",
                    "One connection, lines of 80 bytes, there and back. More is better.",
                    BULK,
                    Better::More,
                ),
            ),
            (
                "size.svg",
                self.bars(
                    "Size, bytes",
                    "The program and all that it and a session map: libraries, helper. Less is better.",
                    "files",
                    Better::Less,
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

    fn bars(&self, title: &str, subtitle: &str, measure: &str, better: Better) -> String {
        let mut bars: Vec<Bar> = self
            .charted()
            .filter_map(|rival| {
                let spread = self.samples.spread(measure, &rival.name)?;
                let ratio = self
                    .samples
                    .ratio(measure, &rival.name, OURS)
                    .map(|ratio| ratio.median);
                let figure = match ratio {
                    Some(ratio) if rival.name != OURS => {
                        let digits = match ratio {
                            tiny if tiny < 0.1 => 3,
                            usual if usual < 10.0 => 2,
                            _ => 0,
                        };
                        format!("{} ({ratio:.digits$}×)", number(spread.median))
                    }
                    _ => number(spread.median),
                };
                let (colour, note) = match rival.class {
                    Class::Ours => (chart::OURS, ""),
                    Class::FirstEdition => (chart::FIRST, ""),
                    Class::Outside => (chart::OUTSIDE, "one process for all"),
                    _ => (chart::RIVAL, ""),
                };
                Some(Bar {
                    name: rival.name.to_owned(),
                    spread,
                    figure,
                    note,
                    colour,
                })
            })
            .collect();
        bars.sort_by(|a, b| match better {
            Better::More => b.spread.median.total_cmp(&a.spread.median),
            Better::Less => a.spread.median.total_cmp(&b.spread.median),
        });
        chart::bars(title, subtitle, &bars)
    }

    fn memory_chart(&self, count: usize) -> String {
        let part = |rival: &Rival, part: &str| {
            self.samples
                .median(&format!("memory {count} {part}"), &rival.name)
        };
        let mut stacks: Vec<Stack> = self
            .charted()
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
        // In the order of `memory::PARTS`, and the rest.
        let names = [
            "own pages",
            "page tables",
            "kernel stack",
            "kernel objects",
            "per processor",
            "socket data",
        ];
        let subtitle = format!(
            "{} clients, each after one line; both ends of each connection. Less is better.",
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
            "One client comes and goes beside others that are connected and idle. More is better.",
            "idle clients",
            &steps,
            &series,
        )
    }
}
