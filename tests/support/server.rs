//! The server under test as a process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io, thread};

use super::orphans::{self, Watched};
use super::proc::{self, Memory, Queues};
use super::{Scratch, binary, client, eventually, found, runner, tool, trace};

/// How `start` learns that the server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// `-1`, added to the options: the port on standard output.
    Port,
    /// The line `listening on` on standard error.
    Log,
    /// Not at all; with `port()` as the test has said, or 0.
    Unknown,
}

type Adjust = Box<dyn FnOnce(&mut Command)>;

/// What to run, and how. The default is `rot13d -1 127.0.0.1 0` in a session
/// of its own, standard input empty, both outputs captured.
pub struct Builder {
    binary: PathBuf,
    wrapper: Vec<OsString>,
    emulator: Vec<OsString>,
    emulator_options: Vec<OsString>,
    options: Vec<OsString>,
    host: String,
    port: u16,
    exact: Option<Vec<OsString>>,
    ready: Ready,
    trace: Option<Scratch>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    adjust: Vec<Adjust>,
}

impl Builder {
    fn new() -> Self {
        Builder {
            binary: binary().to_owned(),
            wrapper: Vec::new(),
            emulator: runner().iter().map(OsString::from).collect(),
            emulator_options: Vec::new(),
            options: Vec::new(),
            host: "127.0.0.1".to_owned(),
            port: 0,
            exact: None,
            ready: Ready::Port,
            trace: None,
            stdin: Stdio::null(),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
            adjust: Vec::new(),
        }
    }

    /// Another copy of the server, of the same file name.
    pub fn binary(mut self, path: impl AsRef<Path>) -> Self {
        self.binary = path.as_ref().to_owned();
        self
    }

    /// Options in front of `-1 host port`.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.options.extend(args);
        self
    }

    /// These arguments and no others: no `-1`, no host, no port.
    pub fn exactly(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.exact = Some(args.collect());
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// The port to ask for, or with `exactly` the one that is known to be
    /// served.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// An emulator for a copy that is for another architecture than the others are.
    pub fn emulated_by(mut self, emulator: &str) -> Self {
        self.emulator = vec![tool(emulator).into()];
        self
    }

    /// A program and its arguments to run the server with: `unshare …`.
    pub fn under(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut words = words.into_iter().map(|word| word.as_ref().to_owned());
        let program = words.next().expect("a program");
        let program = tool(program.to_str().expect("a name in ASCII"));
        self.wrapper.push(program.into());
        self.wrapper.extend(words);
        self
    }

    /// Runs it under `strace -f` with these options; see [`Server::trace`].
    pub fn strace(mut self, options: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let scratch = Scratch::new();
        let file = scratch.path("trace");
        self.trace = Some(scratch);
        let words: Vec<OsString> = ["strace", "-f", "-qq", "-o"]
            .into_iter()
            .map(OsString::from)
            .chain([file.into()])
            .chain(options.into_iter().map(|option| option.as_ref().to_owned()))
            .chain(["--".into()])
            .collect();
        self.under(words)
    }

    /// Records its system calls; see [`Server::calls`]. Strace would see those
    /// of an emulator: that has to do it itself.
    pub fn recorded(mut self) -> Self {
        if runner().is_empty() {
            return self.strace(["-s", "100"]);
        }
        self.emulator_options.push("-strace".into());
        self.strace(["-xx", "-s", "1000", "-e", "trace=write"])
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = stdout.into();
        self
    }

    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = stderr.into();
        self
    }

    /// Anything else that `Command` offers: user, current folder, …
    pub fn adjust(mut self, adjust: impl FnOnce(&mut Command) + 'static) -> Self {
        self.adjust.push(Box::new(adjust));
        self
    }

    /// A hook between fork and exec: system calls only, no allocation.
    pub fn before_exec(self, hook: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.adjust(|command| {
            // SAFETY: the caller keeps to what is safe after a fork.
            unsafe { command.pre_exec(hook) };
        })
    }

    /// The server inherits no such descriptor (0, 1 or 2).
    pub fn closed(self, descriptor: i32) -> Self {
        // SAFETY: closes a number that nobody uses between here and exec.
        self.before_exec(move || check(unsafe { libc::close(descriptor) }))
    }

    pub fn blocked_signal(self, signal: i32) -> Self {
        // SAFETY: `set` is initialised by sigemptyset.
        self.before_exec(move || unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, signal);
            check(libc::sigprocmask(
                libc::SIG_BLOCK,
                &raw const set,
                std::ptr::null_mut(),
            ))
        })
    }

    pub fn ignored_signal(self, signal: i32) -> Self {
        self.signal_action(signal, libc::SIG_IGN)
    }

    pub fn default_signal(self, signal: i32) -> Self {
        self.signal_action(signal, libc::SIG_DFL)
    }

    fn signal_action(self, signal: i32, action: libc::sighandler_t) -> Self {
        self.before_exec(move || {
            // SAFETY: no handler is installed, only SIG_IGN or SIG_DFL.
            let old = unsafe { libc::signal(signal, action) };
            check(if old == libc::SIG_ERR { -1 } else { 0 })
        })
    }

    /// Soft and hard limit alike: `libc::RLIMIT_NOFILE`, …
    pub fn limit(self, resource: libc::__rlimit_resource_t, value: u64) -> Self {
        self.before_exec(move || {
            let limit = libc::rlimit {
                rlim_cur: value,
                rlim_max: value,
            };
            // SAFETY: `limit` is valid.
            check(unsafe { libc::setrlimit(resource, &raw const limit) })
        })
    }

    fn spawn(&mut self) -> (Child, String) {
        let arguments = self.exact.clone().unwrap_or_else(|| {
            let mut all = self.options.clone();
            if self.ready == Ready::Port {
                all.push("-1".into());
            }
            all.push(self.host.clone().into());
            all.push(self.port.to_string().into());
            all
        });
        let mut words = self.wrapper.clone();
        words.extend(self.emulator.clone());
        words.append(&mut self.emulator_options);
        words.push(self.binary.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(arguments);
        let null = Stdio::null;
        command.stdin(std::mem::replace(&mut self.stdin, null()));
        command.stdout(std::mem::replace(&mut self.stdout, null()));
        command.stderr(std::mem::replace(&mut self.stderr, null()));
        // A session of its own: whatever the server starts can be found and
        // ended even when its parent is gone.
        orphans::lead(&mut command);
        // And no descriptor that happens to be open here.
        // SAFETY: a plain system call; std's own descriptors are so marked anyway.
        unsafe {
            command.pre_exec(|| {
                let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
                check(libc::close_range(3, libc::c_uint::MAX, flags))
            })
        };
        for adjust in self.adjust.drain(..) {
            adjust(&mut command);
        }
        let words = format!("{command:?}");
        let process = command.spawn();
        (process.unwrap_or_else(|e| panic!("{words}: {e}")), words)
    }

    /// Starts the server and waits until it listens.
    #[track_caller]
    pub fn start(mut self) -> Server {
        let (mut process, command) = self.spawn();
        let watched = Watched::session(process.id() as i32);
        let mut server = Server {
            pid: process.id() as i32,
            leader: process.id() as i32,
            port: self.port,
            host: self.host.clone(),
            stdout: Lines::of(process.stdout.take()),
            stderr: Lines::of(process.stderr.take()),
            process,
            trace: self.trace.take(),
            command,
            is_alone: false,
            _watched: watched,
        };
        let listening = |server: &Server| match self.ready {
            Ready::Port => server.stdout.all().first()?.parse().ok(),
            Ready::Log => {
                let line = server.stderr.containing("listening on ")?;
                line.rsplit_once(':')?.1.parse().ok()
            }
            Ready::Unknown => Some(self.port),
        };
        let what = format!("readiness ({:?})", self.ready);
        eventually(&what, || {
            let ended = server.exit_status();
            // What it has said may still be on its way.
            let is_all = server.stdout.ended() && server.stderr.ended();
            if let Some(port) = listening(&server) {
                server.port = port;
                return true;
            }
            if let Some(status) = ended.filter(|_| is_all) {
                panic!("the server ended at start: {status}");
            }
            false
        });
        if !self.wrapper.is_empty() {
            server.pid = found("the server behind its wrapper", || {
                let gone = server.exit_status().is_some();
                let pid = proc::session(server.leader)
                    .into_iter()
                    .filter(|&pid| self.is_server(pid))
                    .min();
                pid.or(gone.then_some(server.leader))
            });
        }
        server
    }

    fn is_server(&self, pid: i32) -> bool {
        let file = self
            .emulator
            .first()
            .map_or(self.binary.as_path(), Path::new);
        let name = file.file_name().unwrap().to_string_lossy();
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
            let exe = exe.file_name().unwrap_or_default().to_string_lossy();
            // A file replaced by a newer build is shown as deleted.
            exe.trim_end_matches(" (deleted)") == name
        })
    }

    /// Runs it to its end, as for `-h` or wrong usage.
    #[track_caller]
    pub fn run(self) -> Finished {
        assert!(self.exact.is_some(), "say what to run exactly");
        let mut server = self.ready(Ready::Unknown).start();
        let finished = Finished {
            status: server.wait_exit(),
            stdout: server.stdout.to_end(),
            stderr: server.stderr.to_end(),
        };
        server.is_alone = true;
        finished
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A running server. Dropped, it and everything it started are killed.
pub struct Server {
    process: Child,
    leader: i32,
    pid: i32,
    host: String,
    port: u16,
    stdout: Lines,
    stderr: Lines,
    trace: Option<Scratch>,
    command: String,
    /// It has ended and left nobody behind: both its outputs are closed.
    is_alone: bool,
    _watched: Watched,
}

impl Server {
    #[allow(
        clippy::new_ret_no_self,
        reason = "reads as a sentence: Server::new().start()"
    )]
    pub fn new() -> Builder {
        Builder::new()
    }

    /// `rot13d -1 127.0.0.1 0`.
    #[track_caller]
    pub fn start() -> Server {
        Builder::new().start()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server itself, not strace or another wrapper around it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it was started by us, and not by a wrapper that lives on.
    pub fn leader_is_it(&self) -> bool {
        self.pid == self.leader
    }

    /// Where a client reaches it: the loopback address of the kind it serves.
    pub fn address(&self) -> SocketAddr {
        let ip = match self.host.parse() {
            Ok(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            Ok(IpAddr::V6(ip)) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            Ok(ip) => ip,
            Err(_) => Ipv4Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, self.port)
    }

    /// A client, with time-outs so that no test hangs.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        self.try_connect().expect("connect")
    }

    pub fn try_connect(&self) -> io::Result<TcpStream> {
        client::connect(self.address(), None, None)
    }

    /// A client at another address, such as 127.0.0.2.
    #[track_caller]
    pub fn connect_from(&self, source: &str) -> TcpStream {
        let source = source.parse().expect("an address");
        client::connect(self.address(), Some(source), None).expect("connect")
    }

    /// A client whose receive buffer is `window` bytes (the kernel rounds up);
    /// see [`Dialogue::open_window`](super::Dialogue::open_window).
    #[track_caller]
    pub fn connect_with_window(&self, window: i32) -> TcpStream {
        client::connect(self.address(), None, Some(window)).expect("connect")
    }

    /// Its clients' processes, zombies among them.
    pub fn children(&self) -> Vec<i32> {
        proc::children(self.pid)
    }

    pub fn zombies(&self) -> Vec<i32> {
        proc::zombies(self.pid)
    }

    /// The process of the one client there is; waits for it.
    #[track_caller]
    pub fn only_child(&self) -> i32 {
        found("one child", || match self.children()[..] {
            [pid] => Some(pid),
            _ => None,
        })
    }

    /// Waits until the last client's process is gone and reaped.
    #[track_caller]
    pub fn wait_childless(&self) {
        eventually("no child is left", || self.children().is_empty());
    }

    /// Open descriptors and what each refers to.
    pub fn descriptors(&self) -> BTreeMap<i32, String> {
        proc::descriptors(self.pid)
    }

    #[track_caller]
    pub fn memory(&self) -> Memory {
        proc::memory(self.pid).expect("the server lives")
    }

    #[track_caller]
    pub fn cpu(&self) -> Duration {
        proc::stat(self.pid).expect("the server lives").cpu
    }

    /// A line of its `/proc/PID/status`.
    #[track_caller]
    pub fn status(&self, field: &str) -> String {
        proc::status(self.pid, field).unwrap_or_else(|| panic!("{field} in status"))
    }

    /// Waits until the server sleeps in accept.
    #[track_caller]
    pub fn wait_accepting(&self) {
        eventually("the server waits in accept", || {
            proc::blocked_in_accept(self.pid)
        });
    }

    /// Waits until all that `client` has said is read, the child `pid` waits
    /// for more, and nothing is on its way back: what has not been echoed by
    /// now is being kept.
    #[track_caller]
    pub fn wait_taken(&self, client: &TcpStream, pid: i32) {
        eventually("the child has taken everything and reads again", || {
            // In this order: arrived, read, dealt with, all answers arrived.
            Queues::of_process(pid).is_some()
                && Queues::of(client).is_some_and(|here| here.sent == 0)
                && Queues::of_process(pid).is_some_and(|there| there.received == 0)
                && proc::blocked_in_read(pid)
                && Queues::of_process(pid).is_some_and(|there| there.sent == 0)
        });
    }

    #[track_caller]
    pub fn signal(&self, signal: i32) {
        signal_process(self.pid, signal);
    }

    /// How it ended; waits for that.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        found("the server ends", || self.exit_status())
    }

    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended. It is left a zombie until drop: its number would else be
    /// free for another test's server, which drop would then kill.
    fn exit_status(&self) -> Option<ExitStatus> {
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let leader = self.leader as libc::id_t;
        // SAFETY: `info` is valid, and all zeros as long as nothing has ended.
        let (pid, code, status) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            check(libc::waitid(libc::P_PID, leader, &raw mut info, flags)).expect("waitid");
            (info.si_pid(), info.si_code, info.si_status())
        };
        (pid != 0).then(|| {
            let killed = code != libc::CLD_EXITED;
            ExitStatus::from_raw(if killed { status } else { status << 8 })
        })
    }

    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// Standard error so far, by lines.
    pub fn log(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// The first line on standard error that contains `text`; waits for it.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        let what = format!("{text:?} on standard error");
        found(&what, || self.stderr.containing(text))
    }

    /// What strace has written so far, by lines.
    #[track_caller]
    pub fn trace(&self) -> Vec<String> {
        let scratch = self.trace.as_ref().expect("started with strace()");
        let text = fs::read(scratch.path("trace")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().map(str::to_owned).collect()
    }

    /// The system calls and signals of each process so far, if `recorded`.
    #[track_caller]
    pub fn calls(&self) -> BTreeMap<i32, Vec<String>> {
        if runner().is_empty() {
            trace::by_process(&self.trace())
        } else {
            trace::by_process_in_emulator(&self.trace())
        }
    }
}

#[track_caller]
pub fn signal_process(pid: i32, signal: i32) {
    // SAFETY: kill has no preconditions.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "kill {pid}: {}", io::Error::last_os_error());
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            for pid in proc::session(self.leader) {
                eprintln!("{}", proc::description(pid));
            }
        }
        // Again and again: it may be forking at this moment.
        while !self.is_alone {
            let left = proc::session(self.leader);
            self.is_alone = left.is_empty();
            for pid in left {
                // SAFETY: kill has no preconditions.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("{} said: {:#?}", self.command, self.log());
        }
    }
}

/// One output of the server, collected as it comes.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    ended: bool,
}

impl Lines {
    pub fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let lines = Lines::default();
        let Some(mut pipe) = pipe else {
            lines.0.lock().unwrap().ended = true;
            return lines;
        };
        let collected = Arc::clone(&lines.0);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let count = pipe.read(&mut chunk).unwrap_or(0);
                let mut collected = collected.lock().unwrap();
                collected.bytes.extend(&chunk[..count]);
                if count == 0 {
                    collected.ended = true;
                    return;
                }
            }
        });
        lines
    }

    /// Everything so far, as it is; but under an emulator without the message
    /// that there is no seccomp, which no emulator has.
    pub fn text(&self) -> String {
        const UNCAGED: &str = "rot13d: no seccomp: clients are not caged\n";
        let text = String::from_utf8_lossy(&self.0.lock().unwrap().bytes).into_owned();
        if runner().is_empty() {
            text
        } else {
            text.replacen(UNCAGED, "", 1)
        }
    }

    /// The complete lines so far, without their newlines.
    pub fn all(&self) -> Vec<String> {
        let text = self.text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(str::to_owned).collect()
    }

    pub fn containing(&self, text: &str) -> Option<String> {
        self.all().into_iter().find(|line| line.contains(text))
    }

    /// Everybody has closed the other end of this pipe.
    pub fn ended(&self) -> bool {
        self.0.lock().unwrap().ended
    }

    /// Everything up to the end; waits for that.
    #[track_caller]
    pub fn to_end(&self) -> String {
        eventually("the end of an output", || self.ended());
        self.text()
    }
}
