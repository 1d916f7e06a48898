//! The machine under the measurements: its description, its limits, and which CPU
//! works for the server and which for the load.

use std::process::Command;
use std::time::Duration;
use std::{fs, io, thread};

/// Descriptors for this process: 10,000 clients and some.
const DESCRIPTORS: u64 = 40_000;

/// Where the two sides run. With one CPU they share it.
///
/// They also share the server's for all that is measured with one client, which
/// waits whenever the server works: on two CPUs each would sleep half the time, and
/// the waking, in a virtual machine above all, would be most of the figure and all
/// of its noise.
#[derive(Clone, Copy)]
pub struct Cpus {
    pub server: usize,
    pub load: usize,
}

impl Cpus {
    pub fn choose() -> Self {
        let count = thread::available_parallelism().map_or(1, usize::from);
        Self {
            server: 0,
            load: usize::from(count > 1),
        }
    }
}

/// Binds the calling thread, and what it starts from now on, to one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: `set` is a plain bit set, and the kernel only reads it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs something on one CPU, and goes back to another.
pub fn on<T>(cpu: usize, back: usize, work: impl FnOnce() -> T) -> io::Result<T> {
    pin(cpu)?;
    let result = work();
    pin(back)?;
    Ok(result)
}

/// Raises what a bench with 10,000 clients needs. What cannot be raised shows
/// later as a failed measurement, with its reason.
pub fn raise_limits() {
    let limit = libc::rlimit {
        rlim_cur: DESCRIPTORS,
        rlim_max: DESCRIPTORS,
    };
    // SAFETY: the kernel only reads `limit`; prctl takes no pointer here.
    unsafe {
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        // What a stopped rival leaves behind comes to this process, not to init.
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
}

/// What other programs may take of the machine without being in the figures.
pub const QUIET: f64 = 0.1;
/// The measures that say what they took, by what was measured next.
pub const BUSY_BEFORE: &str = "busy before ";

/// The share of all processors that is not idle now, while this program sleeps for a
/// second. (The load average would have this program's own work in it, for minutes.)
pub fn busy() -> f64 {
    let before = processor_time();
    thread::sleep(Duration::from_secs(1));
    let after = processor_time();
    let [idle, all] = [0, 1].map(|place| after[place].saturating_sub(before[place]) as f64);
    1.0 - idle / all.max(1.0)
}

/// Idle and all time of all processors since the start of the machine.
fn processor_time() -> [u64; 2] {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let times: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        // Guests are in the user's time already.
        .take(8)
        .map_while(|word| word.parse().ok())
        .collect();
    // Also what waits for a disk does not work.
    let idle = times.iter().skip(3).take(2).sum();
    [idle, times.iter().sum()]
}

/// The machine, how busy it is, and the date, for the head of the report.
pub fn description() -> String {
    let model =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let virtual_machine =
        field("/proc/cpuinfo", "flags").is_some_and(|flags| flags.contains("hypervisor"));
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
        .map_or_else(
            || "memory unknown".into(),
            |kib| format!("{:.1} GiB of memory", kib as f64 / 1048576.0),
        );
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "{}: {model}, {} cores{}, {memory}, {}, {}, {}, gcc {}, load average before {load}",
        output("date", &["-u", "+%Y-%m-%d"]),
        thread::available_parallelism().map_or(1, usize::from),
        if virtual_machine {
            " of a virtual machine"
        } else {
            ""
        },
        kernel(&output("uname", &["-srm"])),
        os_name(),
        output("rustc", &["--version"]),
        output("gcc", &["-dumpfullversion"]),
    )
}

/// `Linux 6.12.48 x86_64` of `Linux 6.12.48-1-cloud x86_64`: whoever built it has no
/// part in the figures.
fn kernel(uname: &str) -> String {
    let plain = |word: &str| word.split('-').next().unwrap_or_default().to_owned();
    uname.split(' ').map(plain).collect::<Vec<_>>().join(" ")
}

fn os_name() -> String {
    fs::read_to_string("/etc/os-release")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "Linux".into(), |name| name.trim_matches('"').into())
}

/// The first `name : value` line of a file under /proc.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".into(),
    }
}
