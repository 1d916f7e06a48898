//! Counts that do not depend on the machine's mood: system calls, and instructions
//! in user space.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, ptr, thread};

use crate::client;
use crate::machine::{self, Cpus};
use crate::rivals::Rival;
use crate::server::{Server, children, find_program, wait_until_childless};

/// System calls per connection with one line, and per further line.
pub struct Calls {
    pub per_connection: f64,
    pub per_line: f64,
}

/// Counts with `strace -f -c`, by difference: what start and end cost cancels out.
/// An accept that a child's end interrupts and the kernel restarts counts twice,
/// and so does every call of every helper program that is run for the client.
pub fn system_calls(rival: &Rival, cpus: Cpus, strace: &Path) -> io::Result<Calls> {
    const CONNECTIONS: u64 = 20;
    const LINES: u64 = 10;
    let none = traced_calls(rival, cpus, strace, 0, 1)?;
    let single = traced_calls(rival, cpus, strace, CONNECTIONS, 1)?;
    let long = traced_calls(rival, cpus, strace, CONNECTIONS, LINES + 1)?;
    Ok(Calls {
        per_connection: (single as f64 - none as f64) / CONNECTIONS as f64,
        per_line: (long as f64 - single as f64) / (CONNECTIONS * LINES) as f64,
    })
}

fn traced_calls(
    rival: &Rival,
    cpus: Cpus,
    strace: &Path,
    connections: u64,
    lines: u64,
) -> io::Result<u64> {
    let output = std::env::temp_dir().join(format!("rot13d-bench-{}.strace", std::process::id()));
    let words: [&OsStr; 6] = [
        strace.as_ref(),
        "-f".as_ref(),
        "-c".as_ref(),
        "-Ucalls,name".as_ref(),
        "-o".as_ref(),
        output.as_ref(),
    ];
    let server = Server::start_under(&words, rival, cpus.server)?;
    wait_for_sessions(&server);
    for _ in 0..connections {
        let mut stream = client::connect(server.port())?;
        for _ in 0..lines {
            client::ask(&mut stream)?;
        }
        drop(stream);
        wait_for_sessions(&server);
    }
    // strace sums up when what it traces has ended.
    for pid in children(server.pid()) {
        // SAFETY: a child of our child, which has not been waited for.
        unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
    }
    let total = wait_for_total(&output);
    let _ = fs::remove_file(&output);
    total
}

/// The sum at the end of strace's table, once it is there.
fn wait_for_total(file: &Path) -> io::Result<u64> {
    let begin = Instant::now();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let total = text
            .lines()
            .find_map(|line| line.trim().strip_suffix("total")?.trim().parse().ok());
        match total {
            Some(total) => return Ok(total),
            None if begin.elapsed() > client::PATIENCE => {
                return Err(io::Error::other("no summary from strace"));
            }
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Waits until the server under strace has no session, so that each is counted
/// whole.
fn wait_for_sessions(server: &Server) {
    children(server.pid())
        .into_iter()
        .for_each(wait_until_childless);
}

/// Whether to follow what the server forks.
#[derive(Clone, Copy)]
pub enum Follow {
    Sessions,
    ParentOnly,
}

/// Instructions in user space per connection with one line, counted one by one.
///
/// Hardware counters are often not to be had in a virtual machine, and emulators
/// do not get along with a program without a libc that cages itself; single steps
/// work everywhere and are exact. A repeated string instruction counts each turn.
pub fn instructions(server: &Server, cpus: Cpus, follow: Follow) -> io::Result<f64> {
    /// A rival that runs a program for its client takes ten seconds this way.
    const PATIENCE: Duration = Duration::from_secs(60);
    let done = AtomicBool::new(false);
    let port = server.port();
    let steps = thread::scope(|scope| {
        let stepper = Stepper::attach(server.pid(), follow)?;
        let visitor = scope.spawn(|| {
            let result = client::connect_within(port, PATIENCE)
                .and_then(|mut stream| client::ask(&mut stream));
            done.store(true, Ordering::Release);
            result
        });
        // A step is two switches between tracer and traced: far cheaper on one CPU.
        let steps = machine::on(cpus.server, cpus.load, || {
            stepper.run(|| done.load(Ordering::Acquire))
        })?;
        stepper.detach();
        visitor.join().expect("the visitor does not panic")?;
        steps
    })?;
    Ok(steps as f64)
}

/// Single-steps a process, all its threads, and what they make.
struct Stepper {
    leader: libc::pid_t,
}

impl Stepper {
    fn attach(pid: u32, follow: Follow) -> io::Result<Self> {
        let options = match follow {
            Follow::Sessions => {
                libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE
            }
            Follow::ParentOnly => 0,
        };
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let name = task?.file_name();
            let task = name.to_string_lossy().parse().map_err(io::Error::other)?;
            let attached = request(libc::PTRACE_SEIZE, task, options as usize)
                .and_then(|()| request(libc::PTRACE_INTERRUPT, task, 0));
            // Any other thread may just have ended.
            if task == pid as libc::pid_t {
                attached?;
            }
        }
        Ok(Self {
            leader: pid as libc::pid_t,
        })
    }

    /// Lets the leader go on by itself. Its sessions have ended; other threads stay
    /// traced, and end with the server.
    fn detach(&self) {
        let _ = request(libc::PTRACE_INTERRUPT, self.leader, 0);
        self.wait_for_stop();
        // Interrupted in a system call it has one step's signal still to come, which
        // would kill it once no tracer takes it.
        if self.trap_is_pending() {
            let _ = request(libc::PTRACE_CONT, self.leader, 0);
            self.wait_for_stop();
        }
        let _ = request(libc::PTRACE_DETACH, self.leader, 0);
    }

    fn wait_for_stop(&self) {
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(self.leader, ptr::null_mut(), libc::__WALL) };
    }

    fn trap_is_pending(&self) -> bool {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.leader)).unwrap_or_default();
        let pending = status
            .lines()
            .find_map(|line| u64::from_str_radix(line.strip_prefix("SigPnd:")?.trim(), 16).ok());
        pending.is_some_and(|signals| signals & 1 << (libc::SIGTRAP - 1) != 0)
    }

    /// Steps until `done`, and then until everything rests in a system call.
    fn run(&self, done: impl Fn() -> bool) -> io::Result<u64> {
        const REST: Duration = Duration::from_millis(100);
        let mut steps = 0;
        let mut last_stop = Instant::now();
        loop {
            let mut status = 0;
            // SAFETY: `status` is live. No other child of this process ends now.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
            if pid < 0 {
                return Err(io::Error::other("the server ended under the stepper"));
            }
            if pid == 0 {
                if done() && last_stop.elapsed() > REST {
                    return Ok(steps);
                }
                thread::yield_now();
                continue;
            }
            last_stop = Instant::now();
            if !libc::WIFSTOPPED(status) {
                if pid == self.leader {
                    return Err(io::Error::other("the server ended under the stepper"));
                }
                continue;
            }
            let event = status >> 16;
            let signal = libc::WSTOPSIG(status);
            let stepped = event == 0 && signal == libc::SIGTRAP;
            steps += u64::from(stepped);
            // A signal on its way to the process goes on; a stop of the tracer's own does not.
            let deliver = if event == 0 && !stepped {
                signal as usize
            } else {
                0
            };
            // A process that was killed meanwhile refuses; its end is reported next.
            let _ = request(libc::PTRACE_SINGLESTEP, pid, deliver);
        }
    }
}

/// A ptrace request that passes a number and no address.
fn request(request: libc::c_uint, pid: libc::pid_t, data: usize) -> io::Result<()> {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: the requests used here neither read nor write this process's memory.
    match unsafe { libc::ptrace(request, pid, none, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// strace's path, or the name of its package.
pub fn find_strace() -> io::Result<PathBuf> {
    find_program("strace", &[])
        .ok_or_else(|| io::Error::other("needs strace (Debian package: strace)"))
}
