//! Measures rot13d against its rivals, all in one run on one machine, and writes
//! the report.
//!
//! Rivals run in turn, round after round, each time in another order, so that what
//! the machine does besides hits all of them alike. A ratio is taken within a round
//! and only then the median over the rounds. The server has one CPU and the load
//! the other, where there are two.

mod chart;
mod client;
mod load;
mod machine;
mod memory;
mod report;
mod rivals;
mod samples;
mod server;
mod trace;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

use load::Text;
use machine::Cpus;
use rivals::{Area, Class, Field, Rival};
use samples::{Samples, quantile};
use server::Server;
use trace::Follow;

const USAGE: &str =
    "usage: bench [--quick] [--only RIVAL,...] [--area AREA,...] [--also FILE,...] [--render]

  --quick    one short round
  --only     these rivals (and rot13d, for the ratios)
  --area     of visits, trips, bulk, memory, program, growth: only these
  --also     other builds of rot13d beside the shipped one
  --render   write the report again from the samples of the last run

A whole run writes REPORT.md and its charts here, any other under target/bench/part.";

/// How often to measure: all rivals, and those that a budget names.
#[derive(Clone, Copy)]
struct Rounds {
    all: u32,
    focus: u32,
}

/// How much of everything.
struct Plan {
    /// Whether to spend minutes on a little more: waiting until the system is quiet,
    /// stepping through peers.
    thorough: bool,
    time: Rounds,
    /// How long one time measurement lasts.
    slice: Duration,
    round_trips: usize,
    starts: u32,
    memory: Rounds,
    /// Idle clients for the memory figures.
    idle: &'static [usize],
    growth: Rounds,
    /// Idle clients beside which others come and go.
    company: &'static [usize],
}

const FULL: Plan = Plan {
    thorough: true,
    time: Rounds { all: 7, focus: 21 },
    slice: Duration::from_millis(250),
    round_trips: 5_000,
    starts: 15,
    memory: Rounds { all: 1, focus: 3 },
    idle: &[1_000, 10_000],
    growth: Rounds { all: 1, focus: 3 },
    company: &[0, 100, 1_000, 10_000],
};

const QUICK: Plan = Plan {
    thorough: false,
    time: Rounds { all: 1, focus: 3 },
    slice: Duration::from_millis(60),
    round_trips: 500,
    starts: 3,
    memory: Rounds { all: 1, focus: 1 },
    idle: &[1_000],
    growth: Rounds { all: 1, focus: 1 },
    company: &[0, 1_000],
};

/// Clients at once.
pub const CROWDS: [usize; 3] = [1, 4, 16];

/// The kinds of bulk text, by the name of their measure.
pub const TEXTS: [(&str, Text); 3] = [
    ("bulk lines", Text::Lines80),
    ("bulk one line", Text::OneLine),
    ("bulk random", Text::Random),
];

#[derive(Default)]
struct Arguments {
    quick: bool,
    render: bool,
    only: Vec<String>,
    areas: Vec<String>,
    also: Vec<String>,
}

fn arguments() -> Option<Arguments> {
    let mut parsed = Arguments::default();
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => parsed.quick = true,
            "--render" => parsed.render = true,
            "--only" => parsed.only = list(words.next()?),
            "--area" => parsed.areas = list(words.next()?),
            "--also" => parsed.also = list(words.next()?),
            _ => return None,
        }
    }
    Some(parsed)
}

fn list(text: String) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

fn main() {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        process::exit(100);
    };
    if let Err(error) = run(&arguments) {
        eprintln!("bench: {error}");
        process::exit(1);
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = bench
        .ancestors()
        .nth(2)
        .expect("tests/bench is two levels down");
    let scratch = root.join("target/bench/part");
    let (folder, stored) = match arguments.whole() {
        true => (bench, root.join("target/bench/samples")),
        false => (scratch.as_path(), scratch.join("samples")),
    };
    fs::create_dir_all(folder)?;

    let field = Field::gather(root, &arguments.also);
    for (name, why) in &field.missing {
        eprintln!("missing: {name}: {why}");
    }
    if arguments.render {
        let machine = fs::read_to_string(stored.with_extension("machine"))?;
        return report::write(folder, root, &field, &Samples::load(&stored)?, &machine);
    }
    let machine = machine::description();
    fs::write(stored.with_extension("machine"), &machine)?;
    let mut bench = Bench {
        cpus: Cpus::choose(),
        plan: if arguments.quick { QUICK } else { FULL },
        rivals: field
            .rivals
            .iter()
            .filter(|rival| arguments.wants(rival))
            .collect(),
        areas: arguments.areas.clone(),
        samples: Samples::default(),
        stored,
        begin: Instant::now(),
    };
    bench.measure_all()?;
    report::write(folder, root, &field, &bench.samples, &machine)
}

impl Arguments {
    /// Whether all is measured: only then it is the report to keep.
    fn whole(&self) -> bool {
        !self.quick && self.only.is_empty() && self.areas.is_empty() && self.also.is_empty()
    }

    fn wants(&self, rival: &Rival) -> bool {
        self.only.is_empty()
            || matches!(rival.class, Class::Ours | Class::Build)
            || self.only.contains(&rival.name)
    }
}

struct Bench<'a> {
    cpus: Cpus,
    plan: Plan,
    rivals: Vec<&'a Rival>,
    areas: Vec<String>,
    samples: Samples,
    stored: PathBuf,
    begin: Instant,
}

impl Bench<'_> {
    fn measure_all(&mut self) -> io::Result<()> {
        machine::raise_limits();
        machine::pin(self.cpus.load)?;
        // Memory first: nothing lingers yet that would be freed meanwhile.
        let measured = self
            .rivals
            .iter()
            .any(|rival| self.wanted(rival, Area::Memory));
        if measured && self.plan.thorough {
            memory::wait_for_quiet();
        }
        let once = Rounds { all: 1, focus: 1 };
        let timed = [Area::Visits, Area::Trips, Area::Bulk];
        self.rounds("memory", self.plan.memory, &[Area::Memory], Self::memory);
        self.rounds("program", once, &[Area::Program], Self::program);
        self.rounds("growth", self.plan.growth, &[Area::Growth], Self::growth);
        self.rounds("time", self.plan.time, &timed, Self::time);
        eprintln!(
            "\rbench: {} s in all{:40}",
            self.begin.elapsed().as_secs(),
            ""
        );
        Ok(())
    }

    fn wanted(&self, rival: &Rival, area: Area) -> bool {
        let named = |name: &String| format!("{area:?}").eq_ignore_ascii_case(name);
        rival.takes_part(area) && (self.areas.is_empty() || self.areas.iter().any(named))
    }

    /// Runs one kind of measurement for all rivals in turn, in every round from
    /// another place on and in the other direction.
    fn rounds(
        &mut self,
        what: &str,
        rounds: Rounds,
        areas: &[Area],
        measure: fn(&mut Self, &Rival, u32),
    ) {
        for round in 0..rounds.focus {
            let mut order = self.rivals.clone();
            order.retain(|rival| {
                let due = round < rounds.all || rival.in_focus();
                due && areas.iter().any(|&area| self.wanted(rival, area))
            });
            if order.is_empty() {
                continue;
            }
            let first = round as usize * 5 % order.len();
            order.rotate_left(first);
            if round % 2 == 1 {
                order.reverse();
            }
            for rival in order {
                let (seconds, name) = (self.begin.elapsed().as_secs(), &rival.name);
                eprint!(
                    "\r{seconds:4} s  {what}, round {} of {}: {name:30}",
                    round + 1,
                    rounds.focus
                );
                measure(self, rival, round);
            }
            if let Err(error) = self.samples.save(&self.stored) {
                eprintln!("\nbench: {}: {error}", self.stored.display());
            }
        }
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
        if self.wanted(rival, Area::Visits) {
            self.visits(&server, rival, round);
        }
        if self.wanted(rival, Area::Trips) {
            let trips = self.alone(|plan| load::round_trips(server.port(), plan.round_trips));
            self.add_quantiles("round trip", rival, round, trips);
        }
        if self.wanted(rival, Area::Bulk) {
            for (measure, text) in TEXTS {
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
        for start in 0..self.plan.starts {
            if let Some(server) = self.start("start", rival, start) {
                self.add(
                    "start",
                    rival,
                    start,
                    Ok(server.startup().as_secs_f64() * 1e6),
                );
            }
        }
        if let Some(server) = self.start("file", rival, round) {
            match memory::footprint(&server, rival.program()) {
                Ok(footprint) => {
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
                Err(error) => self.add("file", rival, round, Err(error)),
            }
            if self.plan.thorough || rival.class != Class::Peer {
                let steps = trace::instructions(&server, self.cpus, Follow::Sessions);
                self.add("instructions", rival, round, steps);
            }
        }
        let calls =
            trace::find_strace().and_then(|strace| trace::system_calls(rival, self.cpus, &strace));
        match calls {
            Ok(calls) => {
                self.add(
                    "calls per connection",
                    rival,
                    round,
                    Ok(calls.per_connection),
                );
                self.add("calls per line", rival, round, Ok(calls.per_line));
            }
            Err(error) => self.add("calls per connection", rival, round, Err(error)),
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
