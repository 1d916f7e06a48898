//! The first line of standard input has the port of a server and a number of
//! clients. Connects so many, or until one has no echo within ten seconds. Says
//! how many had theirs, that these are all served on, and waits until standard
//! input ends. If one was late, another one leaves then, and the late one must
//! have its echo.

#![no_std]
#![no_main]

use core::arch::global_asm;
use core::panic::PanicInfo;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use rustix::io::{read, write};
use rustix::net::{
    AddressFamily, Ipv4Addr, RecvFlags, SendFlags, SocketAddrV4, SocketType, connect, recv, send,
    socket,
};

/// Seconds: more than an echo takes on a board that is busy. A client at the
/// limit waits for ever.
const LATE: i64 = 10;

// SAFETY: init hands both over, and they stay open.
const INPUT: BorrowedFd = unsafe { BorrowedFd::borrow_raw(0) };
const OUTPUT: BorrowedFd = unsafe { BorrowedFd::borrow_raw(1) };

// Entry: the kernel has seen to the stack. What `start` returns is the argument
// of exit_group(2).
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start: call {}", "mov edi, eax", "mov eax, 231", "syscall", sym start);
#[cfg(target_arch = "arm")]
global_asm!(".globl _start", "_start: bl {}", "mov r7, #248", "svc 0", sym start);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start: bl {}", "mov x8, #94", "svc 0", sym start);
#[cfg(target_arch = "riscv64")]
global_asm!(".globl _start", "_start: call {}", "li a7, 94", "ecall", sym start);

extern "C" fn start() -> i32 {
    i32::from(run().is_none())
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    print(b"panic\n");
    loop {}
}

fn run() -> Option<()> {
    let (port, most) = read_order()?;
    // Descriptors are handed out in order: the clients are those from `first` on.
    let mut first = None;
    let mut count = 0;
    let mut late = None;
    while count < most && late.is_none() {
        let client = connect_to(port)?;
        say(client.as_fd(), b"Client\n")?;
        if hears(client.as_fd(), b"Pyvrag\n", LATE) {
            first.get_or_insert(client.into_raw_fd());
            count += 1;
        } else {
            late = Some(client);
        }
    }
    let first = first?;
    print(b"served ");
    print_number(count);
    print(b"\n");

    for number in first..first + count {
        // SAFETY: open, since nobody closes it.
        let client = unsafe { BorrowedFd::borrow_raw(number) };
        say(client, b"again\n")?;
        if !hears(client, b"ntnva\n", LATE) {
            return None;
        }
    }
    print(b"all\n");

    while read(INPUT, &mut [0; 16]).ok()? > 0 {}
    let Some(late) = late else { return Some(()) };
    // SAFETY: as above, and ours to close.
    drop(unsafe { OwnedFd::from_raw_fd(first) });
    if !hears(late.as_fd(), b"Pyvrag\n", 6 * LATE) {
        return None;
    }
    print(b"late\n");
    Some(())
}

fn read_order() -> Option<(u16, i32)> {
    let mut line = [0; 16];
    let length = read(INPUT, &mut line).ok()?;
    let text = core::str::from_utf8(line.get(..length)?).ok()?;
    let (port, most) = text.trim().split_once(' ')?;
    Some((port.parse().ok()?, most.parse().ok()?))
}

fn connect_to(port: u16) -> Option<OwnedFd> {
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    connect(&client, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(client)
}

fn say(client: BorrowedFd, line: &[u8]) -> Option<()> {
    send(client, line, SendFlags::NOSIGNAL).ok()?;
    Some(())
}

fn hears(client: BorrowedFd, line: &[u8], seconds: i64) -> bool {
    let mut wanted = [PollFd::new(&client, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let mut heard = [0; 16];
    poll(&mut wanted, Some(&limit)) == Ok(1)
        && recv(client, &mut heard, RecvFlags::empty())
            .is_ok_and(|(length, _)| heard.iter().take(length).eq(line))
}

fn print(text: &[u8]) {
    let _ = write(OUTPUT, text);
}

fn print_number(number: i32) {
    if number >= 10 {
        print_number(number / 10);
    }
    print(&[b'0' + (number % 10) as u8]);
}
