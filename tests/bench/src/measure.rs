//! A run: who is measured when, and by which load.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::field::Field;
use crate::machine::{self, Cpus};
use crate::plan::{CROWDS, ONCE, Plan, Rounds, TEXTS};
use crate::progress::Progress;
use crate::rivals::{Area, Class, Rival};
use crate::samples::{Samples, quantile};
use crate::server::Server;
use crate::trace::{self, Follow};
use crate::{client, elf, load, memory};

pub struct Bench<'a> {
    cpus: Cpus,
    plan: Plan,
    rivals: Vec<&'a Rival>,
    areas: Vec<String>,
    samples: Samples,
    stored: PathBuf,
    progress: Progress,
}

/// The measures that say which turns a run has had.
const DONE: &str = "done ";

impl<'a> Bench<'a> {
    /// Goes on from the samples that are `known`. They are kept in the file `stored`
    /// after every turn of a rival.
    pub fn new(field: &'a Field, arguments: &Arguments, known: Samples, stored: PathBuf) -> Self {
        Self {
            cpus: Cpus::choose(),
            plan: arguments.plan(),
            rivals: field.rivals.iter().collect(),
            areas: arguments.areas.clone(),
            samples: known,
            stored,
            progress: Progress::new(),
        }
    }

    pub fn measure_all(mut self) -> io::Result<Samples> {
        machine::raise_limits();
        machine::pin(self.cpus.load)?;
        // Memory first: nothing lingers yet that would be freed meanwhile.
        let measured = self
            .rivals
            .iter()
            .any(|rival| self.wanted(rival, Area::Memory));
        if measured && self.plan.thorough {
            memory::wait_for_quiet(&self.progress);
        }
        let timed = [Area::Visits, Area::Trips, Area::Bulk];
        self.rounds("memory", self.plan.memory, &[Area::Memory], Self::memory);
        self.rounds("program", ONCE, &[Area::Program], Self::program);
        self.rounds("growth", self.plan.growth, &[Area::Growth], Self::growth);
        self.rounds("time", self.plan.time, &timed, Self::time);
        self.progress.keep("all is measured");
        Ok(self.samples)
    }

    fn wanted(&self, rival: &Rival, area: Area) -> bool {
        let named = |name: &String| area.is_called(name);
        rival.takes_part(area) && (self.areas.is_empty() || self.areas.iter().any(named))
    }

    /// Runs one kind of measurement for all rivals in turn, in every second round from
    /// another place on, in the others the same way back: of any two, each comes first
    /// as often as the other. What the samples have of it already is left out.
    fn rounds(
        &mut self,
        what: &str,
        rounds: Rounds,
        areas: &[Area],
        measure: fn(&mut Self, &Rival, u32),
    ) {
        let done = format!("{DONE}{what}");
        let mut turns = self.turns(rounds, areas);
        turns.retain(|(round, rival)| !self.samples.has(&done, &rival.name, *round));
        if turns.is_empty() {
            return;
        }
        self.wait_for_quiet(what);
        let begin = Instant::now();
        for (place, &(round, rival)) in turns.iter().enumerate() {
            let left = match place {
                0 => String::new(),
                _ => {
                    let each = begin.elapsed().as_secs_f64() / place as f64;
                    format!(", {:.0} s to go", each * (turns.len() - place) as f64)
                }
            };
            let (round_shown, last) = (round + 1, rounds.focus);
            self.progress.say(&format!(
                "{what}, round {round_shown} of {last}{left}: {}",
                rival.name
            ));
            measure(self, rival, round);
            self.samples.add(&done, &rival.name, round, Ok(1.0));
            if let Err(error) = self.samples.save(&self.stored) {
                let file = self.stored.display();
                self.progress.keep(&format!("{file}: {error}"));
            }
        }
        let took = begin.elapsed().as_secs();
        self.progress.keep(&format!("{what} took {took} s"));
    }

    /// Whose turn it is, round by round.
    fn turns(&self, rounds: Rounds, areas: &[Area]) -> Vec<(u32, &'a Rival)> {
        let mut turns = Vec::new();
        for round in 0..rounds.focus {
            let mut order = self.rivals.clone();
            order.retain(|rival| {
                areas.iter().any(|&area| {
                    let due = round < rounds.all || rival.in_focus(area);
                    due && self.wanted(rival, area)
                })
            });
            if order.is_empty() {
                continue;
            }
            let first = (round / 2) as usize % order.len();
            order.rotate_left(first);
            if round % 2 == 1 {
                order.reverse();
            }
            turns.extend(order.into_iter().map(|rival| (round, rival)));
        }
        turns
    }

    /// Waits a minute at most until no other program works here, and notes what they
    /// take when the measurement begins. A quick look does not wait.
    fn wait_for_quiet(&mut self, what: &str) {
        const LIMIT: Duration = Duration::from_secs(60);
        let limit = if self.plan.thorough {
            LIMIT
        } else {
            Duration::ZERO
        };
        let begin = Instant::now();
        let mut busy = machine::busy();
        while busy > machine::QUIET && begin.elapsed() < limit {
            let percent = 100.0 * busy;
            let text =
                format!("{what}: waiting, other programs take {percent:.0} % of the machine");
            self.progress.say(&text);
            busy = machine::busy();
        }
        if busy > machine::QUIET {
            let percent = 100.0 * busy;
            let text =
                format!("warning: before {what} other programs take {percent:.0} % of the machine");
            self.progress.keep(&text);
        }
        let measure = format!("{}{what}", machine::BUSY_BEFORE);
        self.samples.add(&measure, "machine", 0, Ok(busy));
    }

    fn add(&mut self, measure: &str, rival: &Rival, round: u32, outcome: io::Result<f64>) {
        self.samples.add(
            measure,
            &rival.name,
            round,
            outcome.map_err(|error| error.to_string()),
        );
    }

    /// Starts a rival, or notes under `measure` that it does not.
    fn start(&mut self, measure: &str, rival: &Rival, round: u32) -> Option<Server> {
        match Server::start(rival, self.cpus.server) {
            Ok(server) => Some(server),
            Err(error) => {
                self.add(measure, rival, round, Err(error));
                None
            }
        }
    }

    /// Measures with one client, on the server's CPU.
    fn alone<T>(&self, measure: impl FnOnce(&Plan) -> io::Result<T>) -> io::Result<T> {
        machine::on(self.cpus.server, self.cpus.load, || measure(&self.plan))?
    }

    fn time(&mut self, rival: &Rival, round: u32) {
        let Some(server) = self.start("visits 1", rival, round) else {
            return;
        };
        let startup = server.startup().as_secs_f64() * 1e6;
        self.add("start", rival, round, Ok(startup));
        if self.wanted(rival, Area::Visits) {
            self.visits(&server, rival, round);
        }
        if self.wanted(rival, Area::Trips) {
            let trips = self.alone(|plan| load::round_trips(server.port(), plan.round_trips));
            self.add_quantiles("round trip", rival, round, trips);
        }
        if self.wanted(rival, Area::Bulk) {
            for (measure, _, text) in TEXTS {
                // Who cannot do it fails by silence, and waiting for that takes long.
                if self.samples.failure(measure, &rival.name).is_none() {
                    let speed = load::bulk(server.port(), text, self.plan.slice);
                    self.add(measure, rival, round, speed);
                }
            }
        }
    }

    fn visits(&mut self, server: &Server, rival: &Rival, round: u32) {
        for crowd in CROWDS {
            let visits = match crowd {
                1 => self.alone(|plan| load::visits(server.port(), 1, plan.slice)),
                _ => load::visits(server.port(), crowd, self.plan.slice),
            };
            let (rate, first_reply) = match visits {
                Ok(visits) => (Ok(visits.per_second), Ok(visits.first_reply)),
                Err(error) => (Err(error), Err(io::Error::other("see the rate"))),
            };
            self.add(&format!("visits {crowd}"), rival, round, rate);
            if crowd == 1 && first_reply.is_ok() {
                self.add_quantiles("first reply", rival, round, first_reply);
            }
        }
    }

    /// Adds the median and the 99th percentile, in microseconds.
    fn add_quantiles(
        &mut self,
        measure: &str,
        rival: &Rival,
        round: u32,
        took: io::Result<Vec<Duration>>,
    ) {
        match took {
            Ok(took) => {
                let mut micros: Vec<f64> =
                    took.iter().map(|time| time.as_secs_f64() * 1e6).collect();
                micros.sort_by(f64::total_cmp);
                for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
                    self.add(
                        &format!("{measure} {name}"),
                        rival,
                        round,
                        Ok(quantile(&micros, part)),
                    );
                }
            }
            Err(error) => self.add(&format!("{measure} p50"), rival, round, Err(error)),
        }
    }

    fn memory(&mut self, rival: &Rival, round: u32) {
        let Some(server) = self.start("memory", rival, round) else {
            return;
        };
        for (count, usage) in memory::per_idle_client(&server, self.plan.idle) {
            match usage {
                Ok(usage) => {
                    let sum = memory::PARTS.iter().map(|&part| usage[part]).sum();
                    self.add(&format!("memory {count}"), rival, round, Ok(sum));
                    for (part, kib) in usage {
                        self.add(&format!("memory {count} {part}"), rival, round, Ok(kib));
                    }
                }
                Err(error) => self.add(&format!("memory {count}"), rival, round, Err(error)),
            }
        }
    }

    fn program(&mut self, rival: &Rival, round: u32) {
        match elf::sections(rival.program()) {
            Ok(None) => {}
            Ok(Some(sections)) => {
                self.add("text", rival, round, Ok(sections.text));
                self.add("data", rival, round, Ok(sections.data));
                self.add("bss", rival, round, Ok(sections.bss));
            }
            Err(error) => self.add("text", rival, round, Err(error)),
        }
        if let Some(server) = self.start("file", rival, round) {
            self.footprint(&server, rival, round);
            if self.plan.thorough || rival.class != Class::Peer {
                let steps = trace::instructions(&server, self.cpus, Follow::Sessions);
                self.add("instructions", rival, round, steps);
            }
        }
        let calls =
            trace::find_strace().and_then(|strace| trace::system_calls(rival, self.cpus, &strace));
        match calls {
            Ok(calls) => {
                let (connection, line) = (calls.per_connection, calls.per_line);
                self.add("calls per connection", rival, round, Ok(connection));
                self.add("calls per line", rival, round, Ok(line));
            }
            Err(error) => self.add("calls per connection", rival, round, Err(error)),
        }
    }

    fn footprint(&mut self, server: &Server, rival: &Rival, round: u32) {
        let footprint = match memory::footprint(server, rival.program()) {
            Ok(footprint) => footprint,
            Err(error) => return self.add("file", rival, round, Err(error)),
        };
        let figures = [
            ("file", footprint.file),
            ("files", footprint.files),
            ("server resident", footprint.server_resident),
            ("session resident", footprint.session_resident),
            ("server mappings", footprint.server_mappings as u64),
            ("session mappings", footprint.session_mappings as u64),
        ];
        for (measure, figure) in figures {
            self.add(measure, rival, round, Ok(figure as f64));
        }
    }

    fn growth(&mut self, rival: &Rival, round: u32) {
        let Some(server) = self.start("growth", rival, round) else {
            return;
        };
        let mut idle = client::Idle::new(server.port());
        for &count in self.plan.company {
            if let Err(error) = idle.grow_to(count) {
                return self.add(&format!("growth {count}"), rival, round, Err(error));
            }
            let visits = self.alone(|plan| load::visits(server.port(), 1, plan.slice));
            match visits {
                Ok(visits) => {
                    self.add(
                        &format!("growth {count}"),
                        rival,
                        round,
                        Ok(visits.per_second),
                    );
                    self.add_quantiles(
                        &format!("growth {count} first reply"),
                        rival,
                        round,
                        Ok(visits.first_reply),
                    );
                }
                Err(error) => self.add(&format!("growth {count}"), rival, round, Err(error)),
            }
            // What the parent does by itself, its client table above all.
            if round == 0 && rival.is_own() {
                let steps = trace::instructions(&server, self.cpus, Follow::ParentOnly);
                self.add(&format!("growth {count} instructions"), rival, round, steps);
            }
        }
    }
}
