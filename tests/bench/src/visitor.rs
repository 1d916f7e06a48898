//! The bench's clients as a program of its own, for a machine that is too small to
//! hold the bench: the one that `tests/boards.sh bench` boots.
//!
//! usage: visitor PORT visits|lines|idle COUNT
//!
//! - `visits`: clients that come, ask one line and go, one at a time, for `COUNT`
//!   milliseconds. Prints how many there were in a second.
//! - `lines`: `COUNT` round trips on one connection. Prints the median, in
//!   microseconds.
//! - `idle`: `COUNT` clients, each silent after one line. Prints `ready` and waits for
//!   a line, so that this program's own memory can be told from theirs; then `served`,
//!   and keeps them until standard input ends.

#[allow(dead_code, reason = "the bench has more uses for it")]
mod client;
#[allow(dead_code, reason = "the same")]
mod load;

use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, io, thread};

/// How long a server may take to its first reply.
const DEADLINE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [port, what, count] = &words[..] else {
        return Err("usage: visitor PORT visits|lines|idle COUNT".into());
    };
    let (port, count) = (port.parse()?, count.parse()?);
    wait_for_reply(port)?;
    match what.as_str() {
        "visits" => {
            let visits = load::visits(port, 1, Duration::from_millis(count))?;
            println!("{}", visits.per_second);
        }
        "lines" => {
            let mut trips = load::round_trips(port, usize::try_from(count)?)?;
            trips.sort();
            let median = trips.get(trips.len() / 2).ok_or("no round trips")?;
            println!("{}", median.as_secs_f64() * 1e6);
        }
        "idle" => {
            let mut idle = client::Idle::new(port);
            println!("ready");
            io::stdin().read_line(&mut String::new())?;
            idle.grow_to(usize::try_from(count)?)?;
            println!("served");
            io::copy(&mut io::stdin(), &mut io::sink())?;
        }
        _ => return Err(format!("not to be measured: {what}").into()),
    }
    Ok(())
}

/// The server may just have been started.
fn wait_for_reply(port: u16) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match client::visit(port) {
            Err(error) if begin.elapsed() > DEADLINE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(10)),
            Ok(()) => return Ok(()),
        }
    }
}
