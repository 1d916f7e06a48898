//! A network of a test's own: fixed ports without a clash, settings of its
//! own, and clients that fall off it.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::{fs, io, mem, panic, thread};

use super::client::set_option;
use super::tool;

/// Runs `body` on a new thread in a network namespace that has nothing but a
/// loopback interface. What it starts there, processes and threads, is in it
/// too.
pub fn in_own_network<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: unshare has no preconditions; only this thread moves.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            let error = io::Error::last_os_error();
            assert_eq!(result, 0, "a network namespace (are you root?): {error}");
            bring_up_loopback();
            body()
        });
        thread
            .join()
            .unwrap_or_else(|failure| panic::resume_unwind(failure))
    })
}

fn bring_up_loopback() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: all zeros is a valid ifreq; both requests read its name and read
    // or write its flags.
    unsafe {
        let mut interface: libc::ifreq = mem::zeroed();
        interface.ifr_name[0] = b'l' as libc::c_char;
        interface.ifr_name[1] = b'o' as libc::c_char;
        let place = &raw mut interface;
        let found = libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, place);
        (*place).ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        let up = libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, place);
        assert!(found == 0 && up == 0, "lo: {}", io::Error::last_os_error());
    }
}

/// Sets `net.ipv4.NAME` of this thread's network.
pub fn set_ipv4(name: &str, value: &str) {
    set(&format!("/proc/sys/net/ipv4/{name}"), value);
}

/// Sets `net.ipv6.NAME` of this thread's network.
pub fn set_ipv6(name: &str, value: &str) {
    set(&format!("/proc/sys/net/ipv6/{name}"), value);
}

fn set(file: &str, value: &str) {
    fs::write(file, value).unwrap_or_else(|e| panic!("{file}: {e}"));
}

/// One more address of this machine.
pub fn add_address(address: &str) {
    let words = ["addr", "add", address, "dev", "lo", "nodad"];
    let status = Command::new(tool("ip")).args(words).status();
    assert!(status.is_ok_and(|status| status.success()), "{address}");
}

/// From here on every packet for `client` is dropped and none is answered, as
/// if its machine had lost power.
pub fn vanish(client: &TcpStream) {
    let mut drop_all = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut drop_all,
    };
    set_option(client, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program);
}
