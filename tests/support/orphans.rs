//! A suite that is killed cleans up as well: one process beside it waits for its
//! end and then kills every session that the suite had started and not yet ended.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

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
        tell("+", leader);
        Watched(leader)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        tell("-", self.0);
    }
}

/// `command` becomes the leader of a session of its own.
pub fn lead(command: &mut Command) -> &mut Command {
    // SAFETY: a plain system call.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        })
    }
}

fn tell(sign: &str, session: i32) {
    static WATCH_INPUT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    #[expect(clippy::zombie_processes, reason = "it ends after the suite")]
    let input = WATCH_INPUT.get_or_init(|| {
        let mut command = Command::new("sh");
        let command = lead(&mut command)
            .args(["-c", WATCH])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut watch = command.spawn().expect("sh runs");
        Mutex::new(watch.stdin.take().expect("a pipe"))
    });
    // Another test's failure is no reason for this one.
    let mut input = input
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    writeln!(input, "{sign} {session}").expect("the watch is there");
}
