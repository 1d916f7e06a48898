//! The lecture's own fault, shown and gone (contract, section 2): a child's
//! end interrupts accept, which is restarted and never fails; children that
//! end together are all reaped by one run of the handler.

use crate::support::{Dialogue, Server, eventually, signal_process};

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
