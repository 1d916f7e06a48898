//! `-u` and `-g` (rot13d(8), OPTIONS): who the server and its clients'
//! processes are, and that they can be nobody else.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;

use crate::support::crowd::{LINE, served};
use crate::support::network::in_own_network;
use crate::support::{Dialogue, Ready, Server, binary, proc};

/// Each of the four user or group numbers: real, effective, saved, file system.
fn four(number: u32) -> String {
    [number.to_string().as_str(); 4].join("\t")
}

fn join_other_groups() -> io::Result<()> {
    let groups = [10, 20];
    // SAFETY: `groups` holds as many.
    match unsafe { libc::setgroups(groups.len(), groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn server_and_children_become_user_and_group_without_others() {
    // The last number is -1, which to the kernel is nobody.
    const MOST: u32 = u32::MAX - 1;
    let cases: [(&[&str], u32, u32); 5] = [
        (&["-u", "1234", "-g", "5678"], 1234, 5678),
        (&["-u", "0", "-g", "0"], 0, 0),
        (&["-u", "4294967294", "-g", "4294967294"], MOST, MOST),
        (&["-u", "1234"], 1234, 0),
        (&["-g", "5678"], 0, 5678),
    ];
    for (options, user, group) in cases {
        let server = Server::new()
            .args(options)
            .before_exec(join_other_groups)
            .start();
        let _client = served(&server);
        for pid in [server.pid(), server.only_child()] {
            let status = |field| proc::status(pid, field).expect(field);
            assert_eq!(status("Uid"), four(user), "{options:?}");
            assert_eq!(status("Gid"), four(group), "{options:?}");
            assert_eq!(status("Groups"), "", "{options:?}");
            if user != 0 {
                for set in ["CapPrm", "CapEff", "CapAmb"] {
                    assert_eq!(u64::from_str_radix(&status(set), 16), Ok(0), "{options:?}");
                }
            }
        }
    }
}

/// Every number that the kernel has for a user: all but the last one, which says
/// that nothing is to change (setresuid(2)).
#[test]
fn largest_numbers_are_users_and_groups() {
    let largest = u32::MAX - 1;
    let number = largest.to_string();
    for number in [number, "2147483648".to_owned(), "4000000000".to_owned()] {
        let server = Server::new().args(["-u", &number, "-g", &number]).start();
        let _client = served(&server);
        for pid in [server.pid(), server.only_child()] {
            for field in ["Uid", "Gid"] {
                let number = number.parse().unwrap();
                assert_eq!(proc::status(pid, field), Some(four(number)), "{field}");
            }
        }
    }
    for option in ["-u", "-g"] {
        for number in ["4294967295", "4294967296", "18446744073709551616"] {
            let run = Server::new().exactly([option, number]).run();
            assert_eq!(run.status.code(), Some(100), "{run:?}");
            let line = run.stderr.lines().next().unwrap_or_default();
            let right =
                format!("rot13d: {option} takes a number from 0 to 4294967294, not {number}");
            assert_eq!(line, right);
        }
    }
}

#[test]
fn everything_is_kept_without_being_asked_for() {
    let server = Server::new().before_exec(join_other_groups).start();
    assert_eq!(server.status("Uid"), four(0));
    assert_eq!(server.status("Gid"), four(0));
    assert_eq!(server.status("Groups"), "10 20");
}

#[test]
fn port_of_the_privileged_is_bound_first() {
    in_own_network(|| {
        let server = Server::new().port(80).args(["-u", "1234"]).start();
        assert_eq!(server.port(), 80);
        served(&server).exchange(LINE);
    });
}

#[test]
fn user_who_may_not_is_refused() {
    for options in [["-u", "0"], ["-g", "0"], ["-u", "1234"]] {
        // By way of a descriptor: its path may be closed to this user.
        let run = Server::new()
            .binary("/proc/self/fd/0")
            .stdin(File::open(binary()).unwrap())
            .exactly([&options[..], &["127.0.0.1", "0"]].concat())
            .ready(Ready::Unknown)
            .adjust(|command| {
                command.uid(1234).gid(1234);
            })
            .run();
        assert_eq!(run.status.code(), Some(111), "{options:?}: {run:?}");
        let calls = ["setgroups", "setgid", "setuid"];
        let told = calls.iter().any(|call| {
            let line = format!("rot13d: fatal: {call}: ");
            run.stderr.starts_with(&line) && run.stderr.ends_with("not permitted\n")
        });
        assert!(told, "{options:?}: {run:?}");
    }
}

#[test]
fn root_without_the_capability_is_refused() {
    // From linux/capability.h; libc does not have them.
    const CAP_SETGID: i32 = 6;
    const CAP_SETUID: i32 = 7;
    let cases = [
        (CAP_SETGID, "-g", "setgroups"),
        (CAP_SETGID, "-u", "setgroups"),
        (CAP_SETUID, "-u", "setuid"),
    ];
    for (capability, option, call) in cases {
        let run = Server::new()
            .exactly([option, "1234", "127.0.0.1", "0"])
            .before_exec(move || {
                // SAFETY: a prctl without pointers.
                match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            })
            .run();
        assert_eq!(run.status.code(), Some(111), "{option}: {run:?}");
        let line = format!("rot13d: fatal: {call}: ");
        assert!(run.stderr.starts_with(&line), "{option}: {run:?}");
    }
}
