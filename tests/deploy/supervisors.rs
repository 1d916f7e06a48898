//! What keeps a server running: BusyBox init, OpenWrt's procd, OpenRC, sysvinit's
//! scripts, runit, s6.

use std::thread;

use super::sandbox::{Root, Sandbox};
use super::{
    BUSYBOX, INSTALLED, INSTALLED_IN_USR, OPENRC, OPENWRT, RUNIT, RUNIT_LOG, S6, S6_LOG,
    S6_NOTIFICATION, S6_TIMEOUT, SYSVINIT, assert_without_complaint,
};
use crate::support::{Dialogue, eventually, found, signal_process, tool, unpacked_tools};

const HERE: &str = "127.0.0.1:43211";

/// The server runs as nobody, and another takes its place when it is killed.
#[track_caller]
fn assert_kept_running(supervisor: &Sandbox) {
    supervisor.connect(HERE).exchange(b"Hello\n");
    let server = supervisor.only_server();
    assert_eq!(supervisor.user(server), 65534);
    signal_process(server, libc::SIGKILL);
    eventually("it is started again", || {
        supervisor.servers().iter().any(|&other| other != server)
    });
    supervisor.connect("[::1]:43211").exchange(b"Hello again\n");
}

/// `stop` ends in order, and not before the last client has gone.
#[track_caller]
fn assert_stop_waits_for_clients(supervisor: &Sandbox, stop: &[&str]) {
    let mut client = supervisor.connect(HERE);
    client.exchange(b"Hello\n");
    let server = supervisor.only_server();
    thread::scope(|scope| {
        let stopped = scope.spawn(|| supervisor.run(stop));
        supervisor.wait_draining(server);
        client.exchange(b"Still here\n");
        client.half_close();
        client.assert_end();
        let stopped = stopped.join().expect("no panic");
        assert!(stopped.status.success(), "{stop:?}: {stopped:?}");
    });
    eventually("no server is left", || supervisor.servers().is_empty());
}

/// The text of a script that gives clients a minute, however slow this machine is.
fn patient(text: &str) -> String {
    let patient = text
        .replace("-k 10", "-k 60")
        .replace("-k 5", "-k 60")
        .replace("TERM/15/", "TERM/90/");
    assert_ne!(text, patient);
    patient
}

#[test]
fn busybox_init_keeps_the_server_running() {
    let init = Root::new()
        .server(INSTALLED_IN_USR)
        .busybox("/sbin/init")
        .devices()
        .file(BUSYBOX.to, BUSYBOX.text())
        .start(&["/sbin/init"]);
    assert_kept_running(&init);
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
        .file(OPENWRT.to, OPENWRT.text());
    let output = root.command(&[OPENWRT.to, "start"]).output();
    let output = output.expect("bwrap");
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
    server.connect(HERE).exchange(b"Hello\n");
    found("its log", || server.log().containing("start "));
}

/// A process 1 that does nothing but reap, beside which scripts can be run.
const NO_SERVICE: &str = "::sysinit:/bin/true\n";

/// What its own start leaves behind.
const OPENRC_HAS_STARTED: &str = "cd /run && mkdir -p openrc && cd openrc &&
    mkdir -p exclusive started starting stopping inactive wasinactive hotplugged \
        failed scheduled daemons options tmp && : >softlevel";

#[test]
fn openrc_starts_supervises_and_stops_the_server() {
    let unpacked = unpacked_tools();
    tool("openrc-run");
    let mut root = Root::new()
        .server(INSTALLED)
        .busybox("/sbin/init")
        .devices()
        .file("/etc/inittab", NO_SERVICE)
        .file(OPENRC.to, patient(&OPENRC.text()))
        // It needs a service of this name, whichever it is.
        .file("/etc/init.d/net", "#!/sbin/openrc-run\nstart() { :; }\n")
        .file("/etc/passwd", "root:x:0:0::/:\n")
        .file("/etc/group", "root:x:0:\n")
        .file("/var/log/empty", "")
        .temporary("/tmp")
        .temporary("/run");
    // Its own folder among the machine's libraries.
    let folders = std::fs::read_dir("/usr/lib").expect("libraries");
    let libraries = folders
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains("-linux-gnu"));
    for folder in libraries.chain(["/usr/bin".into(), "/usr/lib64".into()]) {
        if folder.is_dir() {
            root = root.bind(folder.to_str().expect("UTF-8"));
        }
    }
    // Older packages have it below /, newer ones below /usr.
    for (from, to) in [("sbin", "/sbin"), ("lib/rc", "/usr/lib/rc")] {
        let old = unpacked.join(from);
        let from = if old.is_dir() {
            old
        } else {
            unpacked.join("usr").join(from)
        };
        root = root.copy(&from.join("."), to);
    }
    let init = root
        .symlink("/var/run", "/run")
        .symlink("/bin", "usr/bin")
        .symlink("/lib", "usr/lib")
        .symlink("/lib64", "usr/lib64")
        .start(&["/sbin/init"]);
    eventually("OpenRC believes that it has started this system", || {
        let made = init.run(&["sh", "-c", OPENRC_HAS_STARTED]);
        made.status.success()
    });
    let started = init.run(&[OPENRC.to, "start"]);
    assert!(started.status.success(), "{started:?}");
    assert_kept_running(&init);
    assert!(init.run(&[OPENRC.to, "status"]).status.success());
    let log = String::from_utf8(init.run(&["cat", "/var/log/rot13d.log"]).stdout);
    assert!(log.expect("UTF-8").contains("listening on "));
    assert_stop_waits_for_clients(&init, &[OPENRC.to, "stop"]);
}

#[test]
fn sysvinit_script_starts_and_stops_the_server() {
    let init = Root::new()
        .server(INSTALLED)
        .busybox("/usr/local/sbin/init")
        .devices()
        .programs()
        .file("/etc/inittab", NO_SERVICE)
        .file("/var/log/empty", "")
        .file(SYSVINIT.to, patient(&SYSVINIT.text()))
        .start(&["/usr/local/sbin/init"]);
    let script = |action: &str| init.run(&[SYSVINIT.to, action]).status.code();
    assert_eq!(script("status"), Some(3), "not running");
    assert_eq!(script("start"), Some(0));
    // (start-stop-daemon knows it by its file, and returns before that is executed.)
    init.connect(HERE).exchange(b"Hello\n");
    assert_eq!(script("start"), Some(0), "it runs, as was asked");
    let server = init.only_server();
    assert_eq!(init.user(server), 65534);
    assert_eq!(script("status"), Some(0));
    assert_eq!(script("restart"), Some(0));
    init.connect(HERE).exchange(b"Hello again\n");
    assert_ne!(init.only_server(), server);
    assert_stop_waits_for_clients(&init, &[SYSVINIT.to, "stop"]);
    assert_eq!(script("status"), Some(3));
    assert_eq!(script("stop"), Some(0), "it does not run, as was asked");
    assert_eq!(script("reload"), Some(2));
    let log = init.run(&["grep", "-c", "listening on ", "/var/log/rot13d.log"]);
    assert_eq!(log.stdout, b"2\n");
}

#[test]
fn runit_keeps_the_server_running_and_logs() {
    let runit = Root::new()
        .server(INSTALLED)
        .devices()
        .programs()
        .file(RUNIT.to, patient(&RUNIT.text()))
        .file(RUNIT_LOG.to, RUNIT_LOG.text())
        .start(&["runsvdir", "/etc/sv"]);
    assert_kept_running(&runit);
    eventually("its log", || {
        let log = runit.run(&["grep", "-c", " rot13d: start ", "/var/log/rot13d/current"]);
        log.stdout == b"2\n"
    });
    assert_stop_waits_for_clients(&runit, &["sv", "-w", "60", "stop", "/etc/sv/rot13d"]);
}

#[test]
fn s6_waits_until_the_server_is_ready_keeps_it_running_and_logs() {
    let s6 = Root::new()
        .server(INSTALLED)
        .devices()
        .programs()
        .file("/var/log/empty", "")
        .file(S6.to, patient(&S6.text()))
        .file(S6_NOTIFICATION.to, S6_NOTIFICATION.text())
        .file(S6_TIMEOUT.to, S6_TIMEOUT.text().replace("15000", "90000"))
        .file(S6_LOG.to, S6_LOG.text())
        .start(&["s6-svscan", "/etc/s6"]);
    eventually("s6-supervise runs", || {
        s6.run(&["s6-svok", "/etc/s6/rot13d"]).status.success()
    });
    let ready = s6.run(&["s6-svwait", "-U", "-t", "60000", "/etc/s6/rot13d"]);
    assert_without_complaint(&ready);
    // Ready is ready: no second try.
    let client = s6.try_connect(HERE);
    client.expect("it listens").exchange(b"Hello\n");
    assert_kept_running(&s6);
    eventually("its log", || {
        let log = s6.run(&["grep", "-c", " rot13d: start ", "/var/log/rot13d/current"]);
        log.stdout == b"3\n"
    });
    let stop = ["s6-svc", "-wD", "-T", "60000", "-d", "/etc/s6/rot13d"];
    assert_stop_waits_for_clients(&s6, &stop);
}
