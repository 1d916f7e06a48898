//! A terminal of a test's own: what a user sees, and what a server writes to.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Both ends of a pseudo-terminal, pty(7).
pub struct Terminal {
    user: File,
    program: OwnedFd,
}

impl Terminal {
    #[track_caller]
    pub fn open() -> Self {
        let mut name = [0 as libc::c_char; 64];
        // SAFETY: `name` is as long as is said; the descriptors are new.
        unsafe {
            let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
            let user = libc::posix_openpt(flags);
            assert!(user >= 0, "/dev/ptmx: {}", io::Error::last_os_error());
            let user = File::from_raw_fd(user);
            let raw = user.as_raw_fd();
            assert_eq!(libc::grantpt(raw), 0);
            assert_eq!(libc::unlockpt(raw), 0);
            assert_eq!(libc::ptsname_r(raw, name.as_mut_ptr(), name.len()), 0);
            let name = CStr::from_ptr(name.as_ptr());
            let program = libc::open(name.as_ptr(), flags);
            assert!(program >= 0, "{name:?}: {}", io::Error::last_os_error());
            let program = OwnedFd::from_raw_fd(program);
            Terminal { user, program }
        }
    }

    /// The program's end.
    pub fn program(&self) -> OwnedFd {
        self.program.try_clone().expect("a duplicate")
    }

    /// The same, opened anew in another mode.
    #[track_caller]
    pub fn opened(&self, flags: i32) -> OwnedFd {
        let path = format!("/proc/self/fd/{}\0", self.program.as_raw_fd());
        // SAFETY: a text with its end; the descriptor is new.
        unsafe {
            let flags = flags | libc::O_NOCTTY | libc::O_CLOEXEC;
            let raw = libc::open(path.as_ptr().cast(), flags);
            assert!(raw >= 0, "{path}: {}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(raw)
        }
    }

    /// What the user sees, from here on.
    pub fn screen(&self) -> impl Read + Send + use<> {
        self.user.try_clone().expect("a duplicate")
    }

    /// The user's keys.
    #[track_caller]
    pub fn type_in(&self, keys: &[u8]) {
        (&self.user).write_all(keys).expect("a terminal takes keys");
    }

    /// Sets local modes: `libc::TOSTOP`, for `stty tostop`.
    #[track_caller]
    pub fn set(&self, modes: libc::tcflag_t) {
        // SAFETY: all zeros is a valid termios, which tcgetattr fills.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            let raw = self.program.as_raw_fd();
            assert_eq!(libc::tcgetattr(raw, &raw mut settings), 0);
            settings.c_lflag |= modes;
            assert_eq!(libc::tcsetattr(raw, libc::TCSANOW, &raw const settings), 0);
        }
    }

    /// The user's end is closed.
    pub fn hang_up(self) {}
}

/// Makes the terminal that is standard error the one of the caller's session.
pub fn control_by_stderr() -> io::Result<()> {
    // SAFETY: TIOCSCTTY has a number for an argument.
    match unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCSCTTY, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
