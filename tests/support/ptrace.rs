//! A debugger's hold on a process, x86_64 only: it makes the process carry out
//! any system call, sees its registers, and may lie about results.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem, ptr};

use super::{Builder, Server, found};

pub use libc::user_regs_struct as Registers;

/// How a traced process has come to a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Signal(i32),
    /// At the start or the end of a system call.
    Call,
    /// It has forked.
    Forked(i32),
    Exited(i32),
    Killed(i32),
}

/// A process held by this thread; let go of on drop.
pub struct Traced {
    pid: i32,
    gone: bool,
}

impl Traced {
    /// Takes hold of `pid` and stops it, also in the middle of a system call.
    #[track_caller]
    pub fn attach(pid: i32) -> Self {
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEFORK;
        request(libc::PTRACE_SEIZE, pid, 0, options as usize).expect("ptrace: seize");
        request(libc::PTRACE_INTERRUPT, pid, 0, 0).expect("ptrace: interrupt");
        let mut traced = Traced { pid, gone: false };
        traced.wait();
        traced
    }

    /// A process that was forked by a traced one, and is traced itself.
    #[track_caller]
    pub fn forked(pid: i32) -> Self {
        let mut traced = Traced { pid, gone: false };
        traced.wait();
        traced
    }

    /// Starts a server and holds it before its first instruction.
    #[track_caller]
    pub fn start(server: Builder) -> (Server, Self) {
        let server = server.before_exec(|| {
            // SAFETY: a request without pointers.
            match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
        let server = server.start();
        let traced = Self::forked(server.pid());
        (server, traced)
    }

    /// Lets it run on to the next stop.
    #[track_caller]
    pub fn go_on(&mut self, request_code: libc::c_uint, signal: i32) -> Stop {
        request(request_code, self.pid, 0, signal as usize).expect("ptrace: go on");
        self.wait()
    }

    /// Lets it run on; see [`Self::wait`].
    #[track_caller]
    pub fn run(&self, signal: i32) {
        request(libc::PTRACE_CONT, self.pid, 0, signal as usize).expect("ptrace: run");
    }

    /// Its next stop.
    #[track_caller]
    pub fn wait(&mut self) -> Stop {
        let pid = self.pid;
        let stopped = || {
            let mut status = 0;
            // SAFETY: `status` is an int.
            let result =
                unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
            assert!(result >= 0, "waitpid: {}", io::Error::last_os_error());
            (result == pid).then_some(status)
        };
        // A single step is over sooner than a sleep.
        let at_once = (0..200).find_map(|_| {
            thread::yield_now();
            stopped()
        });
        let status = at_once.unwrap_or_else(|| found("the traced process stops", stopped));
        self.gone = !libc::WIFSTOPPED(status);
        if libc::WIFEXITED(status) {
            Stop::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Stop::Killed(libc::WTERMSIG(status))
        } else if status >> 8 == libc::SIGTRAP | (libc::PTRACE_EVENT_FORK << 8) {
            let mut child = 0usize;
            let place = &raw mut child;
            request(libc::PTRACE_GETEVENTMSG, pid, 0, place as usize).expect("ptrace: event");
            Stop::Forked(child as i32)
        } else {
            match libc::WSTOPSIG(status) {
                signal if signal == libc::SIGTRAP | 0x80 => Stop::Call,
                signal => Stop::Signal(signal),
            }
        }
    }

    #[track_caller]
    pub fn registers(&self) -> Registers {
        // SAFETY: all zeros is a valid set of integers, large enough for it.
        unsafe {
            let mut registers: Registers = mem::zeroed();
            let place = &raw mut registers;
            request(libc::PTRACE_GETREGS, self.pid, 0, place as usize).expect("ptrace: registers");
            registers
        }
    }

    #[track_caller]
    pub fn set_registers(&self, registers: &Registers) {
        let place = &raw const *registers;
        request(libc::PTRACE_SETREGS, self.pid, 0, place as usize).expect("ptrace: set registers");
    }

    /// Every register there is, as bytes: general ones, floating point, vectors.
    #[track_caller]
    pub fn all_registers(&self) -> Vec<u8> {
        const NT_PRSTATUS: usize = 1;
        const NT_X86_XSTATE: usize = 0x202;
        let mut all = Vec::new();
        for set in [NT_PRSTATUS, NT_X86_XSTATE] {
            let mut bytes = vec![0u8; 1 << 14];
            let mut place = libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            };
            request(
                libc::PTRACE_GETREGSET,
                self.pid,
                set,
                &raw mut place as usize,
            )
            .expect("ptrace: register set");
            all.extend(&bytes[..place.iov_len]);
        }
        all
    }

    /// Its first seccomp filter, as it was installed.
    #[track_caller]
    pub fn filter(&self) -> Vec<libc::sock_filter> {
        const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
        let no_instruction = libc::sock_filter {
            code: 0,
            jt: 0,
            jf: 0,
            k: 0,
        };
        // As many as a filter can have: BPF_MAXINSNS.
        let mut filter = vec![no_instruction; 4096];
        let index = ptr::null_mut::<libc::c_void>();
        let place = filter.as_mut_ptr();
        // SAFETY: there is room for every filter.
        let count = unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, self.pid, index, place) };
        let error = io::Error::last_os_error();
        assert!(
            count > 0,
            "ptrace: filter: {error} (CONFIG_CHECKPOINT_RESTORE, root)"
        );
        filter.truncate(count as usize);
        filter
    }

    /// A word of its stack, so many from the top.
    #[track_caller]
    pub fn stack_word(&self, at: u64) -> u64 {
        let bytes = self.peek(self.registers().rsp + 8 * at, 8);
        u64::from_ne_bytes(bytes.expect("its stack").try_into().expect("eight bytes"))
    }

    /// Writes into its memory, whether it may write there itself or not.
    #[track_caller]
    pub fn poke(&self, address: u64, bytes: &[u8]) {
        let file = File::options()
            .write(true)
            .open(format!("/proc/{}/mem", self.pid));
        file.and_then(|file| file.write_all_at(bytes, address))
            .expect("its memory");
    }

    #[track_caller]
    pub fn peek(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let file = File::open(format!("/proc/{}/mem", self.pid))?;
        file.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    }

    /// Makes it carry out `instruction` (two bytes) with these registers in
    /// place of the call that it is asleep in.
    #[track_caller]
    pub fn execute(&mut self, instruction: [u8; 2], registers: Registers) -> Result<i64, Stop> {
        // Where its own call began: the instruction is put in its place.
        let at = registers.rip - 2;
        self.poke(at, &instruction);
        // No call to restart after this stop.
        self.set_registers(&Registers {
            rip: at,
            orig_rax: u64::MAX,
            ..registers
        });
        match self.go_on(libc::PTRACE_SINGLESTEP, 0) {
            Stop::Signal(libc::SIGTRAP) => Ok(self.registers().rax as i64),
            Stop::Forked(child) => {
                drop(Traced::forked(child));
                Ok(i64::from(child))
            }
            end => Err(end),
        }
    }

    /// Makes it call system call `number`; the arguments that are not given are 0.
    #[track_caller]
    pub fn call(&mut self, number: i64, arguments: &[u64]) -> Result<i64, Stop> {
        let argument = |n: usize| arguments.get(n).copied().unwrap_or(0);
        let registers = Registers {
            rax: number as u64,
            rdi: argument(0),
            rsi: argument(1),
            rdx: argument(2),
            r10: argument(3),
            r8: argument(4),
            r9: argument(5),
            ..self.registers()
        };
        self.execute([0x0f, 0x05], registers)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if !self.gone {
            let _ = request(libc::PTRACE_DETACH, self.pid, 0, 0);
        }
    }
}

fn request(code: libc::c_uint, pid: i32, address: usize, data: usize) -> io::Result<()> {
    let address = ptr::without_provenance_mut::<libc::c_void>(address);
    let data = ptr::without_provenance_mut::<libc::c_void>(data);
    // SAFETY: where the kernel stores something, the caller has passed the
    // address of a place large enough for it.
    match unsafe { libc::ptrace(code, pid, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes system calls of a process and of its children seem to fail: each is
/// carried out, then its result is replaced. (strace does not carry out the
/// call, which for close(2) means a descriptor that stays open.)
pub struct Lie {
    stop: Arc<AtomicBool>,
    told: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Lie {
    /// From now on, call `number` of each process returns `error` where
    /// `applies` says so of its how-manieth call it is.
    #[track_caller]
    pub fn start(pid: i32, number: i64, error: i32, applies: fn(u32) -> bool) -> Self {
        let (stop, told) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let held = Arc::new(AtomicBool::new(false));
        let (its_stop, its_told, its_held) = (stop.clone(), told.clone(), held.clone());
        let thread = thread::spawn(move || {
            let traced = mem::ManuallyDrop::new(Traced::attach(pid));
            let _ = request(libc::PTRACE_SYSCALL, traced.pid, 0, 0);
            its_held.store(true, Relaxed);
            // When this thread ends, the kernel lets go of all of them.
            let lie = Told {
                server: pid,
                number,
                error,
                applies,
            };
            lie.tell(&its_stop, &its_told);
        });
        super::eventually("the debugger has taken hold", || held.load(Relaxed));
        Lie {
            stop,
            told,
            thread: Some(thread),
        }
    }

    /// How often it has told the lie.
    pub fn told(&self) -> u32 {
        self.told.load(Relaxed)
    }
}

impl Drop for Lie {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Told {
    server: i32,
    number: i64,
    error: i32,
    applies: fn(u32) -> bool,
}

impl Told {
    /// Follows what this thread traces until `stop`.
    fn tell(&self, stop: &AtomicBool, told: &AtomicU32) {
        // Of each process: whether it is in a call, and how many of these it made.
        let mut calls: BTreeMap<i32, (bool, u32)> = BTreeMap::new();
        while !stop.load(Relaxed) {
            match next_traced(self.server) {
                Next::Nothing => thread::sleep(Duration::from_micros(200)),
                Next::ServerEnded => return,
                Next::Event(pid, status) if libc::WIFSTOPPED(status) => {
                    let mut signal = libc::WSTOPSIG(status);
                    if signal == libc::SIGTRAP | 0x80 {
                        signal = 0;
                        let (in_call, count) = calls.entry(pid).or_default();
                        *in_call = !*in_call;
                        if !*in_call && self.applies_to(pid, count) {
                            told.fetch_add(1, Relaxed);
                        }
                    } else if status >> 16 != 0 {
                        // A fork, or the first stop of a new process: no signal.
                        signal = 0;
                    }
                    let _ = request(libc::PTRACE_SYSCALL, pid, 0, signal as usize);
                }
                Next::Event(..) => {}
            }
        }
    }

    /// At the end of a call: replaces its result if it is the one.
    fn applies_to(&self, pid: i32, count: &mut u32) -> bool {
        let process = mem::ManuallyDrop::new(Traced { pid, gone: false });
        let mut registers = process.registers();
        if registers.orig_rax as i64 != self.number {
            return false;
        }
        *count += 1;
        if (self.applies)(*count) {
            registers.rax = -i64::from(self.error) as u64;
            process.set_registers(&registers);
        }
        (self.applies)(*count)
    }
}

enum Next {
    Nothing,
    ServerEnded,
    /// A process and what waitpid(2) says of it.
    Event(i32, i32),
}

/// The next event of what this thread traces. The end of the server itself is
/// left to whoever waits for it.
fn next_traced(server: i32) -> Next {
    let options = libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG;
    // SAFETY: both calls store into places of the right type.
    unsafe {
        let mut event: libc::siginfo_t = mem::zeroed();
        let peek = options | libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
        let result = libc::waitid(libc::P_ALL, 0, &raw mut event, peek);
        let pid = event.si_pid();
        if result != 0 || pid == 0 {
            return Next::Nothing;
        }
        if pid == server && event.si_code != libc::CLD_TRAPPED && event.si_code != libc::CLD_STOPPED
        {
            return Next::ServerEnded;
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, options);
        Next::Event(pid, status)
    }
}
