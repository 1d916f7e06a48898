//! What `make dist` makes: the same to the byte in another folder, complete, and
//! dpkg installs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::{env, fs};

use super::sandbox::Root;
use super::{
    INSTALLED, INSTALLED_IN_USR, SYSTEMD_SERVICE, SYSTEMD_SOCKET, assert_without_complaint,
    files_below, repository, run,
};
use crate::support::tree::{Tree, succeeded};
use crate::support::{Dialogue, Scratch, tool};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// When the sources were changed last.
const TIME: &str = "1700000000";

/// The target that this machine is.
fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = Command::new(rustc).arg("-vV").output().expect("rustc");
        let version = String::from_utf8(version.stdout).expect("UTF-8");
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        host.expect("the host").to_owned()
    })
}

fn name() -> String {
    format!("rot13d-{VERSION}-{}", host())
}

/// The sources, and what `make dist` makes of them for this machine.
struct Distribution {
    tree: Tree,
    _scratch: Scratch,
}

impl Distribution {
    fn make(folder: &str, prepare: impl FnOnce(&Tree), time: Option<&str>) -> Distribution {
        let scratch = Scratch::new();
        let tree = Tree::copy_to(scratch.path(folder));
        prepare(&tree);
        let mut make = tree.command(tool("make"));
        make.args(["dist", &format!("BOARDS={}", host())]);
        match time {
            Some(time) => make.env("SOURCE_DATE_EPOCH", time),
            None => make.env_remove("SOURCE_DATE_EPOCH"),
        };
        succeeded(&make.output().expect("make"));
        Distribution {
            tree,
            _scratch: scratch,
        }
    }

    /// The same for all tests that need one at the same time.
    fn shared() -> Arc<Distribution> {
        static SHARED: Mutex<Weak<Distribution>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Distribution::make("sources", |_| {}, Some(TIME)));
            *shared = Arc::downgrade(&made);
            made
        })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.tree.path("target/dist").join(file)
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let folder = self.tree.path("target/dist");
        let names = files_below(&folder).into_iter();
        names
            .map(|name| (name.clone(), fs::read(folder.join(name)).expect("a file")))
            .collect()
    }
}

fn git(tree: &Tree, args: &[&str]) {
    let mut git = tree.command(tool("git"));
    git.args([
        "-c",
        "user.name=rot13d",
        "-c",
        "user.email=rot13d@localhost",
    ]);
    git.env("GIT_COMMITTER_DATE", format!("@{TIME} +0000"));
    succeeded(&git.args(args).output().expect("git"));
}

#[test]
fn packages_are_the_same_to_the_byte_in_another_folder() {
    let committed = |tree: &Tree| {
        git(tree, &["init", "--quiet"]);
        git(tree, &["add", "--all"]);
        git(tree, &["commit", "--quiet", "--message", "all of it"]);
    };
    // The one is told the time, the other finds it.
    let other = Distribution::make("some/other/folder", committed, None);
    let dist = Distribution::shared();
    let (files, others) = (dist.files(), other.files());
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        others.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &files {
        assert!(*bytes == others[name], "{name} is another");
    }
    let name = name();
    let kinds = [".cdx.json", ".deb", ".tar.gz"].map(|kind| format!("{name}{kind}"));
    let expected: BTreeSet<_> = kinds
        .iter()
        .chain([&"SHA256SUMS".to_owned()])
        .cloned()
        .collect();
    assert_eq!(files.into_keys().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn checksums_are_those_of_all_packages() {
    let dist = Distribution::shared();
    let check = Command::new(tool("sha256sum"))
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(dist.tree.path("target/dist"))
        .output()
        .expect("sha256sum");
    assert_without_complaint(&check);
    let checked = String::from_utf8(check.stdout)
        .expect("UTF-8")
        .lines()
        .count();
    assert_eq!(checked, dist.files().len() - 1);
}

#[test]
fn tarball_has_the_server_its_manual_the_licence_and_contrib() {
    let dist = Distribution::shared();
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("unpacked")).expect("a folder");
    let (tarball, folder) = (
        dist.path(&format!("{}.tar.gz", name())),
        scratch.path("unpacked"),
    );
    let args = [
        "-xzf",
        tarball.to_str().unwrap(),
        "-C",
        folder.to_str().unwrap(),
    ];
    assert_without_complaint(&run("tar", args));
    let unpacked = folder.join(name());
    let built = dist.tree.path(&format!("target/{}/release/rot13d", host()));
    assert_eq!(
        fs::read(unpacked.join("rot13d")).unwrap(),
        fs::read(built).unwrap()
    );
    let mut expected: BTreeSet<String> = files_below(&repository().join("contrib"))
        .into_iter()
        .map(|file| format!("contrib/{file}"))
        .collect();
    expected.extend(["rot13d", "rot13d.8", "LICENSE", "README.md"].map(str::to_owned));
    expected.insert(format!("{}.cdx.json", name()));
    assert_eq!(files_below(&unpacked), expected);
    for script in ["openrc/rot13d", "runit/run"] {
        let unpacked = fs::metadata(unpacked.join("contrib").join(script)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&unpacked.permissions());
        assert_eq!(mode & 0o777, 0o755, "{script}");
    }
}

#[test]
fn list_of_parts_is_what_cargo_builds() {
    let dist = Distribution::shared();
    let list = fs::read_to_string(dist.path(&format!("{}.cdx.json", name()))).unwrap();
    let tree = [
        "tree", "--edges", "normal", "--prefix", "none", "--format", "{p}",
    ];
    let tree = dist
        .tree
        .cargo(&[&tree[..], &["--target", host()]].concat());
    succeeded(&tree);
    let tree = String::from_utf8(tree.stdout).expect("UTF-8");
    // NAME vVERSION, and more where it is not from the registry.
    let built: BTreeSet<String> = tree
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a name");
            let version = words.next().and_then(|word| word.strip_prefix('v'));
            format!("{name}@{}", version.expect("a version"))
        })
        .collect();
    let mark = "\"purl\": \"pkg:cargo/";
    let listed: BTreeSet<String> = list
        .split(mark)
        .skip(1)
        .map(|rest| rest.split(['"', '?']).next().unwrap().to_owned())
        .collect();
    assert_eq!(listed, built);
    assert!(built.len() > 2, "{built:?}");
}

/// What a system must have already.
const STATUS: &str = "\
Package: init-system-helpers
Status: install ok installed
Architecture: all
Version: 1.65
Maintainer: nobody
Description: what every Debian has
";

/// A system of Debian's in which nothing is installed but what every one has.
fn empty_system(root: &Path) {
    let dpkg = root.join("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(dpkg.join(folder)).expect("a folder");
    }
    fs::write(dpkg.join("status"), STATUS).expect("a file");
    fs::write(dpkg.join("info/init-system-helpers.list"), "/.\n").expect("a file");
}

/// dpkg, which can write nowhere else than below `root`.
fn dpkg(root: &Path, args: &[&str]) -> Output {
    let root = root.to_str().expect("UTF-8");
    let mut command = Command::new(tool("bwrap"));
    command.args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]);
    // The sources may be below /tmp.
    let sources = env!("CARGO_TARGET_TMPDIR");
    command.args(["--tmpfs", "/run", "--tmpfs", "/tmp"]);
    command.args(["--ro-bind", sources, sources, "--bind", root, root]);
    command
        .args(["--unshare-net", "--unshare-pid", "--"])
        .arg(tool("dpkg"));
    command.arg(format!("--root={root}"));
    command.arg(format!("--log={root}/var/lib/dpkg/log"));
    // There is no shell in there.
    command.args(["--force-script-chrootless"]).args(args);
    command.output().expect("bwrap")
}

#[test]
fn dpkg_installs_a_server_that_runs() {
    let dist = Distribution::shared();
    let package = dist.path(&format!("{}.deb", name()));
    let root = Root::new();
    empty_system(&root.path("/"));
    let folder = root.path("/");
    let installed = dpkg(&folder, &["--install", package.to_str().unwrap()]);
    assert_without_complaint(&installed);
    for unit in [SYSTEMD_SOCKET, SYSTEMD_SERVICE] {
        let path = unit.to.replace("/etc/", "/usr/lib/");
        let text = fs::read_to_string(root.path(&path)).expect("a unit");
        assert_eq!(text, unit.text().replace(INSTALLED, INSTALLED_IN_USR));
    }
    let version = root
        .command(&[INSTALLED_IN_USR, "-V"])
        .output()
        .expect("bwrap");
    assert_without_complaint(&version);
    let version = String::from_utf8(version.stdout).expect("UTF-8");
    // Whatever C library the target is named for: it has none.
    let machine = host().split('-').next().expect("an architecture");
    assert_eq!(version, format!("rot13d {VERSION} {machine}-linux\n"));
    let server = root.nobody().start(&[INSTALLED_IN_USR]);
    server.connect("127.0.0.1:43211").exchange(b"Hello\n");
    drop(server);
}

#[test]
fn dpkg_leaves_nothing_behind() {
    let dist = Distribution::shared();
    let package = dist.path(&format!("{}.deb", name()));
    let scratch = Scratch::new();
    let root = scratch.path("root");
    empty_system(&root);
    assert_without_complaint(&dpkg(&root, &["--install", package.to_str().unwrap()]));
    assert!(root.join("usr/sbin/rot13d").is_file());
    assert_without_complaint(&dpkg(&root, &["--purge", "rot13d"]));
    let mut left = files_below(&root);
    left.retain(|file| !file.starts_with("var/lib/dpkg/"));
    assert!(left.is_empty(), "{left:?}");
}
