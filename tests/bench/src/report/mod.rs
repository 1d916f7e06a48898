//! The report: what to take away, this edition against the first, the budgets, the charts, the tables.

mod budgets;
mod charts;
mod edition;
pub mod format;
mod tables;
mod takeaway;

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::board;
use crate::field::Field;
use crate::machine;
use crate::marked;
use crate::rivals::Class;
use crate::samples::Samples;
use format::table;

/// Writes `REPORT.md` and its charts into `folder`, and prints what it is about. The
/// report of a whole run also gives the README its figures.
pub fn write(
    folder: &Path,
    root: &Path,
    field: &Field,
    samples: &Samples,
    machine: &str,
    whole: bool,
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
    let before = fs::read_to_string(&file).unwrap_or_default();
    let text = report.text(machine, &charts, &before);
    fs::write(&file, text)?;
    println!(
        "{}\n{}\n{}",
        report.takeaway(machine),
        report.summary(),
        file.display()
    );
    if whole {
        let readme = root.join("README.md");
        marked::replace(&readme, takeaway::COSTS, &report.costs(machine))?;
        marked::replace(&readme, takeaway::IN_SHORT, &report.in_short())?;
    }
    Ok(())
}

/// An error if a part that is to be written has no place in its file.
pub fn find_places(folder: &Path, root: &Path) -> io::Result<()> {
    let readme = root.join("README.md");
    for name in [takeaway::COSTS, takeaway::IN_SHORT, board::IN_SHORT] {
        marked::find(&readme, name)?;
    }
    marked::find(&folder.join("REPORT.md"), board::SECTION)
}

struct Report<'a> {
    field: &'a Field<'a>,
    samples: &'a Samples,
    root: &'a Path,
}

impl Report<'_> {
    /// `before` is what the report was: it keeps the part that another command wrote.
    fn text(&self, machine: &str, charts: &[(&str, String)], before: &str) -> String {
        let mut text = format!(
            "# rot13d, measured\n\n{}\n{machine}. {}\n\nWritten by `make bench`. Medians; in brackets the quartiles, if nothing \
             else is said. A ratio is taken between neighbours in the same round, then the median over the rounds. The \
             server has one CPU, the clients the other. Every answer is checked.\n\n{}\n## Charts\n\n",
            self.takeaway(machine),
            self.busy_in_words(),
            self.summary()
        );
        for (name, _) in charts {
            let _ = writeln!(text, "![{}]({name})\n", name.trim_end_matches(".svg"));
        }
        text += &self.tables();
        text += &board::kept(before);
        text += "\n";
        text += &self.notes();
        text
    }

    /// What a run is for.
    fn summary(&self) -> String {
        let parts = [self.against_first_edition(), self.budgets()];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What else the machine had to do.
    fn busy_in_words(&self) -> String {
        let of = |measure: &str| {
            let what = measure.strip_prefix(machine::BUSY_BEFORE)?.to_owned();
            Some((what, self.samples.median(measure, "machine")?))
        };
        let all: Vec<(String, f64)> = self.samples.measures().filter_map(of).collect();
        if all.is_empty() {
            return String::new();
        }
        let quiet = all.iter().all(|(_, busy)| *busy <= machine::QUIET);
        let listed: Vec<String> = all
            .iter()
            .map(|(what, busy)| format!("{:.0} % before {what}", 100.0 * busy))
            .collect();
        format!(
            "{}: other programs took {}.",
            if quiet {
                "It was quiet"
            } else {
                "**It was busy**"
            },
            listed.join(", ")
        )
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

    fn notes(&self) -> String {
        let mut text = String::from("## Who was measured\n\n");
        text += &table(
            &["", "", "class"],
            self.field.rivals.iter().map(|rival| {
                let class = match rival.class {
                    Class::Ours => "ours",
                    Class::Variant | Class::Build => "ours, changed",
                    Class::FirstEdition => "ours, as it was",
                    Class::Floor => "the bare loop: no error handling, no line rule, no cipher",
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
