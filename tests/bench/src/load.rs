//! Time: connections per second, time to the first reply, round trips, bulk.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::client;

/// What a run of connections took.
pub struct Visits {
    pub per_second: f64,
    /// From before connect to the reply, each.
    pub first_reply: Vec<Duration>,
}

/// Clients that come, ask one line and go, over and over, `clients` at once.
pub fn visits(port: u16, clients: usize, span: Duration) -> io::Result<Visits> {
    for _ in 0..20 {
        client::visit(port)?;
    }
    let start = Barrier::new(clients);
    let visitor = || {
        start.wait();
        let begin = Instant::now();
        let mut took = Vec::new();
        while begin.elapsed() < span {
            let before = Instant::now();
            let mut stream = client::connect(port)?;
            client::ask(&mut stream)?;
            took.push(before.elapsed());
        }
        Ok((took, begin.elapsed()))
    };
    let runs: Vec<io::Result<(Vec<Duration>, Duration)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(visitor)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a visitor does not panic"))
            .collect()
    });
    let mut visits = Visits {
        per_second: 0.0,
        first_reply: Vec::new(),
    };
    for run in runs {
        let (took, elapsed) = run?;
        visits.per_second += took.len() as f64 / elapsed.as_secs_f64();
        visits.first_reply.extend(took);
    }
    Ok(visits)
}

/// Round trips of one line on one open connection.
pub fn round_trips(port: u16, count: usize) -> io::Result<Vec<Duration>> {
    let mut stream = client::connect(port)?;
    stream.set_nodelay(true)?;
    for _ in 0..count / 10 {
        client::ask(&mut stream)?;
    }
    (0..count)
        .map(|_| {
            let before = Instant::now();
            client::ask(&mut stream)?;
            Ok(before.elapsed())
        })
        .collect()
}

/// What is sent in bulk, over and over.
#[derive(Clone, Copy)]
pub enum Text {
    Lines80,
    OneLine,
    Random,
}

impl Text {
    fn block(self) -> Vec<u8> {
        const SIZE: usize = 64 * 1024;
        let letters = (b'a'..=b'z').cycle();
        match self {
            Self::Lines80 => letters
                .take(79)
                .chain([b'\n'])
                .cycle()
                .take(SIZE - SIZE % 80)
                .collect(),
            Self::OneLine => letters.take(SIZE).collect(),
            // xorshift: the same bytes in every run.
            Self::Random => std::iter::successors(Some(0x9e37_79b9_7f4a_7c15_u64), |x| {
                let x = x ^ (x << 13);
                let x = x ^ (x >> 7);
                Some(x ^ (x << 17))
            })
            .flat_map(u64::to_le_bytes)
            .take(SIZE)
            .collect(),
        }
    }
}

/// MiB per second through one connection, there and back, every byte compared.
pub fn bulk(port: u16, text: Text, span: Duration) -> io::Result<f64> {
    let sent = text.block();
    let stream = client::connect_within(port, Duration::from_secs(2))?;
    let (mut writer, mut reader) = (&stream, &stream);
    let result = thread::scope(|scope| {
        scope.spawn(move || while writer.write_all(&sent).is_ok() {});
        let result = receive(&mut reader, &text.block(), span);
        let _ = stream.shutdown(Shutdown::Both);
        result
    });
    client::close_at_once(stream);
    result
}

fn receive(reader: &mut impl Read, plain: &[u8], span: Duration) -> io::Result<f64> {
    let mut buffer = vec![0; 256 * 1024];
    // One block and all its shifts, plain or rotated, whichever comes first.
    let first = read_some(reader, &mut buffer)?;
    let twice = [plain, plain].concat();
    let rotated: Vec<u8> = twice.iter().map(|&byte| rotated(byte)).collect();
    let expected = if matches(&twice, 0, &buffer[..first]) {
        twice
    } else {
        rotated
    };

    let begin = Instant::now();
    let mut total = 0;
    let mut count = first;
    loop {
        if !matches(
            &expected,
            (total % plain.len() as u64) as usize,
            &buffer[..count],
        ) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "drops or changes bytes",
            ));
        }
        total += count as u64;
        let elapsed = begin.elapsed();
        if elapsed >= span {
            return Ok((total - first as u64) as f64 / 1048576.0 / elapsed.as_secs_f64());
        }
        count = read_some(reader, &mut buffer)?;
    }
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    match reader.read(buffer) {
        Ok(0) => Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "closed in the middle",
        )),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(io::Error::new(ErrorKind::TimedOut, "nothing comes back"))
        }
        result => result,
    }
}

/// Whether `bytes` continue the endless text, given twice over, at `place`.
fn matches(twice: &[u8], place: usize, bytes: &[u8]) -> bool {
    let period = twice.len() / 2;
    let mut place = place;
    for part in bytes.chunks(period) {
        if twice[place..place + part.len()] != *part {
            return false;
        }
        place = (place + part.len()) % period;
    }
    true
}

fn rotated(byte: u8) -> u8 {
    match byte {
        b'a'..=b'm' | b'A'..=b'M' => byte + 13,
        b'n'..=b'z' | b'N'..=b'Z' => byte - 13,
        other => other,
    }
}
