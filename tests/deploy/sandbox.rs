//! A program as process 1 of a root file system, a process table and a network
//! of its own, made by bubblewrap.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;

use crate::support::{
    Lines, Scratch, binary, client, eventually, found, proc, signal_process, tool,
};

/// Runs what follows in a control group of its own, and leaves none behind.
/// Arguments: a mount point and the name of the group.
const IN_A_CONTROL_GROUP: &str = r#"
mount -t cgroup2 none "$1"
groups=$1 group=$1/$2
shift 2
mkdir "$group"
echo $$ >"$group/cgroup.procs"
status=0
unshare --cgroup "$@" || status=$?
echo $$ >"$groups/cgroup.procs"
find "$group" -depth -type d -exec rmdir {} \;
exit $status
"#;

/// What the root file system holds.
pub struct Root {
    scratch: Scratch,
    options: Vec<String>,
    control_group: bool,
}

impl Root {
    /// Nothing.
    pub fn new() -> Root {
        let root = Root {
            scratch: Scratch::new(),
            options: Vec::new(),
            control_group: false,
        };
        fs::create_dir(root.path("/")).expect("a root folder");
        root
    }

    /// Where a file of it is to be found from outside.
    pub fn path(&self, file: &str) -> PathBuf {
        self.scratch.path(&format!("root{file}"))
    }

    fn options(mut self, options: &[&str]) -> Root {
        self.options
            .extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    pub fn file(self, file: &str, content: impl AsRef<[u8]>) -> Root {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).expect("a folder");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("chmod");
        self
    }

    pub fn server(self, file: &str) -> Root {
        self.file(file, fs::read(binary()).expect("the server"))
    }

    /// A tool that is perhaps not among the machine's programs but only unpacked,
    /// and its path.
    pub fn tool(self, name: &str) -> (Root, String) {
        let path = format!("/usr/local/sbin/{name}");
        let program = fs::read(tool(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        (self.file(&path, program), path)
    }

    /// A copy of a folder or file with everything in it.
    pub fn copy(self, from: &Path, to: &str) -> Root {
        let path = self.path(to);
        fs::create_dir_all(path.parent().unwrap()).expect("a folder");
        let copied = Command::new("cp").arg("-a").arg(from).arg(path).status();
        assert!(copied.expect("cp").success(), "{}", from.display());
        self
    }

    /// A folder of the machine, to be read only.
    pub fn bind(self, folder: &str) -> Root {
        self.options(&["--ro-bind", folder, folder])
    }

    pub fn symlink(self, file: &str, to: &str) -> Root {
        self.options(&["--symlink", to, file])
    }

    pub fn temporary(self, folder: &str) -> Root {
        self.options(&["--tmpfs", folder])
    }

    pub fn busybox(self, file: &str) -> Root {
        let busybox = fs::read(tool("busybox")).expect("busybox");
        let interpreter = b"/ld-linux";
        let dynamic = busybox
            .windows(interpreter.len())
            .any(|bytes| bytes == interpreter);
        assert!(
            !dynamic,
            "busybox needs libraries: apt-get install busybox-static"
        );
        self.file(file, busybox)
    }

    /// `/dev` and `/proc`, through which nothing of the machine can be changed.
    pub fn devices(self) -> Root {
        self.options(&["--dev", "/dev", "--proc", "/proc"])
            .options(&["--ro-bind", "/proc/sys", "/proc/sys"])
    }

    /// The machine's programs, to be read only; `/usr/local` is not the machine's.
    pub fn programs(mut self) -> Root {
        let local = self.path("/usr/local");
        let local = local.to_str().expect("UTF-8");
        self = self.options(&[
            "--ro-bind",
            "/usr",
            "/usr",
            "--ro-bind",
            local,
            "/usr/local",
        ]);
        for folder in ["bin", "lib", "lib64", "sbin"] {
            self = self.symlink(&format!("/{folder}"), &format!("usr/{folder}"));
        }
        self.temporary("/run").temporary("/tmp")
    }

    /// Control groups that may be made and changed.
    pub fn control_groups(mut self) -> Root {
        let (groups, name) = self.groups();
        fs::create_dir(&groups).expect("a mount point");
        self.control_group = true;
        let group = format!("{groups}/{name}");
        self.options(&["--bind", &group, "/sys/fs/cgroup"])
    }

    fn groups(&self) -> (String, String) {
        let groups = self.scratch.path("groups");
        let name = groups.parent().unwrap().file_name().unwrap();
        let name = format!("rot13d-{}", name.to_str().expect("UTF-8"));
        (groups.into_os_string().into_string().expect("UTF-8"), name)
    }

    /// No privilege.
    pub fn nobody(self) -> Root {
        self.options(&["--unshare-user", "--uid", "65534", "--gid", "65534"])
            .options(&["--cap-drop", "ALL"])
    }

    pub fn variable(self, name: &str, value: &str) -> Root {
        self.options(&["--setenv", name, value])
    }

    /// Process 1, not yet started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = if self.control_group {
            let (groups, name) = self.groups();
            let mut command = Command::new(tool("unshare"));
            command.args(["--mount", "sh", "-ec", IN_A_CONTROL_GROUP, "sh"]);
            command.args([&groups, &name]).arg(tool("bwrap"));
            command
        } else {
            Command::new(tool("bwrap"))
        };
        for space in ["pid", "net", "ipc", "uts"] {
            command.arg(format!("--unshare-{space}"));
        }
        // It may believe that it is the machine's own, and power it off.
        command.args([
            "--as-pid-1",
            "--die-with-parent",
            "--cap-drop",
            "CAP_SYS_BOOT",
        ]);
        command
            .arg("--clearenv")
            .arg("--bind")
            .arg(self.path("/"))
            .arg("/");
        command.args(&self.options).args(words);
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub fn start(self, words: &[&str]) -> Sandbox {
        let mut command = self.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // Not the terminal's: nobody but us is to signal it.
        let mut process = command.process_group(0).spawn().expect("bwrap");
        let log = Lines::of(process.stderr.take());
        let init = found("process 1", || {
            let ended = process.try_wait().expect("wait");
            assert!(ended.is_none(), "{words:?}: {ended:?}: {}", log.to_end());
            // It is still bwrap, and outside, until all is in its place.
            first_process_below(process.id() as i32).filter(|&pid| {
                let exe = fs::read_link(format!("/proc/{pid}/exe"));
                exe.is_ok_and(|exe| !exe.ends_with("bwrap"))
            })
        });
        let _root = self;
        Sandbox {
            process,
            init,
            log,
            _root,
        }
    }
}

/// The process below `pid` that is number 1 in its own eyes.
fn first_process_below(pid: i32) -> Option<i32> {
    proc::children(pid).into_iter().find_map(|child| {
        let numbers = proc::status(child, "NSpid")?;
        let first = numbers.split_whitespace().skip(1).last() == Some("1");
        if first {
            Some(child)
        } else {
            first_process_below(child)
        }
    })
}

/// Running. Dropped, everything in it is killed.
pub struct Sandbox {
    process: Child,
    init: i32,
    log: Lines,
    _root: Root,
}

impl Sandbox {
    /// Process 1, as it is numbered outside.
    pub fn init(&self) -> i32 {
        self.init
    }

    /// Its standard error.
    pub fn log(&self) -> &Lines {
        &self.log
    }

    /// Connects from within its network.
    pub fn try_connect(&self, to: &str) -> io::Result<TcpStream> {
        let to: SocketAddr = to.parse().expect("address:port");
        let network = File::open(format!("/proc/{}/ns/net", self.init))?;
        let in_network = move || {
            // SAFETY: changes the network of this thread alone.
            let result = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
            client::connect(to, None, None)
        };
        thread::spawn(in_network).join().expect("no panic")
    }

    /// Connects once somebody listens.
    #[track_caller]
    pub fn connect(&self, to: &str) -> TcpStream {
        found("somebody listens", || self.try_connect(to).ok())
    }

    /// Runs a program to its end beside process 1.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(tool("nsenter"));
        command.args(["--mount", "--pid", "--net", "--cgroup", "--target"]);
        command.arg(self.init.to_string()).args(words);
        command.output().expect("nsenter")
    }

    /// The servers that process 1, or what it has started, has started.
    pub fn servers(&self) -> Vec<i32> {
        let is_server = |pid: i32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            exe.is_ok_and(|exe| exe.file_name() == binary().file_name())
        };
        let mut servers = Vec::new();
        let mut below = proc::children(self.init);
        while let Some(pid) = below.pop() {
            if is_server(pid) {
                servers.push(pid);
            } else {
                below.extend(proc::children(pid));
            }
        }
        servers
    }

    #[track_caller]
    pub fn only_server(&self) -> i32 {
        found("one server", || match self.servers()[..] {
            [pid] => Some(pid),
            _ => None,
        })
    }

    /// Waits until `server` does not listen any more.
    #[track_caller]
    pub fn wait_draining(&self, server: i32) {
        eventually("the listener is closed", || {
            let mut open = proc::descriptors(server).into_values();
            !open.any(|target| target.starts_with("socket:"))
        });
    }

    /// The user that a process of it runs as.
    #[track_caller]
    pub fn user(&self, pid: i32) -> u32 {
        let users = proc::status(pid, "Uid").expect("it runs");
        users
            .split_whitespace()
            .next()
            .and_then(|user| user.parse().ok())
            .expect("a number")
    }

    /// How process 1 ended; waits for that.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let process = &mut self.process;
        found("process 1 ends", || process.try_wait().expect("wait"))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.process.try_wait().expect("wait").is_none() {
            signal_process(self.init, libc::SIGKILL);
            let _ = self.process.wait();
        }
        if thread::panicking() {
            eprintln!("standard error: {:#?}", self.log.all());
        }
    }
}
