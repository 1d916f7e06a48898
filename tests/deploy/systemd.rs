//! systemd, as process 1, and its judgement of the units.

use std::fs;

use super::sandbox::{Root, Sandbox};
use super::{
    ACCEPT_SERVICE, ACCEPT_SOCKET, File, INSTALLED, SYSTEMD_SERVICE, SYSTEMD_SOCKET,
    assert_without_complaint, run,
};
use crate::support::{Dialogue, Scratch, binary, eventually, tool};

/// A folder with the units, whose server is where the tests have it.
fn units(files: [File; 2]) -> (Scratch, [String; 2]) {
    let folder = Scratch::new();
    let server = binary().to_str().expect("a path in UTF-8");
    let paths = files.map(|file| {
        let path = folder.path(file.to.rsplit_once('/').expect("a path").1);
        fs::write(&path, file.text().replace(INSTALLED, server)).expect("a unit");
        path.into_os_string().into_string().unwrap()
    });
    (folder, paths)
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    for files in [
        [SYSTEMD_SOCKET, SYSTEMD_SERVICE],
        [ACCEPT_SOCKET, ACCEPT_SERVICE],
    ] {
        let (_folder, paths) = units(files);
        let verify = ["verify", "--man=no"].map(str::to_owned);
        assert_without_complaint(&run("systemd-analyze", verify.iter().chain(&paths)));
    }
}

#[test]
fn systemd_calls_the_service_safe() {
    let (_folder, [_, service]) = units([SYSTEMD_SOCKET, SYSTEMD_SERVICE]);
    // In tenths; above it ends with an error.
    let below_one = "--threshold=9";
    let output = run(
        "systemd-analyze",
        ["security", "--offline=yes", below_one, &service],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// systemd itself as process 1, with these units and no others.
pub fn systemd(root: Root, units: &[(&str, String)]) -> Sandbox {
    tool("systemctl");
    let mut root = root
        .devices()
        .programs()
        .control_groups()
        .variable("container", "bwrap")
        .variable("SYSTEMD_UNIT_PATH", "/etc/systemd/system")
        .file("/etc/machine-id", format!("{:032x}\n", 1));
    for (path, text) in units {
        root = root.file(path, text);
    }
    // What units need by default, without all that usually belongs to it.
    for target in ["sysinit", "basic", "sockets", "shutdown"] {
        let path = format!("/etc/systemd/system/{target}.target");
        root = root.file(&path, "[Unit]\nDefaultDependencies=no\n");
    }
    root.start(&["/usr/lib/systemd/systemd", "--unit=rot13d.socket"])
}

fn with_units(files: [File; 2]) -> Sandbox {
    let units = files.map(|file| (file.to, file.text()));
    systemd(Root::new().server(INSTALLED), &units)
}

/// What systemctl prints.
#[track_caller]
fn systemctl(systemd: &Sandbox, args: &[&str]) -> String {
    let output = systemd.run(&[&["systemctl"], args].concat());
    assert_without_complaint(&output);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn property(systemd: &Sandbox, unit: &str, name: &str) -> String {
    systemctl(systemd, &["show", "--value", "--property", name, unit])
}

#[test]
fn systemd_restarts_the_server_and_loses_no_client() {
    let systemd = with_units([SYSTEMD_SOCKET, SYSTEMD_SERVICE]);
    let mut old = systemd.connect("127.0.0.1:43211");
    old.exchange(b"Hello\n");
    systemd.connect("[::1]:43211").exchange(b"Hello\n");
    let server = systemd.only_server();
    assert_ne!(systemd.user(server), 0);
    systemctl(&systemd, &["restart", "--no-block", "rot13d.service"]);
    // systemd has signalled every process of the service.
    systemd.wait_draining(server);
    let mut new = systemd.connect("127.0.0.1:43211");
    new.say(b"Next\n");
    old.exchange(b"Still here\n");
    new.assert_silent();
    old.half_close();
    old.assert_end();
    new.hear_echo_of(b"Next\n");
    assert_ne!(systemd.only_server(), server);
    drop(new);
    systemctl(&systemd, &["stop", "rot13d.socket", "rot13d.service"]);
    assert_eq!(property(&systemd, "rot13d.service", "Result"), "success");
}

#[test]
fn systemd_starts_a_server_for_each_client() {
    let systemd = with_units([ACCEPT_SOCKET, ACCEPT_SERVICE]);
    let mut clients = ["127.0.0.1:43211", "[::1]:43211"].map(|to| systemd.connect(to));
    for client in &mut clients {
        client.exchange(b"Hello\n");
    }
    assert_eq!(systemd.servers().len(), 2);
    assert!(
        systemd
            .servers()
            .into_iter()
            .all(|server| systemd.user(server) != 0)
    );
    let [mut first, mut second] = clients;
    first.half_close();
    first.assert_end();
    eventually("one service is left", || systemd.servers().len() == 1);
    systemctl(&systemd, &["stop", "--no-block", "rot13d@*"]);
    eventually("the stop has begun", || {
        property(&systemd, "rot13d@*", "ActiveState") == "deactivating"
    });
    second.exchange(b"Still here\n");
    second.half_close();
    second.assert_end();
    eventually("no service is left", || systemd.servers().is_empty());
}
