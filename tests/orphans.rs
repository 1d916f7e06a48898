//! The suite itself: it leaves nothing behind, whatever becomes of it.

use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, thread};

use crate::support::crowd::{crowd, served};
use crate::support::launcher::{Launcher, server_words};
use crate::support::network::in_own_network;
use crate::support::orphans::lead;
use crate::support::{DEADLINE, Lines, Server, binary, eventually, found, proc};

const HOLDS: &str = "ROT13D_TEST_HOLDS";

#[test]
fn suite_that_is_killed_leaves_no_process_behind() {
    let mut suite = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact"])
        .arg("orphans::holds_servers_until_it_is_killed")
        .env(HOLDS, "1")
        .env("ROT13D", binary())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the suite runs");
    let output = Lines::of(suite.stdout.take());
    let line = found("it holds servers", || output.containing("holding "));
    let pids = line.split_once("holding ").unwrap().1.split(' ');
    let pids: Vec<i32> = pids.map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() >= 9, "{line}");
    for &pid in &pids {
        assert!(proc::stat(pid).is_some(), "{pid} is there");
    }
    suite.kill().unwrap();
    suite.wait().unwrap();
    eventually("all are gone", || {
        let is_left = |&&pid: &&i32| proc::stat(pid).is_some_and(|stat| stat.state != 'Z');
        pids.iter().find(is_left).is_none()
    });
}

/// Servers, one of them stopped, their clients' processes, a wrapper, a launcher.
#[test]
#[ignore = "is for the test above, which runs it"]
fn holds_servers_until_it_is_killed() {
    if env::var_os(HOLDS).is_none() {
        return;
    }
    let plain = Server::start();
    let stopped = Server::new().args(["-v"]).start();
    let traced = Server::new().strace(["-e", "trace=accept"]).start();
    let clients = [crowd(&plain, 2), crowd(&stopped, 1), crowd(&traced, 1)];
    stopped.signal(libc::SIGSTOP);
    // The parent has ended, its client's process has not.
    let mut killed = Server::start();
    let _left = served(&killed);
    let orphan = killed.only_child();
    killed.signal(libc::SIGKILL);
    killed.wait_exit();
    // As if the suite were killed before it knows what it has started.
    let mut unknown = Command::new("sleep");
    let mut unknown = lead(unknown.arg("600")).spawn().expect("sleep runs");
    in_own_network(|| {
        let words = server_words();
        let words = words.iter().map(String::as_str);
        let args: Vec<&str> = ["-RHl0", "127.0.0.1", "43211"]
            .into_iter()
            .chain(words)
            .collect();
        let launcher = Launcher::start("tcpserver", &[&args[..], &["-i"]].concat());
        let mut pids = vec![orphan, launcher.pid(), unknown.id() as i32];
        for server in [&plain, &stopped, &traced] {
            pids.push(server.pid());
            pids.extend(server.children());
        }
        let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
        println!("\nholding {}", pids.join(" "));
        let begin = Instant::now();
        while begin.elapsed() < DEADLINE {
            thread::sleep(DEADLINE / 100);
        }
    });
    drop(clients);
    unknown.kill().expect("it is there");
    unknown.wait().expect("it has ended");
}
