//! A suite that is killed cleans up as well: one process beside it waits for its
//! end and then kills every session that the suite had started and not yet ended.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// Reads `+ SESSION` and `- SESSION`; at the end, which comes with that of the suite
/// however that ends, kills what is left in the sessions that are left.
const WATCH: &str = r#"
trap '' HUP INT QUIT TERM
left=' '
while read -r sign session; do
    case $sign in
    +) left="$left$session " ;;
    -) left="${left%% "$session" *} ${left#* "$session" }" ;;
    esac
done
for session in $left; do
    again=yes
    while [ "$again" ]; do
        again=
        for stat in /proc/[0-9]*/stat; do
            { read -r line <"$stat"; } 2>/dev/null || continue
            # The state, the parent, the group, the session.
            set -- ${line##*) }
            [ "$4" = "$session" ] && [ "$1" != Z ] || continue
            pid=${stat#/proc/}
            kill -KILL "${pid%/stat}" 2>/dev/null && again=yes
        done
    done
done
"#;

/// A session that must not outlive the suite; until drop.
pub struct Watched(i32);

impl Watched {
    /// That of process `leader`, which is [`leading`](lead) it.
    pub fn session(leader: i32) -> Self {
        Watched(leader)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        tell(watch(), '-', self.0).expect("the watch is there");
    }
}

/// `command` becomes the leader of a session of its own. It says so to the watch
/// itself: the suite may be killed before it knows that there is such a process.
pub fn lead(command: &mut Command) -> &mut Command {
    let watch = watch();
    // SAFETY: plain system calls, no allocation.
    unsafe {
        command.pre_exec(move || match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            session => tell(watch, '+', session),
        })
    }
}

/// Writes `+ SESSION` or `- SESSION`, without an allocation and in one piece (pipe(7)).
fn tell(watch: RawFd, sign: char, session: i32) -> io::Result<()> {
    let mut line = *b"                \n";
    write!(&mut line[..16], "{sign} {session}")?;
    // SAFETY: the line is valid.
    match unsafe { libc::write(watch, line.as_ptr().cast(), line.len()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The pipe to the watch, which is started when it is needed first.
fn watch() -> RawFd {
    static WATCH_INPUT: OnceLock<ChildStdin> = OnceLock::new();
    #[expect(clippy::zombie_processes, reason = "it ends after the suite")]
    let input = WATCH_INPUT.get_or_init(|| {
        let mut command = Command::new("sh");
        // SAFETY: a plain system call.
        unsafe {
            command.pre_exec(|| match libc::setsid() {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            })
        };
        command
            .args(["-c", WATCH])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut watch = command.spawn().expect("sh runs");
        watch.stdin.take().expect("a pipe")
    });
    input.as_raw_fd()
}
