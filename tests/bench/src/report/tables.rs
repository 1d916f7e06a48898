//! The tables over all rivals.

use std::fmt::Write;

use super::Report;
use super::format::{number, table, with_spread};
use crate::memory;
use crate::rivals::{Class, OURS, Rival};

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

impl Report<'_> {
    pub fn tables(&self) -> String {
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
             and the round trip of a line on an open connection. Start is from before the server's process is made to \
             its first reply, on both CPUs.",
            &[
                Column::ratio("first reply p50", "first reply p50"),
                Column::plain("p99", "first reply p99"),
                Column::ratio("line p50", "round trip p50"),
                Column::plain("p99", "round trip p99"),
                Column::ratio("start", "start"),
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
             bytes by kind, as size(1) has them (nothing for a file without section headers); resident KiB and \
             mappings of the waiting server and of what one client adds.",
            &[
                Column::ratio("file", "file"),
                Column::plain("with all it maps", "files"),
                Column::plain("text", "text"),
                Column::plain("data", "data"),
                Column::plain("bss", "bss"),
                Column::plain("server KiB", "server resident"),
                Column::plain("session KiB", "session resident"),
                Column::plain("server mappings", "server mappings"),
                Column::plain("session mappings", "session mappings"),
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
}
