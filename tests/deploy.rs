//! The README's section on deploying: each file shown there is taken from it,
//! put where it belongs, and run by the program that reads it, in a network,
//! process table and root file system of its own. Guards contract sections 2,
//! 3 (`-i`, `-k`, `-u`, `-g`) and 5 (drain, process 1) where they are relied
//! on, and the README against its own mistakes.
//!
//! A file is a fenced block whose info string is its language, its path, and a
//! word where two blocks are for the same path:
//!
//! ````text
//! ```ini /etc/systemd/system/rot13d.socket Accept=yes
//! ````

mod sandbox;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Dialogue, Scratch, binary, eventually, found, proc, signal_process, tool};
use sandbox::{Root, Sandbox};

const SOCKET: &str = "/etc/systemd/system/rot13d.socket";
const SERVICE: &str = "/etc/systemd/system/rot13d.service";
const EACH_SOCKET: &str = "/etc/systemd/system/rot13d.socket Accept=yes";
const EACH_SERVICE: &str = "/etc/systemd/system/rot13d@.service";
const INETD_WAIT: &str = "/etc/inetd.conf wait";
const INETD_NOWAIT: &str = "/etc/inetd.conf nowait";
const INITTAB: &str = "/etc/inittab";
const PROCD: &str = "/etc/init.d/rot13d";
const IMAGE: &str = "Containerfile";
const SYSCTL: &str = "/etc/sysctl.d/rot13d.conf";

/// Where `make install` puts the server, and where it does with `PREFIX=/usr`.
const INSTALLED: &str = "/usr/local/sbin/rot13d";
const INSTALLED_IN_USR: &str = "/usr/sbin/rot13d";

/// Every file in the README: its name as above, and its text.
fn snippets() -> Vec<(String, String)> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    // Text, block, text, block, …
    let blocks = readme.split("\n```").skip(1).step_by(2);
    blocks
        .filter_map(|block| {
            let (info, text) = block.split_once('\n')?;
            let (_language, name) = info.split_once(' ')?;
            Some((name.to_owned(), format!("{text}\n")))
        })
        .collect()
}

#[track_caller]
fn snippet(name: &str) -> String {
    let mut all = snippets().into_iter();
    let wanted = all.find(|(other, _)| other == name);
    wanted
        .unwrap_or_else(|| panic!("README.md has no {name:?}"))
        .1
}

/// Where it belongs.
fn path(name: &str) -> &str {
    name.split(' ').next().unwrap()
}

/// Runs a tool to its end.
#[track_caller]
fn run<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Output {
    Command::new(tool(name)).args(args).output().expect(name)
}

#[track_caller]
fn assert_without_complaint(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        output.status
    );
}

#[test]
fn every_file_of_the_readme_is_tested_here() {
    let names: Vec<String> = snippets().into_iter().map(|(name, _)| name).collect();
    let tested = [
        SOCKET,
        SERVICE,
        EACH_SOCKET,
        EACH_SERVICE,
        INETD_WAIT,
        INETD_NOWAIT,
        INITTAB,
        PROCD,
        IMAGE,
        SYSCTL,
    ];
    assert_eq!(names, tested);
}

/// The number behind `mark`.
#[track_caller]
fn number(text: &str, mark: &str) -> u32 {
    let (_, rest) = text
        .split_once(mark)
        .unwrap_or_else(|| panic!("{mark:?} in {text}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .expect("a number")
}

#[test]
fn grace_is_over_before_the_supervisor_kills() {
    for name in [SERVICE, EACH_SERVICE] {
        let unit = snippet(name);
        assert!(
            number(&unit, " -k ") < number(&unit, "\nTimeoutStopSec="),
            "{name}"
        );
    }
    let script = snippet(PROCD);
    assert!(number(&script, " -k ") < number(&script, " term_timeout "));
    const OF_CONTAINER_RUNTIMES: u32 = 10;
    assert!(number(&snippet(IMAGE), r#""-k", ""#) < OF_CONTAINER_RUNTIMES);
}

/// A folder with the units, whose server is where the tests have it.
fn units(names: [&str; 2]) -> (Scratch, [String; 2]) {
    let folder = Scratch::new();
    let server = binary().to_str().expect("a path in UTF-8");
    let files = names.map(|name| {
        let (_, file) = path(name).rsplit_once('/').expect("a path");
        let file = folder.path(file);
        fs::write(&file, snippet(name).replace(INSTALLED, server)).expect("a unit");
        file.into_os_string().into_string().unwrap()
    });
    (folder, files)
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    for names in [[SOCKET, SERVICE], [EACH_SOCKET, EACH_SERVICE]] {
        let (_folder, files) = units(names);
        let verify = ["verify", "--man=no"].map(str::to_owned);
        assert_without_complaint(&run("systemd-analyze", verify.iter().chain(&files)));
    }
}

#[test]
fn systemd_calls_the_service_safe() {
    let (_folder, [_, service]) = units([SOCKET, SERVICE]);
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
fn systemd(names: [&str; 2]) -> Sandbox {
    tool("systemctl");
    let mut root = Root::new()
        .server(INSTALLED)
        .devices()
        .programs()
        .control_groups()
        .variable("container", "bwrap")
        .variable("SYSTEMD_UNIT_PATH", "/etc/systemd/system")
        .file("/etc/machine-id", format!("{:032x}\n", 1));
    for name in names {
        root = root.file(path(name), snippet(name));
    }
    // What units need by default, without all that usually belongs to it.
    for target in ["sysinit", "basic", "sockets", "shutdown"] {
        let path = format!("/etc/systemd/system/{target}.target");
        root = root.file(&path, "[Unit]\nDefaultDependencies=no\n");
    }
    root.start(&["/usr/lib/systemd/systemd", "--unit=rot13d.socket"])
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
    let systemd = systemd([SOCKET, SERVICE]);
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
    let systemd = systemd([EACH_SOCKET, EACH_SERVICE]);
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

fn inetd(name: &str) -> Sandbox {
    let inetd = tool("inetd");
    Root::new()
        .server(INSTALLED)
        .devices()
        .programs()
        .file("/etc/inetd.conf", snippet(name))
        .file("/etc/protocols", "tcp 6 TCP\n")
        .file("/etc/passwd", "nobody:x:65534:65534::/:\n")
        .file("/etc/group", "nogroup:x:65534:\n")
        .start(&[inetd.to_str().unwrap(), "-i"])
}

#[test]
fn inetd_starts_one_server_for_all_clients() {
    let inetd = inetd(INETD_WAIT);
    let mut clients = [(); 3].map(|()| inetd.connect("127.0.0.1:43211"));
    for client in &mut clients {
        client.exchange(b"Hello\n");
    }
    let server = inetd.only_server();
    assert_eq!(inetd.user(server), 65534);
    assert_eq!(proc::children(server).len(), 3);
    // The next client comes to a new one when the old one has drained.
    signal_process(server, libc::SIGTERM);
    inetd.wait_draining(server);
    let mut next = inetd.connect("127.0.0.1:43211");
    next.say(b"Next\n");
    for client in &mut clients {
        client.exchange(b"Still here\n");
    }
    drop(clients);
    next.hear_echo_of(b"Next\n");
    assert_ne!(inetd.only_server(), server);
}

#[test]
fn inetd_starts_a_server_for_each_client() {
    let inetd = inetd(INETD_NOWAIT);
    // One socket for each kind of address.
    let mut clients = ["127.0.0.1:43211", "[::1]:43211"].map(|to| inetd.connect(to));
    for client in &mut clients {
        client.exchange(b"Hello\n");
    }
    let servers = inetd.servers();
    assert_eq!(servers.len(), 2);
    assert!(
        servers
            .into_iter()
            .all(|server| inetd.user(server) == 65534)
    );
    for client in &mut clients {
        client.half_close();
        client.assert_end();
    }
    eventually("every server is gone", || inetd.servers().is_empty());
}

#[test]
fn busybox_init_keeps_the_server_running() {
    let init = Root::new()
        .server(INSTALLED_IN_USR)
        .busybox("/sbin/init")
        .devices()
        .file("/etc/inittab", snippet(INITTAB))
        .start(&["/sbin/init"]);
    init.connect("127.0.0.1:43211").exchange(b"Hello\n");
    let server = init.only_server();
    assert_eq!(init.user(server), 65534);
    signal_process(server, libc::SIGKILL);
    eventually("it is started again", || {
        init.servers().iter().any(|&other| other != server)
    });
    init.connect("[::1]:43211").exchange(b"Hello again\n");
}

/// What the init script needs of OpenWrt: runs an action and prints what it
/// tells procd. procd itself passes over a parameter that it does not know.
const RC_COMMON: &str = r#"set -eu
procd_open_instance() { echo open; }
procd_close_instance() { echo close; }
procd_set_param() {
	case $1 in
	command | env | limits | respawn) [ $# -ge 2 ] ;;
	facility | group | nice | no_new_privs | pidfile | stderr | stdout | term_timeout | user) [ $# = 2 ] ;;
	*) echo "no parameter of procd: $*" >&2; exit 1 ;;
	esac
	echo "$*"
}
. "$1"
: "$START" "$STOP"
[ "$USE_PROCD" = 1 ]
"$2_service"
"#;

#[test]
fn openwrt_init_script_tells_procd_what_to_run() {
    let root = Root::new()
        .server(INSTALLED_IN_USR)
        .busybox("/bin/sh")
        .nobody()
        .file("/etc/rc.common", RC_COMMON)
        .file(PROCD, snippet(PROCD));
    for shell in [vec!["sh", "-n"], vec!["busybox", "sh", "-n"]] {
        let file = root.path(PROCD);
        let args = shell[1..].iter().map(OsStr::new).chain([file.as_os_str()]);
        assert_without_complaint(&run(shell[0], args));
    }
    let output = root.command(&[PROCD, "start"]).output().expect("bwrap");
    assert_without_complaint(&output);
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(
        (told.first(), told.last()),
        (Some(&"open"), Some(&"close")),
        "{told:?}"
    );
    assert!(told.contains(&"user nobody"), "{told:?}");
    let mut commands = told.iter().filter_map(|line| line.strip_prefix("command "));
    let command: Vec<&str> = commands.next().expect("a command").split(' ').collect();
    let server = root.start(&command);
    server.connect("127.0.0.1:43211").exchange(b"Hello\n");
    found("its log", || server.log().containing("start "));
}

/// What a Containerfile says.
#[derive(Default)]
struct Image {
    copies: Vec<(String, String)>,
    user: String,
    port: String,
    stop: String,
    command: Vec<String>,
}

impl Image {
    fn parse(text: &str) -> Image {
        let mut image = Image::default();
        for line in text.lines() {
            let (instruction, rest) = line.split_once(' ').expect("an instruction");
            let rest = rest.to_owned();
            match instruction {
                "FROM" => assert_eq!(rest, "scratch"),
                "COPY" => {
                    let (from, to) = rest.split_once(' ').expect("two paths");
                    image.copies.push((from.to_owned(), to.to_owned()));
                }
                "USER" => image.user = rest,
                "EXPOSE" => image.port = rest,
                "STOPSIGNAL" => image.stop = rest,
                "ENTRYPOINT" | "CMD" => {
                    let words = rest
                        .strip_prefix("[\"")
                        .and_then(|rest| rest.strip_suffix("\"]"));
                    let words = words.expect("the form without a shell: there is none");
                    image
                        .command
                        .extend(words.split("\", \"").map(str::to_owned));
                }
                other => panic!("unknown instruction {other}"),
            }
        }
        image
    }
}

/// Process 1, without privileges, of a container that holds nothing but the
/// server: no /dev, no /proc, no shell.
#[test]
fn container_image_serves_drains_and_stops() {
    let image = Image::parse(&snippet(IMAGE));
    assert_eq!(image.user, "65534:65534");
    assert_eq!(image.stop, "SIGTERM");
    let [(from, to)] = &image.copies[..] else {
        panic!("one file: {:?}", image.copies)
    };
    assert_eq!(from, "target/release/rot13d");
    let command: Vec<&str> = image.command.iter().map(String::as_str).collect();
    let mut container = Root::new().server(to).nobody().start(&command);
    let to = format!("127.0.0.1:{}", image.port);
    found("readiness", || {
        container.log().containing("listening on [::]:43211")
    });
    let mut client = container.connect(&to);
    client.exchange(b"Hello\n");
    client.say(b"half a ");
    signal_process(container.init(), libc::SIGTERM);
    eventually("nobody listens any more", || {
        container.try_connect(&to).is_err()
    });
    client.say(b"line\n");
    client.hear_echo_of(b"half a line\n");
    client.half_close();
    client.assert_end();
    assert_eq!(container.wait_exit().code(), Some(0));
    assert!(
        container.log().to_end().ends_with(" exit 0 0/256\n"),
        "{}",
        container.log().text()
    );
}

/// Read, not written: some of them are the whole machine's.
#[test]
fn kernel_knows_every_sysctl() {
    let folder = Scratch::new();
    let file = folder.path("sysctl.conf");
    fs::write(&file, snippet(SYSCTL)).expect("a file");
    let arguments = ["--dry-run", "--load", file.to_str().unwrap()];
    assert_without_complaint(&run("sysctl", arguments));
}
