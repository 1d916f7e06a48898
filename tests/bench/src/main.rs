//! Measures rot13d against its rivals, all in one run on one machine, and writes
//! the report.
//!
//! Rivals run in turn, round after round, each time in another order, so that what
//! the machine does besides hits all of them alike. A ratio is taken within a round
//! and only then the median over the rounds. The server has one CPU and the load
//! the other, where there are two.
//!
//! The first edition of the server is one of the rivals, and this edition runs a
//! second time from a copy of its file: how far the copy is from the original is the
//! noise that any other difference is held against.

mod arguments;
mod board;
mod chart;
mod client;
mod elf;
mod field;
mod first;
mod load;
mod machine;
mod marked;
mod measure;
mod memory;
mod plan;
mod progress;
mod report;
mod rivals;
mod samples;
mod server;
mod source;
mod trace;

use std::path::Path;
use std::{env, fs, io, process};

use arguments::{Arguments, USAGE};
use field::Field;
use measure::Bench;
use samples::Samples;

fn main() {
    let Some(arguments) = Arguments::parse(env::args().skip(1)) else {
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
    let whole = arguments.whole();
    let (folder, stored) = match whole {
        true => (bench, root.join("target/bench/samples")),
        false => (scratch.as_path(), scratch.join("samples")),
    };
    fs::create_dir_all(folder)?;
    if whole {
        // Not only after all is measured.
        report::find_places(folder, root)?;
    }
    if arguments.board {
        return board::measure(root, folder, whole);
    }

    let field = Field::gather(root, arguments);
    for (name, why) in &field.missing {
        eprintln!("missing: {name}: {why}");
    }
    if arguments.compare && field.rival(rivals::FIRST).is_none() {
        return Err(io::Error::other("nothing to compare with"));
    }
    if arguments.render {
        let machine = fs::read_to_string(stored.with_extension("machine"))?;
        return report::write(
            folder,
            root,
            &field,
            &Samples::load(&stored)?,
            &machine,
            whole,
        );
    }
    let (machine, known) = match arguments.resume {
        true => (
            fs::read_to_string(stored.with_extension("machine"))?,
            Samples::load(&stored)?,
        ),
        false => (machine::description(), Samples::default()),
    };
    eprintln!("bench: {machine}");
    fs::write(stored.with_extension("machine"), &machine)?;
    let samples = Bench::new(&field, arguments, known, stored).measure_all()?;
    report::write(folder, root, &field, &samples, &machine, whole)
}
