//! The lecture's own fault, shown and gone (rot13d(8), DESCRIPTION): a child's
//! end interrupts accept, which is restarted and never fails; children that
//! end together are all reaped by one run of the handler.

use crate::support::{Dialogue, Server, eventually, proc, signal_process};

#[test]
fn accept_is_restarted_when_children_end() {
    let server = Server::new()
        .strace(["-e", "trace=accept,accept4,rt_sigreturn"])
        .start();
    for round in 1..=5 {
        let mut client = server.connect();
        client.exchange(b"hello\n");
        server.wait_accepting();
        drop(client);
        server.wait_childless();
        eventually("the interrupted accept is traced", || {
            count(&server, "ERESTARTSYS") == round
        });
    }
    let mut last = server.connect();
    last.exchange(b"still here\n");
    // A handler's end shows what the interrupted call is told.
    assert_eq!(count(&server, "rt_sigreturn("), 5, "{:#?}", server.trace());
    assert_eq!(count(&server, "EINTR"), 0, "{:#?}", server.trace());
}

#[test]
fn children_that_end_together_are_reaped_by_one_handler_run() {
    const CLIENTS: usize = 20;
    let server = Server::new().strace(["-e", "trace=wait4"]).start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.exchange(b"hello\n");
    }
    server.signal(libc::SIGSTOP);
    // As strace saw it: to /proc a traced process is stopped at every turn.
    eventually("the server is stopped", || {
        count(&server, "--- stopped by SIGSTOP") == 1
    });
    drop(clients);
    eventually("every child has ended", || {
        server.zombies().len() == CLIENTS
    });
    assert_eq!(count(&server, "--- SIGCHLD"), 0);
    server.signal(libc::SIGCONT);
    server.wait_childless();
    server.wait_accepting();
    assert_eq!(count(&server, "--- SIGCHLD"), 1, "{:#?}", server.trace());
    server.connect().exchange(b"still here\n");
}

/// Whoever may signal the server may say that any child has ended, and his signal may
/// stand for that of one that has: signals that are pending are one.
#[test]
fn forged_signal_in_place_of_a_child_s_loses_none() {
    let server = Server::new().args(["-c", "1"]).start();
    for forged in [-5, -1, 0, 1, i32::MAX] {
        let mut client = server.connect();
        client.exchange(b"hello\n");
        server.signal(libc::SIGSTOP);
        eventually("the server is stopped", || {
            proc::stat(server.pid()).is_some_and(|stat| stat.state == 'T')
        });
        send_child_signal(server.pid(), forged);
        drop(client);
        eventually("the child has ended", || server.zombies().len() == 1);
        server.signal(libc::SIGCONT);
        server.wait_childless();
    }
    server.connect().exchange(b"still here\n");
}

/// SIGCHLD as sigqueue(3) sends it, in the name of process `of`.
fn send_child_signal(to: i32, of: i32) {
    // `siginfo_t` of the kernel: signal, errno, code, then, where a pointer has 64
    // bits behind a gap, the process.
    let mut info = [0i32; 32];
    info[0] = libc::SIGCHLD;
    info[2] = libc::SI_QUEUE;
    info[if cfg!(target_pointer_width = "64") {
        4
    } else {
        3
    }] = of;
    // SAFETY: reads the structure, which has 128 bytes.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, to, libc::SIGCHLD, info.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn killed_child_is_reaped_like_any_other() {
    let server = Server::start();
    let mut client = server.connect();
    client.exchange(b"hello\n");
    signal_process(server.only_child(), libc::SIGKILL);
    client.assert_end();
    server.wait_childless();
    server.connect().exchange(b"still here\n");
}

/// The traced lines of the server itself that contain `text`.
fn count(server: &Server, text: &str) -> usize {
    let pid = server.pid().to_string();
    let trace = server.trace();
    let own = trace.iter().filter(|line| line.starts_with(&pid));
    own.filter(|line| line.contains(text)).count()
}
