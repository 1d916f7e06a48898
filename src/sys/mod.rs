//! What rustix does not offer in its public interface, and the only `unsafe`
//! but for the vectors of the cipher: the entry point, clone, signals, timers,
//! the seccomp filter, and the memory layout that makes a child small.
//!
//! One file per architecture holds what differs, the same items in the same
//! order; everything else is here.
//!
//! # Memory
//!
//! A child shares nothing with its parent but the code: the parent's stack and
//! statics are kept from it (`MADV_DONTFORK`), and it starts on a stack of its
//! own, [`CLIENT`], whose pages the parent never touches. So a fork copies no
//! page and no page table, the parent takes no fault after it, and no client's
//! address is to be found in another client's process.

#![allow(unsafe_code)]

use crate::LISTENER;
use crate::clients::SLOTS;
use crate::session::Session;
use core::cell::{Cell, UnsafeCell};
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;
#[cfg(not(any(target_arch = "x86", target_arch = "s390x")))]
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI32, AtomicU32};
use libc::{SIGCHLD, c_long};
use rot13d_pure::addr::SocketAddress;
use rot13d_pure::args::{self, Config};
use rot13d_pure::fmt::{Source, id};
use rot13d_pure::line::Step;
#[cfg(not(any(target_arch = "x86", target_arch = "s390x")))]
use rustix::mm::{Advice, madvise};

/// Any system call, by its name and the arguments that it has.
macro_rules! call {
    ($nr:ident) => {
        call!($nr, $crate::sys::ANY)
    };
    ($nr:ident, $a:expr) => {
        call!($nr, $a, $crate::sys::ANY)
    };
    ($nr:ident, $a:expr, $b:expr) => {
        call!($nr, $a, $b, $crate::sys::ANY)
    };
    ($nr:ident, $a:expr, $b:expr, $c:expr) => {
        call!($nr, $a, $b, $c, $crate::sys::ANY)
    };
    ($nr:ident, $a:expr, $b:expr, $c:expr, $d:expr) => {
        call!($nr, $a, $b, $c, $d, $crate::sys::ANY)
    };
    ($nr:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        unsafe { $crate::sys::arch::call($crate::sys::nr::$nr as u32, $a, $b, $c, $d, $e) as i32 }
    };
}

/// A call that must succeed: else the server ends, with text `id`.
macro_rules! need {
    ($id:ident, $nr:ident, $a:expr) => {
        need!($id, $nr, $a, $crate::sys::ANY)
    };
    ($id:ident, $nr:ident, $a:expr, $b:expr) => {
        need!($id, $nr, $a, $b, $crate::sys::ANY)
    };
    ($id:ident, $nr:ident, $a:expr, $b:expr, $c:expr) => {
        need!($id, $nr, $a, $b, $c, $crate::sys::ANY, $crate::sys::ANY)
    };
    ($id:ident, $nr:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {{
        const ID: u8 = id::$id;
        const { assert!(cfg!(not(target_arch = "x86_64")) || ID as c_long == $crate::sys::nr::$nr) }
        unsafe {
            $crate::sys::arch::need(ID, $crate::sys::nr::$nr as u32, $a, $b, $c, $d, $e) as i32
        }
    }};
}

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arm.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
#[cfg_attr(target_arch = "x86", path = "x86.rs")]
mod arch;
#[cfg(not(target_arch = "x86_64"))]
mod generic;

// What page.ld writes into the ELF header (elf(5)).
core::arch::global_asm!(
    ".globl e_machine", ".set e_machine, {machine}",
    ".globl e_data", ".set e_data, {data}",
    ".globl e_flags", ".set e_flags, {flags}",
    machine = const AUDIT_ARCH & 0xffff,
    data = const if cfg!(target_endian = "big") { 2 } else { 1 },
    flags = const arch::ELF_FLAGS,
);

pub use arch::{AUDIT_ARCH, CALLS, alarm, exit, option, seconds};
pub use arch::{check, hold, note, placeholder, release, replace, same_source, say};

/// All that the parent knows, in one place, so that one register reaches it
/// with short offsets. No child has it. It begins a page, above
/// [`CLIENT`], which is how [`handle`] tells a child and
/// [`keep_memory_from_children`] finds what to keep.
#[repr(C, align(4096))]
pub struct State {
    /// What the command line asks for.
    pub config: Config<Word>,
    /// How a client ended, for a message.
    pub status: Cell<u32>,
    /// Clients that there are.
    pub count: AtomicU32,
    /// What clone, futex and kill must carry in their fifth argument register
    /// to pass the cage: random, and in no memory or register of a child.
    token: usize,
    /// The address that a message names: where the server listens, or was told
    /// to, and later that of whoever came last.
    pub address: Address,
    /// When the last recurring error was logged ([`seconds`]).
    pub logged: AtomicU32,
    /// The socket of the client to be served next. While there is none, 0 or what
    /// accept failed with: `-EBADF` once none will come.
    pub client: AtomicI32,
    /// The clients, and a slot that is never used.
    pub slots: [Slot; SLOTS + 1],
    /// The cage's filter, which has the token in it.
    pub filter: [Instruction; crate::cage::LEN],
    /// The parent's stack, down from the end: the kernel's has whatever limit
    /// was inherited, and a signal frame alone may take 11 KiB.
    stack: UnsafeCell<[u8; 8 * 4096]>,
}

impl State {
    /// The lower half of the token, which is what the filter looks at.
    pub fn token(&self) -> u32 {
        self.token as u32
    }
}

impl Source for State {
    type Word = Word;

    #[inline(always)]
    fn number(&self, at: u32) -> u32 {
        let words = (&raw const *self).cast::<u32>();
        let first = offset_of!(State, status) / size_of::<u32>() - 2;
        // SAFETY: there are four: clients at most, one that is not used (both of the
        // configuration), the status, the count.
        unsafe { words.add(first + at as usize).read_volatile() }
    }

    #[inline(always)]
    fn address(&self) -> &SocketAddress {
        self.address.get()
    }

    #[inline(always)]
    fn argument(&self) -> Option<Word> {
        self.config.wrong
    }
}

/// An instruction of the filter: the kernel's `struct sock_filter`.
#[repr(C)]
pub struct Instruction {
    #[cfg(target_endian = "big")]
    _operation_high: Cell<u8>,
    pub operation: Cell<u8>,
    #[cfg(target_endian = "little")]
    _operation_high: Cell<u8>,
    /// How many to skip where a comparison holds.
    pub skip: Cell<u8>,
    _skip_else: Cell<u8>,
    pub operand: Cell<u32>,
}

impl Instruction {
    const fn new() -> Self {
        Self {
            operation: Cell::new(0),
            _operation_high: Cell::new(0),
            skip: Cell::new(0),
            _skip_else: Cell::new(0),
            operand: Cell::new(0),
        }
    }
}

/// In a slot that is free again: no process, not even for kill(2).
pub const FREE: i32 = i32::MIN;

/// A client: its process, [`FREE`] or, in a slot never used, 0; and its address.
#[repr(C)]
pub struct Slot {
    /// Written by the kernel, at fork, and by the signal handler.
    pub pid: AtomicI32,
    pub address: Address,
}

/// An address that the kernel may write.
#[repr(transparent)]
pub struct Address(UnsafeCell<SocketAddress>);

impl Address {
    const fn new() -> Self {
        Self(UnsafeCell::new(SocketAddress::every(0, 0)))
    }

    /// What it is now.
    pub fn get(&self) -> &SocketAddress {
        // SAFETY: only the main program changes an address, and only in calls
        // of this file, over which it keeps no reference; the signal handler's
        // messages show none.
        unsafe { &*self.0.get() }
    }

    /// Changes the family.
    pub fn set_family(&self, family: u8) {
        // SAFETY: as above.
        unsafe { (*self.0.get()).set_family(family) }
    }
}

/// Where the parent's stack begins, in bytes from the start of the state. What
/// is above is for strace, which reads more than there is of a structure.
const STACK: usize = size_of::<State>() - 64;

static mut STATE: State = State {
    config: Config::new(),
    status: Cell::new(0),
    count: AtomicU32::new(0),
    token: 0,
    address: Address::new(),
    logged: AtomicU32::new(0),
    client: AtomicI32::new(0),
    slots: [const { Slot::free() }; SLOTS + 1],
    filter: [const { Instruction::new() }; crate::cage::LEN],
    stack: UnsafeCell::new([0; 8 * 4096]),
};

impl Slot {
    const fn free() -> Self {
        Self {
            pid: AtomicI32::new(0),
            address: Address::new(),
        }
    }
}

/// `pointer`; the compiler is kept from knowing where it points, so that it
/// takes the address once and reaches every part from there.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)]
fn opaque<T>(mut pointer: *mut T) -> *mut T {
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) pointer, options(nomem, nostack, preserves_flags))
    };
    pointer
}

/// What the parent knows.
pub fn state() -> &'static State {
    // SAFETY: after `start` nothing changes it but through its cells.
    unsafe { &*opaque(&raw mut STATE) }
}

/// The first slot that `is` what is looked for, by its process or more. The first
/// free one is always taken, so what comes behind one never used is as well.
#[inline(always)]
pub fn find(state: &State, mut is: impl FnMut(&Slot, i32) -> bool) -> Option<&Slot> {
    let mut slot = state.slots.as_ptr().cast_mut();
    loop {
        slot = opaque(slot);
        // SAFETY: there is one slot more than clients may be asked for.
        unsafe {
            let pid = (*slot).pid.load(Relaxed);
            if pid == 0 {
                return None;
            }
            if is(&*slot, pid) {
                return Some(&*slot);
            }
            slot = slot.add(1);
        }
    }
}

/// A free slot, with the address of the client to be served next.
#[inline(always)]
fn free(state: &State) -> &Slot {
    let mut slot = state.slots.as_ptr().cast_mut().wrapping_sub(1);
    // SAFETY: there are more slots than clients: the count says so before a
    // client is taken, and it goes down after the slot is free.
    unsafe {
        loop {
            slot = opaque(slot.wrapping_add(1));
            if (*slot).pid.load(Relaxed) <= 0 {
                break;
            }
        }
        arch::copy(state.address.0.get(), (*slot).address.0.get());
        &*slot
    }
}

/// `value`; the compiler is kept from knowing where it is, and what.
#[inline(always)]
pub fn hide<T>(value: &T) -> &T {
    // SAFETY: the pointer is what it was.
    unsafe { &*opaque((&raw const *value).cast_mut()) }
}

/// `value`; the compiler is kept from knowing what it was compared with.
#[inline(always)]
#[allow(asm_sub_register)]
pub fn veil(mut value: i32) -> i32 {
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// The stack of a child, with the client's buffer at its top, so that a short
/// line touches one page in all: the frames fill less than its first quarter.
/// What lies below is room for signal frames.
#[repr(C)]
struct Client {
    frames: [u8; FRAMES],
    session: Session,
}

/// On x86_64 no return address lies above the frames.
const FRAMES: usize = 7 * 4096 + 1024 - if cfg!(target_arch = "x86_64") { 8 } else { 0 };

#[unsafe(link_section = ".bss.client")]
static mut CLIENT: Client = Client {
    frames: [0; FRAMES],
    session: Session::new(),
};

/// The top of the child's stack, the start of its session.
fn client() -> *mut Session {
    // SAFETY: takes an address, touches nothing.
    unsafe { &raw mut CLIENT.session }
}

/// An argument of a system call: a number or a pointer.
type Arg = MaybeUninit<*const ()>;

/// An argument that the call does not have: its register is not even set.
const ANY: Arg = MaybeUninit::uninit();

#[inline(always)]
fn arg(value: impl Into<u64>) -> Arg {
    MaybeUninit::new(core::ptr::without_provenance(value.into() as usize))
}

/// For the kernel to read.
#[inline(always)]
fn from<T: ?Sized>(value: &T) -> Arg {
    MaybeUninit::new((&raw const *value).cast())
}

/// For the kernel to write.
#[inline(always)]
fn to<T: ?Sized>(value: &mut T) -> Arg {
    MaybeUninit::new((&raw mut *value).cast_const().cast())
}

/// For the kernel to write: what is in a cell, to which nobody has a reference.
#[inline(always)]
fn cell<T>(value: *mut T) -> Arg {
    MaybeUninit::new(value.cast_const().cast())
}

/// The numbers of the calls, which on 32 bits have other names where a first
/// form had ids of 16 bits, or small files.
#[allow(non_upper_case_globals)]
pub mod nr {
    pub use libc::*;
    #[cfg(target_pointer_width = "32")]
    pub use libc::{
        SYS_fstat64 as SYS_fstat, SYS_setgroups32 as SYS_setgroups,
        SYS_setresgid32 as SYS_setresgid, SYS_setresuid32 as SYS_setresuid,
    };
    /// Those without a number for it: see there.
    #[cfg(any(target_arch = "x86", target_arch = "s390x"))]
    pub const SYS_accept: c_long = SYS_accept4;
}

/// The program's arguments, without its name.
pub struct Args(*const Option<Word>);

impl Iterator for Args {
    type Item = Word;

    #[inline(always)]
    fn next(&mut self) -> Option<Word> {
        // SAFETY: `self.0` is within argv, which ends with a null pointer and
        // whose strings end with a null byte; all of it lives as long as we do.
        unsafe {
            let word = *self.0;
            self.0 = self.0.add(1);
            word
        }
    }
}

/// An argument: what is left of it, up to its null byte.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Word(NonNull<u8>);

impl Iterator for Word {
    type Item = u8;

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        // SAFETY: never past the null byte.
        unsafe {
            let byte = *self.0.as_ref();
            if byte == 0 {
                return None;
            }
            self.0 = self.0.add(1);
            Some(byte)
        }
    }
}

/// The first Rust code: reads the arguments and finds the token, then runs the server.
extern "C" fn start(stack: *const usize) -> ! {
    let state = opaque(&raw mut STATE);
    // SAFETY: the layout of the initial stack (ELF ABI): argc, argv, null,
    // envp, null, then the auxiliary vector, pairs up to AT_NULL; the random bytes are
    // at any address. Nobody else has the state yet.
    unsafe {
        let mut args = Args(stack.add(2).cast());
        let stop = args::parse(
            &mut (*state).config,
            (*state).address.0.get_mut(),
            &mut args,
        );
        // Where nothing stops the server all arguments are read, and envp is next.
        if stop == 0 {
            let mut word: *const usize = args.0.cast();
            while *word != 0 {
                word = word.add(1);
            }
            word = word.add(1);
            // Always there (Linux 2.6.29).
            while *word != libc::AT_RANDOM as usize {
                word = word.add(2);
            }
            (*state).token = (*word.add(1) as *const usize).read_unaligned();
        }
        crate::serve(&*state, stop)
    }
}

/// The first code of a child, on its own stack; the parameters are where clone
/// leaves them (see [`arch::clone`]).
extern "C" fn child(
    _: usize,
    session: &mut Session,
    _: usize,
    lifetime: u32,
    socket: u32,
    idle: u32,
) -> ! {
    session.run(socket, idle, lifetime)
}

/// The signal handler. Under SA_SIGINFO the kernel hands the frame over; it is
/// on the stack, which is above the statics in the parent, below them in a child.
extern "C" fn handle(signal: i32, info: &libc::siginfo_t, frame: *const State) {
    let state = state();
    if frame > &raw const *state {
        // SAFETY: any bytes are a number. With SIGCHLD, if the kernel sends it, that is
        // the child.
        crate::signals::handle(state, signal, unsafe { info.si_pid() });
    } else {
        crate::signals::handle_in_child(signal);
    }
}

/// A child process that serves the client; its pid is in a slot before any
/// signal of it can arrive (`CLONE_PARENT_SETTID`, clone(2)).
#[inline(always)]
pub fn fork(state: &State) -> i32 {
    let slot = free(state);
    let flags = libc::CLONE_PARENT_SETTID | SIGCHLD;
    let (idle, lifetime) = (state.config.idle(), state.config.lifetime());
    #[cfg(not(target_arch = "x86_64"))]
    slot.pid.store(generic::FORKING, Relaxed);
    // SAFETY: without CLONE_VM the child has an address space of its own, in
    // which nothing but the child uses this stack.
    let pid = unsafe {
        arch::clone(
            state,
            flags as u32,
            slot.pid.as_ptr(),
            state.client.load(Relaxed) as u32,
            idle,
            lifetime,
        )
    };
    #[cfg(not(target_arch = "x86_64"))]
    generic::forked(state, slot, pid);
    pid
}

/// Ends a client's process. It takes the token; the end of the signal handler wipes
/// that from the register.
#[inline(always)]
pub fn kill(state: &State, pid: i32) {
    // SAFETY: kill(2) touches no memory of ours.
    call!(
        SYS_kill,
        arg(pid as u32),
        arg(libc::SIGKILL as u32),
        ANY,
        ANY,
        arg(state.token as u64)
    );
}

/// Keeps everything from the children but the code and their own stack: what
/// is above (the state, the stack, the vdso), wherever that is, and below the
/// program. It is what keeps the token from them. A kernel without madvise(2)
/// (`CONFIG_ADVISE_SYSCALLS`) leaves them a copy, and a fork costs more.
#[inline(always)]
pub fn keep_memory_from_children(state: &State) {
    let start = &raw const *state;
    let len = start.addr().wrapping_neg() - 4096;
    // SAFETY: advice for the time of a fork, which changes nothing here.
    #[cfg(not(any(target_arch = "x86", target_arch = "s390x")))]
    unsafe {
        let _ = madvise(start.cast_mut().cast(), len, Advice::LinuxDontFork);
        let _ = madvise(null_mut(), arch::image(), Advice::LinuxDontFork);
    }
    // There rustix calls through the vDSO, which doubles the program, or a libc.
    #[cfg(any(target_arch = "x86", target_arch = "s390x"))]
    for (start, len) in [(start, len), (core::ptr::null(), arch::image())] {
        // SAFETY: as above.
        call!(
            SYS_madvise,
            arg(start.addr() as u64),
            arg(len as u64),
            arg(libc::MADV_DONTFORK as u32)
        );
    }
}

/// Whether `fd` is the same file as standard input: device and inode (fstat(2)).
#[inline(always)]
pub fn is_stdin(fd: u32) -> bool {
    file(0) == file(fd)
}

/// Device and inode of `fd`.
#[inline(always)]
fn file(fd: u32) -> u128 {
    // `struct stat` begins with them (on 32 bits `struct stat64`, with a gap and
    // the lower half of the inode). The rest is not even set before.
    let mut stat = [const { MaybeUninit::<u128>::uninit() }; 9];
    stat[0].write(0);
    // SAFETY: `stat` has the size of the structure.
    call!(SYS_fstat, arg(fd), to(&mut stat));
    // SAFETY: set above.
    unsafe { stat[0].assume_init() }
}

/// Whether standard input listens; else it is connected. Makes it block.
#[inline(always)]
pub fn listens() -> bool {
    // SAFETY: touches no memory.
    call!(SYS_fcntl, arg(0u32), arg(libc::F_SETFL as u32), arg(0u32));
    arch::get_option(libc::SO_ACCEPTCONN as u32) != 0
}

/// Another descriptor for standard input, the lowest one.
#[inline(always)]
pub fn duplicate() -> u32 {
    // SAFETY: touches no memory.
    need!(DUP, SYS_dup, arg(0u32)) as u32
}

/// Descriptors 0 to 2 are taken, all others free. Before Linux 5.9 the first
/// 1024 must do.
#[inline(always)]
pub fn stdio() {
    // SAFETY: touches no memory.
    if call!(SYS_close_range, arg(3u32), arg(u32::MAX), arg(0u32)) < 0 {
        let mut fd = 3;
        while fd != 1024 {
            close(fd);
            fd += 1;
        }
    }
    while placeholder() < 3 {}
    close(3);
}

/// socket(2)
#[inline(always)]
pub fn socket(family: u8) {
    let kind = arg(libc::SOCK_STREAM as u32);
    // SAFETY: touches no memory.
    need!(SOCKET, SYS_socket, arg(family), kind, arg(0u32));
}

/// socket(2), which may fail.
#[inline(always)]
pub fn try_socket(family: u8) -> i32 {
    // SAFETY: touches no memory.
    call!(
        SYS_socket,
        arg(family),
        arg(libc::SOCK_STREAM as u32),
        arg(0u32)
    )
}

/// The length of a socket address.
const LEN: u32 = size_of::<SocketAddress>() as u32;

/// bind(2)
#[inline(always)]
pub fn bind(address: &Address) {
    // SAFETY: reads that many bytes.
    need!(BIND, SYS_bind, arg(LISTENER), from(address), arg(LEN));
}

/// getsockname(2) of the listener.
#[inline(always)]
pub fn own_name(state: &State) {
    let result = arch::name(nr::SYS_getsockname as u32, LISTENER, &state.address);
    check(id::GETSOCKNAME, result);
}

/// getpeername(2) of standard input.
#[inline(always)]
pub fn peer_name(state: &State) {
    arch::name(nr::SYS_getpeername as u32, 0, &state.address);
}

/// accept(2)
#[inline(always)]
pub fn accept(state: &State) -> i32 {
    arch::name(nr::SYS_accept as u32, LISTENER, &state.address)
}

/// listen(2)
#[inline(always)]
pub fn listen(backlog: u32) {
    // SAFETY: touches no memory.
    need!(LISTEN, SYS_listen, arg(LISTENER), arg(backlog));
}

/// No supplementary groups (setgroups(2)).
#[inline(always)]
pub fn setgroups() {
    // SAFETY: of none of them, it reads nothing.
    need!(SETGROUPS, SYS_setgroups, arg(0u32));
}

/// setresgid(2)
#[inline(always)]
pub fn setresgid(id: u32) {
    // SAFETY: touches no memory.
    need!(SETGID, SYS_setresgid, arg(id), arg(id), arg(id));
}

/// setresuid(2)
#[inline(always)]
pub fn setresuid(id: u32) {
    // SAFETY: touches no memory.
    need!(SETUID, SYS_setresuid, arg(id), arg(id), arg(id));
}

/// close(2)
#[inline(always)]
pub fn close(fd: u32) -> i32 {
    // SAFETY: touches no memory.
    call!(SYS_close, arg(fd))
}

/// read(2) or write(2).
#[inline(always)]
pub fn transfer(fd: u32, step: Step<'_>) -> isize {
    let (number, start, len) = match step {
        Step::Read(space) => (libc::SYS_read, to(space), space.len()),
        Step::Write(part) => (libc::SYS_write, from(part), part.len()),
    };
    // SAFETY: reads or writes no more than the slice.
    unsafe { arch::call(number as u32, arg(fd), start, arg(len as u64), ANY, ANY) }
}

/// wait4(2) for `child`, or any if that is -1, without waiting.
#[inline(always)]
pub fn wait(state: &State, child: i32) -> i32 {
    // SAFETY: writes the status.
    call!(
        SYS_wait4,
        arg(child as u32),
        cell(state.status.as_ptr()),
        arg(libc::WNOHANG as u32),
        arg(0u32)
    )
}

/// Size of the kernel's signal set in bytes.
const SET: u32 = 8;

/// SIGPIPE is ignored; the others have the handler, which holds all signals
/// back (sigaction(2)).
#[inline(always)]
pub fn actions() {
    // Five bits each, the lowest first.
    let mut signals = (((SIGCHLD << 5 | libc::SIGALRM) << 5 | libc::SIGINT) << 5 | libc::SIGTERM)
        << 5
        | libc::SIGPIPE;
    let mut handler = libc::SIG_IGN;
    while signals != 0 {
        arch::action(signals as u32 & 31, handler);
        handler = arch::handler();
        signals >>= 5;
    }
}
const ACTION_FLAGS: i32 = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_SIGINFO;

/// Sets of signals to hold back: bit 0 is signal 1, the top bit is all the rest.
pub const CHILDREN: i64 = 1 << (SIGCHLD - 1);
pub const ALL: i64 = -1;

/// Sleeps while there are `count` clients (futex(2), FUTEX_WAIT): a client that
/// ends before the call does not go unseen either. It takes the token.
#[inline(always)]
pub fn wait_while(state: &State, count: u32) -> i32 {
    // SAFETY: reads the count.
    call!(
        SYS_futex,
        cell(state.count.as_ptr()),
        arg(libc::FUTEX_WAIT as u32),
        arg(count),
        arg(0u32),
        arg(state.token as u64)
    )
}

/// Sleeps that long, or until a signal.
#[inline(always)]
pub fn sleep(milliseconds: u32) {
    // SAFETY: of no descriptors, it touches no memory.
    unsafe { arch::poll(arg(0u32), 0, milliseconds) };
}

/// Writes what `text` gives to `fd`, if that takes a message now. So asked before,
/// `fd` needs no register meanwhile.
#[inline(always)]
pub fn send<'a>(fd: u32, text: impl FnOnce() -> &'a [MaybeUninit<u8>]) {
    let mut poll = libc::pollfd {
        fd: fd as i32,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one of them.
    if unsafe { arch::poll(to(&mut poll), 1, 0) } > 0 {
        let text = text();
        // SAFETY: reads the text, which is no longer uninitialised.
        call!(
            SYS_write,
            arg(poll.fd as u32),
            from(text),
            arg(text.len() as u64)
        );
    }
}

/// Sets `bytes` to those sent that the peer has not acknowledged (tcp(7),
/// SIOCOUTQ).
#[inline(always)]
pub fn unsent(fd: u32, bytes: &mut u32) {
    // SAFETY: writes an int.
    call!(SYS_ioctl, arg(fd), arg(libc::TIOCOUTQ as u32), to(bytes));
}

/// Installs the filter `program`, for good (prctl(2)).
#[inline(always)]
pub fn filter(program: &[Instruction]) -> i32 {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let none = arg(0u32);
    // SAFETY: touches no memory.
    call!(
        SYS_prctl,
        arg(libc::PR_SET_NO_NEW_PRIVS as u32),
        arg(1u32),
        none,
        none,
        none
    );
    // SAFETY: reads the program.
    call!(
        SYS_prctl,
        arg(libc::PR_SET_SECCOMP as u32),
        arg(libc::SECCOMP_MODE_FILTER),
        from(&program)
    )
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Does not exist: a panic that can be reached does not link.
        fn a_panic_is_reachable() -> !;
    }
    // SAFETY: never linked.
    unsafe { a_panic_is_reachable() }
}
