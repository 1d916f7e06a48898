//! Space: system memory per idle client, and the size of the program at work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use crate::client::Idle;
use crate::progress::Progress;
use crate::server::{Server, family, wait_until_childless};

/// The parts of system memory that grow with the clients. `MemAvailable` alone
/// drifts with whatever else the machine does, and its estimate of what could be
/// reclaimed is no cost of a client; the parts are:
///
/// - `anonymous`: pages that the server and its sessions have written to, also those
///   copied by fork; a page that several share counts once (`Pss_Anon`). The sum in
///   /proc/meminfo would have those of all other programs in it;
/// - `PageTables`: four levels at least for each address space;
/// - `KernelStack`: 16 KiB on x86_64 for each process or thread;
/// - `Slab`: the kernel's objects: task, address space, mappings, descriptors,
///   sockets. Both ends of a connection are on this machine, so both are in it;
/// - `Percpu`: counters of each address space, one per CPU.
///
/// Not in any of them are the pages that hold socket data: a process that has sent
/// keeps a page fragment of up to 32 KiB. [`ALL`] has it.
pub const PARTS: [&str; 5] = [ANONYMOUS, "PageTables", "KernelStack", "Slab", "Percpu"];
const ANONYMOUS: &str = "anonymous";

/// All memory in use, without the page cache and without what other programs have
/// written: the parts, and everything else that a client makes the kernel hold.
pub const ALL: &str = "in use";

type Usage = BTreeMap<String, f64>;

/// What is in use now, in KiB.
fn usage(server: &Server) -> io::Result<Usage> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let mut usage: Usage = text
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((
                name.to_owned(),
                value.trim().trim_end_matches(" kB").parse().ok()?,
            ))
        })
        .collect();
    let free = usage["MemFree"] + free_in_cpu_lists()?;
    let kernel = usage["MemTotal"] - free - usage["Buffers"] - usage["Cached"] - usage["AnonPages"];
    let sessions = family(server.pid());
    let anonymous = sessions
        .iter()
        .map(|&pid| rolled_up(pid, "Pss_Anon:"))
        .sum::<io::Result<u64>>()? as f64;
    usage.insert(ANONYMOUS.to_owned(), anonymous);
    usage.insert(ALL.to_owned(), kernel + anonymous);
    Ok(usage)
}

/// KiB that are free but not in `MemFree`: each CPU keeps freed pages at hand, up to
/// hundreds of megabytes after ten thousand processes have ended.
fn free_in_cpu_lists() -> io::Result<f64> {
    let page = 4.0;
    let text = fs::read_to_string("/proc/zoneinfo")?;
    let counts = text.lines().filter_map(|line| {
        line.trim()
            .strip_prefix("count:")?
            .trim()
            .parse::<f64>()
            .ok()
    });
    Ok(counts.sum::<f64>() * page)
}

/// Freed memory comes back late: objects wait for a grace period, connections for
/// their last packets.
fn settle() {
    thread::sleep(Duration::from_millis(300));
}

/// Waits until few connections of earlier runs are left in TIME_WAIT: those that
/// expire during a measurement would be counted against the clients.
pub fn wait_for_quiet(progress: &Progress) {
    const LIMIT: Duration = Duration::from_secs(70);
    let begin = Instant::now();
    while time_wait() > 500 && begin.elapsed() < LIMIT {
        let waiting = time_wait();
        progress.say(&format!(
            "waiting for {waiting} closed connections to expire"
        ));
        thread::sleep(Duration::from_secs(1));
    }
}

fn time_wait() -> u32 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair[0] == "tw")
        .and_then(|pair| pair[1].parse().ok())
        .unwrap_or(0)
}

/// KiB per client by part, for each of the counts. The second of a pair of counts
/// goes on from the first, with the same server.
pub fn per_idle_client(server: &Server, counts: &[usize]) -> Vec<(usize, io::Result<Usage>)> {
    let mut clients = Idle::new(server.port());
    settle();
    let before = usage(server);
    let mut measure = |count| -> io::Result<Usage> {
        clients.grow_to(count)?;
        settle();
        let (before, after) = (
            before
                .as_ref()
                .map_err(|error| io::Error::other(error.to_string()))?,
            usage(server)?,
        );
        let each = |part: &str| (part.to_owned(), (after[part] - before[part]) / count as f64);
        Ok(PARTS.into_iter().chain([ALL]).map(each).collect())
    };
    counts
        .iter()
        .map(|&count| (count, measure(count)))
        .collect()
}

/// What a program occupies at work.
pub struct Footprint {
    /// Its own file, bytes.
    pub file: u64,
    /// All files that it and one session have mapped, bytes: with the libraries,
    /// the dynamic linker, and the helper program that serves the client.
    pub files: u64,
    /// Resident KiB of the process that was started, and of all those that one
    /// client adds.
    pub server_resident: u64,
    pub session_resident: u64,
    /// Mappings of the same.
    pub server_mappings: usize,
    pub session_mappings: usize,
}

/// Looks at a server that has one idle client.
pub fn footprint(server: &Server, program: &Path) -> io::Result<Footprint> {
    wait_until_childless(server.pid());
    let mut clients = Idle::new(server.port());
    clients.grow_to(1)?;
    let family = family(server.pid());
    let mut mapped = BTreeSet::new();
    for &pid in &family {
        mapped.extend(mapped_files(pid)?);
    }
    let resident = |pids: &[u32]| {
        pids.iter()
            .map(|&pid| rolled_up(pid, "Rss:"))
            .sum::<io::Result<u64>>()
    };
    let mappings = |pids: &[u32]| {
        pids.iter()
            .map(|&pid| Ok(maps(pid)?.lines().count()))
            .sum::<io::Result<usize>>()
    };
    Ok(Footprint {
        file: fs::metadata(program)?.len(),
        files: mapped
            .iter()
            .filter_map(|file| fs::metadata(file).ok())
            .map(|file| file.len())
            .sum(),
        server_resident: resident(&family[..1])?,
        session_resident: resident(&family[1..])?,
        server_mappings: mappings(&family[..1])?,
        session_mappings: mappings(&family[1..])?,
    })
}

fn maps(pid: u32) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/maps"))
}

fn mapped_files(pid: u32) -> io::Result<Vec<String>> {
    let path = |line: &str| line.find('/').map(|start| line[start..].to_owned());
    Ok(maps(pid)?.lines().filter_map(path).collect())
}

/// One figure over all mappings of a process, KiB.
fn rolled_up(pid: u32, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} in smaps_rollup")))
}
