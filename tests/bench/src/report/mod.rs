//! The report: this edition against the first, the budgets, the charts, the tables.

mod budgets;
mod charts;
mod edition;
mod format;
mod tables;

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::field::Field;
use crate::rivals::Class;
use crate::samples::Samples;
use format::table;

/// Writes `REPORT.md` and its charts into `folder`, and prints what it is about.
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
    println!("{}\n{}", report.summary(), file.display());
    Ok(())
}

struct Report<'a> {
    field: &'a Field<'a>,
    samples: &'a Samples,
    root: &'a Path,
}

impl Report<'_> {
    fn text(&self, machine: &str, charts: &[(&str, String)]) -> String {
        let mut text = format!(
            "# rot13d, measured\n\n{machine}.\n\nWritten by `make bench`. Medians; in brackets the quartiles, if nothing \
             else is said. A ratio is taken between neighbours in the same round, then the median over the rounds. The \
             server has one CPU, the clients the other. Every answer is checked.\n\n{}\n## Charts\n\n",
            self.summary()
        );
        for (name, _) in charts {
            let _ = writeln!(text, "![{}]({name})\n", name.trim_end_matches(".svg"));
        }
        text += &self.tables();
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
