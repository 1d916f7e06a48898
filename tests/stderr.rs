//! Standard error, whatever it is (rot13d(8), DIAGNOSTICS): a message neither
//! stops, slows nor kills the server, and is there where it could be written.
//!
//! Guards against a server that stops in write(2) at a terminal that nobody
//! reads (tmux 5087, moby 35865), is killed by a log file at its size limit
//! (proftpd 463, node 27798), is stopped as a background job (virtme-ng 453),
//! or waits for a kernel log to say that it is writable (talos 214).

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::crowd::{LINE, all_served_to_their_end, crowd, served};
use crate::support::kernel::{mount_tmpfs, private_mounts, without_proc};
use crate::support::network::in_own_network;
use crate::support::pipes::{CAPACITY, full_pipe, pipe, set_flags};
use crate::support::terminal::{Terminal, control_by_stderr};
use crate::support::{
    Builder, Dialogue, Lines, Ready, Scratch, Server, eventually, found, holds_within,
};

/// One after the other, each with two messages: together more than any kind of
/// standard error holds unread.
const CLIENTS: usize = 320;

/// Where the server runs: what it is given as standard error is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Usual,
    WithoutProc,
    /// Standard error is somebody else's: it can be used and not opened anew,
    /// as the terminal after su(1).
    Foreign,
}

use Place::{Foreign, Usual, WithoutProc};

const EVERYWHERE: [Place; 3] = [Usual, WithoutProc, Foreign];
/// For what belongs to nobody.
const BOTH: [Place; 2] = [Usual, WithoutProc];

impl Place {
    #[track_caller]
    fn server(self, what: &str, stderr: OwnedFd) -> Builder {
        // To be seen when the test fails.
        println!("{what}, {self:?}");
        let server = Server::new().args(["-v"]);
        let server = match self {
            Usual => server,
            WithoutProc => without_proc(server),
            Foreign => {
                // SAFETY: touches no memory.
                let result = unsafe { libc::fchown(stderr.as_raw_fd(), 12345, 12345) };
                assert_eq!(result, 0, "fchown: {}", io::Error::last_os_error());
                without_overriding(server)
            }
        };
        server.stderr(stderr)
    }
}

/// Root without the right to open what is not root's: capabilities(7).
fn without_overriding(server: Builder) -> Builder {
    // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH.
    server.before_exec(|| {
        for capability in [1, 2] {
            // SAFETY: a prctl without pointers.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    })
}

/// Looks all the time whether somebody has made an open file description
/// non-blocking: it would be so for everybody who has it.
struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<bool>>,
}

impl Watch {
    fn start(file: &OwnedFd) -> Self {
        let file = file.try_clone().expect("a duplicate");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let thread = thread::spawn(move || {
            while !is_over.load(Relaxed) {
                if flags(&file) & libc::O_NONBLOCK != 0 {
                    return true;
                }
                thread::sleep(Duration::from_micros(50));
            }
            flags(&file) & libc::O_NONBLOCK != 0
        });
        let thread = Some(thread);
        Watch { over, thread }
    }

    #[track_caller]
    fn assert_blocking(mut self) {
        self.over.store(true, Relaxed);
        let changed = self.thread.take().expect("once").join().expect("it looks");
        assert!(!changed, "somebody else's description does not block");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn flags(file: &impl AsRawFd) -> i32 {
    // SAFETY: touches no memory.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) }
}

/// Everybody is served although nobody reads.
#[track_caller]
fn assert_serves(server: &Server) {
    for _ in 0..CLIENTS {
        served(server);
    }
    all_served_to_their_end(crowd(server, 20));
    server.wait_childless();
}

/// The server hears that it shall end, serves who is there and ends.
#[track_caller]
fn assert_drains(mut server: Server) {
    let clients = crowd(&server, 2);
    server.signal(libc::SIGTERM);
    eventually("nobody listens", || server.try_connect().is_err());
    all_served_to_their_end(clients);
    assert_eq!(server.wait_exit().code(), Some(0));
}

/// Whatever is done with it: nothing is to be read from this one.
#[track_caller]
fn assert_harmless(place: Place, what: &str, stderr: impl Into<OwnedFd>) {
    let stderr = stderr.into();
    let watch = Watch::start(&stderr);
    let server = place.server(what, stderr).start();
    assert_serves(&server);
    assert_drains(server);
    watch.assert_blocking();
}

/// Nobody reads it at first, which harms nobody; then everything that is said
/// is there, from its first line on.
#[track_caller]
fn assert_heard(
    place: Place,
    what: &str,
    stderr: impl Into<OwnedFd>,
    reader: impl Read + Send + 'static,
) {
    let stderr = stderr.into();
    let watch = Watch::start(&stderr);
    let server = place.server(what, stderr).start();
    assert_serves(&server);
    let lines = Lines::of(Some(reader));
    assert_says(&server, &lines);
    assert_drains(server);
    watch.assert_blocking();
    // Nothing is said in part, and nothing twice.
    let all = lines.all();
    assert!(all[0].starts_with("rot13d: listening on "), "{all:#?}");
    assert!(all.len() > 10, "what there was room for: {all:#?}");
    for line in &all[1..] {
        let text = line.strip_prefix("rot13d: ").unwrap_or_default();
        let first = text.split(' ').next().unwrap_or_default();
        assert!(["start", "end", "draining"].contains(&first), "{line:?}");
    }
    assert_eq!(count(&all, "listening"), 1, "{all:#?}");
}

fn count(lines: &[String], word: &str) -> usize {
    let start = format!("rot13d: {word} ");
    lines.iter().filter(|line| line.starts_with(&start)).count()
}

/// With somebody who reads, all that is said of a client arrives.
#[track_caller]
fn assert_says(server: &Server, lines: &Lines) {
    for _ in 0..3 {
        // Till there is room a message may get lost.
        eventually("it is said that a client has come and gone", || {
            let client = served(server);
            let pid = server.only_child();
            let start = format!("rot13d: start {pid} ");
            let end = format!("rot13d: end {pid} exit 0 0/256");
            let said = |text: &str| holds_within(SOON, || lines.containing(text).is_some());
            let started = said(&start);
            drop(client);
            server.wait_childless();
            started && said(&end)
        });
    }
}

/// A message that has not come by then does not come.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn pipe_that_nobody_reads_stops_nothing() {
    for place in EVERYWHERE {
        let (reader, writer) = pipe();
        assert_heard(place, "a pipe", writer, reader);
    }
}

#[test]
fn pipe_that_is_full_from_the_start_stops_nothing() {
    for place in EVERYWHERE {
        let (mut reader, writer) = full_pipe();
        let watch = Watch::start(&writer);
        let server = place.server("a full pipe", writer).start();
        assert_serves(&server);
        reader.read_exact(&mut [0; CAPACITY]).unwrap();
        let lines = Lines::of(Some(reader));
        assert_says(&server, &lines);
        assert_drains(server);
        watch.assert_blocking();
    }
}

#[test]
fn pipe_whose_reader_is_gone_stops_nothing() {
    for place in EVERYWHERE {
        let (reader, writer) = pipe();
        drop(reader);
        assert_harmless(place, "a broken pipe", writer);
    }
}

/// The writes of the other one wait for room, as ever, and no line is mixed
/// with another.
#[test]
fn pipe_is_shared_with_another_writer() {
    for place in EVERYWHERE {
        for is_read in [true, false] {
            let (reader, writer) = pipe();
            let mut other = File::from(writer.try_clone().unwrap());
            let watch = Watch::start(&writer);
            let over = &AtomicBool::new(false);
            let server = place.server("a shared pipe", writer).start();
            let spare = reader.try_clone().unwrap();
            let mut lines = is_read.then(|| Lines::of(Some(reader)));
            let said = thread::scope(|scope| {
                let other = scope.spawn(move || {
                    let mut said = 0;
                    while !over.load(Relaxed) {
                        let line = format!("other: {said}\n");
                        other
                            .write_all(line.as_bytes())
                            .expect("a write that waits");
                        said += 1;
                        thread::sleep(Duration::from_micros(200));
                    }
                    said
                });
                let _end = End(over);
                assert_serves(&server);
                // The other one may wait in its write, for ever but for this.
                let lines = lines.get_or_insert_with(|| Lines::of(Some(spare)));
                assert_says(&server, lines);
                over.store(true, Relaxed);
                other.join().expect("no write has failed")
            });
            assert_drains(server);
            watch.assert_blocking();
            let lines = lines.expect("somebody reads");
            eventually("it has ended", || lines.ended());
            let mut others = 0;
            for line in lines.all() {
                if line.starts_with("rot13d: ") {
                    assert_eq!(line.matches("rot13d").count(), 1, "{line:?}");
                    assert_eq!(line.matches("other").count(), 0, "{line:?}");
                } else {
                    assert_eq!(line, format!("other: {others}"));
                    others += 1;
                }
            }
            assert_eq!(others, said, "every line of the other one");
        }
    }
}

/// Sets it on drop, also when a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A description that does not block already, as the owner wants it, stays so.
#[test]
fn pipe_that_its_owner_made_non_blocking_stays_so() {
    for place in EVERYWHERE {
        let (reader, writer) = pipe();
        set_flags(&writer, libc::O_NONBLOCK);
        let own = writer.try_clone().unwrap();
        let server = place.server("a pipe that does not block", writer).start();
        assert_serves(&server);
        let lines = Lines::of(Some(reader));
        assert_says(&server, &lines);
        assert_ne!(flags(&own) & libc::O_NONBLOCK, 0);
        assert_drains(server);
    }
}

fn path_of(scratch: &Scratch, name: &str) -> CString {
    CString::new(scratch.path(name).as_os_str().as_bytes()).expect("a path")
}

fn named_pipe(scratch: &Scratch, name: &str) -> PathBuf {
    let path = path_of(scratch, name);
    // SAFETY: a text with its end.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    scratch.path(name)
}

fn both_ends(path: &Path) -> File {
    let file = File::options().read(true).write(true).open(path);
    file.expect("a FIFO")
}

#[test]
fn named_pipe_stops_nothing() {
    let scratch = Scratch::new();
    for place in EVERYWHERE {
        for (reader_stays, name_stays) in [(true, true), (true, false), (false, true)] {
            let name = named_pipe(&scratch, "fifo");
            let both = both_ends(&name);
            let reader = File::open(&name).unwrap();
            let writer = File::options().write(true).open(&name).unwrap();
            drop(both);
            if !name_stays {
                fs::remove_file(&name).unwrap();
            }
            if reader_stays {
                assert_heard(place, "a named pipe", writer, reader);
            } else {
                drop(reader);
                assert_harmless(place, "a broken named pipe", writer);
            }
            let _ = fs::remove_file(&name);
        }
    }
}

/// As after `2<>fifo`: rot13d(8), STANDARD INPUT, OUTPUT AND ERROR.
#[test]
fn named_pipe_opened_for_reading_as_well_takes_what_somebody_else_may_read() {
    let scratch = Scratch::new();
    let (late, early) = (named_pipe(&scratch, "late"), named_pipe(&scratch, "early"));
    let server = Server::new().args(["-v"]).stderr(both_ends(&late)).start();
    assert_serves(&server);
    assert_says(&server, &Lines::of(Some(both_ends(&late))));
    assert_drains(server);
    // Whoever has it open for reading need not read yet.
    let reader = both_ends(&early);
    assert_heard(Place::Usual, "a FIFO", both_ends(&early), reader);
}

/// A tiny buffer, so that it fills up.
fn small<T: AsRawFd>(socket: T) -> T {
    let bytes: libc::c_int = 4096;
    crate::support::client::set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes);
    socket
}

#[test]
fn stream_socket_that_nobody_reads_stops_nothing() {
    for place in BOTH {
        let (reader, writer) = UnixStream::pair().unwrap();
        assert_heard(place, "a stream", small(writer), reader);

        let (reader, writer) = tcp_pair();
        assert_heard(place, "a connection", small(writer), reader);
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn stream_socket_whose_other_end_is_gone_stops_nothing() {
    for place in BOTH {
        let (_, writer) = UnixStream::pair().unwrap();
        assert_harmless(place, "a broken stream", writer);
        let (reader, writer) = tcp_pair();
        reader.reset();
        assert_harmless(place, "a broken connection", writer);
    }
}

/// Each message is one datagram, without which syslog would be nothing.
#[test]
fn datagram_socket_that_nobody_reads_stops_nothing() {
    for place in BOTH {
        let (reader, writer) = UnixDatagram::pair().unwrap();
        assert_heard(place, "datagrams", writer, Datagrams(reader));
    }
}

struct Datagrams(UnixDatagram);

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.recv(buffer)?;
        let text = &buffer[..count];
        let newlines = text.iter().filter(|&&byte| byte == b'\n').count();
        assert!(newlines == usize::from(count > 0), "one line in each");
        Ok(count)
    }
}

#[test]
fn datagram_socket_whose_other_end_is_gone_stops_nothing() {
    for place in BOTH {
        let (_, writer) = UnixDatagram::pair().unwrap();
        assert_harmless(place, "broken datagrams", writer);
        // Each message is answered by an error for the next one.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(nobody.local_addr().unwrap()).unwrap();
        drop(nobody);
        assert_harmless(place, "datagrams to nobody", socket);
        let alone = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_harmless(place, "datagrams without an address", alone);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_harmless(place, "a listener", listener);
    }
}

/// Does `body` on a thread of its own with a small file system at `folder`.
fn on_small_disk(body: impl FnOnce(&Scratch) + Send) {
    let scratch = &Scratch::new();
    let ended = thread::scope(|scope| {
        let thread = scope.spawn(move || {
            private_mounts().expect("mounts of its own");
            mount_tmpfs(&path_of(scratch, ""), c"size=64k").expect("a tmpfs");
            body(scratch);
        });
        thread.join()
    });
    ended.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
}

#[test]
fn full_disk_stops_nothing_and_is_used_again() {
    for place in EVERYWHERE {
        on_small_disk(|scratch| {
            let open = |name| {
                let mut options = File::options();
                options.append(true).create(true);
                options.open(scratch.path(name)).expect("a file")
            };
            let log = open("log");
            let mut rest = open("rest");
            while rest.write(&[0; 4096]).is_ok() {}
            let stderr = OwnedFd::from(log.try_clone().unwrap());
            let watch = Watch::start(&stderr);
            let server = place.server("a file on a full disk", stderr).start();
            assert_serves(&server);
            // Its last message has come to nothing as well.
            server.wait_accepting();
            assert_eq!(log.metadata().unwrap().len(), 0, "there is no room");
            rest.set_len(0).unwrap();
            let client = served(&server);
            let start = format!("rot13d: start {} ", server.only_child());
            let path = scratch.path("log");
            eventually("what there is room for is written", || {
                fs::read_to_string(&path).unwrap().starts_with(&start)
            });
            drop(client);
            server.wait_childless();
            assert_drains(server);
            let lines = fs::read_to_string(&path).unwrap();
            assert!(lines.ends_with(" exit 0 0/256\n"), "{lines}");
            watch.assert_blocking();
        });
    }
}

/// `ulimit -f`, in blocks of 512 bytes.
#[test]
fn file_at_its_size_limit_stops_nothing() {
    let scratch = Scratch::new();
    for place in EVERYWHERE {
        for (limit, from) in [(0, 0), (512, 0), (1024, 0), (512, 600)] {
            let path = scratch.path("log");
            let mut log = File::create(&path).unwrap();
            log.write_all(&vec![b'\n'; from]).unwrap();
            let stderr = OwnedFd::from(log);
            let watch = Watch::start(&stderr);
            let server = place.server(&format!("a file of {limit} bytes"), stderr);
            let server = server.limit(libc::RLIMIT_FSIZE, limit as u64).start();
            assert_serves(&server);
            assert_drains(server);
            watch.assert_blocking();
            // As much as there was room for.
            let log = fs::read_to_string(&path).unwrap();
            assert_eq!(log.len(), limit.max(from));
            let first = log[from..].lines().next().unwrap_or_default();
            assert!(limit <= from || first.starts_with("rot13d: listening on "));
        }
    }
}

/// A stalled ssh session, a container's terminal, a dead tmux.
#[test]
fn terminal_that_nobody_reads_stops_nothing() {
    for place in EVERYWHERE {
        let terminal = Terminal::open();
        if place == Usual {
            assert_heard(place, "a terminal", terminal.program(), terminal.screen());
        } else {
            // It cannot be opened anew: whether it can be written to without
            // waiting is not to be found out.
            assert_harmless(place, "a terminal", terminal.program());
        }
    }
}

/// Somebody has typed Ctrl-S.
#[test]
fn terminal_that_is_held_stops_nothing_and_goes_on() {
    for place in EVERYWHERE {
        let terminal = Terminal::open();
        terminal.type_in(b"\x13");
        let stderr = terminal.program();
        let watch = Watch::start(&stderr);
        let server = place.server("a terminal that is held", stderr).start();
        assert_serves(&server);
        terminal.type_in(b"\x11");
        if place == Usual {
            let lines = Lines::of(Some(terminal.screen()));
            assert_says(&server, &lines);
        }
        assert_drains(server);
        watch.assert_blocking();
    }
}

/// `stty tostop`, then `rot13d -v &`.
#[test]
fn background_job_is_not_stopped_by_its_terminal() {
    for place in EVERYWHERE {
        let terminal = Terminal::open();
        terminal.set(libc::TOSTOP);
        let lines = Lines::of(Some(terminal.screen()));
        let job = ["sh", "-mc", "\"$@\" & wait $!", "sh"];
        let server = place.server("a terminal with tostop", terminal.program());
        let server = server.before_exec(control_by_stderr).under(job).start();
        // SAFETY: neither touches memory.
        let (group, session) = unsafe { (libc::getpgid(server.pid()), libc::getsid(server.pid())) };
        assert_ne!(group, session, "it is in the background");
        assert_serves(&server);
        // Wherever it is: the terminal of one's own session can be opened as /dev/tty.
        assert_says(&server, &lines);
        assert_drains(server);
    }
}

#[test]
fn terminal_that_is_gone_stops_nothing() {
    for place in EVERYWHERE {
        // It was gone before; it goes; it is the one of the session (nohup).
        let terminal = Terminal::open();
        let stderr = terminal.program();
        terminal.hang_up();
        assert_harmless(place, "a dead terminal", stderr);

        for of_the_session in [false, true] {
            let terminal = Terminal::open();
            let server = place.server("a terminal that dies", terminal.program());
            let mut server = server.ignored_signal(libc::SIGHUP);
            if of_the_session {
                server = server.before_exec(control_by_stderr);
            }
            let server = server.start();
            all_served_to_their_end(crowd(&server, 5));
            terminal.hang_up();
            assert_serves(&server);
            assert_drains(server);
        }
    }
}

#[test]
fn device_that_is_full_or_takes_everything_stops_nothing() {
    for place in BOTH {
        for path in ["/dev/full", "/dev/null", "/dev/zero"] {
            let device = File::options().read(true).write(true).open(path).unwrap();
            assert_harmless(place, path, device);
        }
    }
}

/// The kernel's log never says that it is writable, and takes every line. (From
/// the second dozen on it drops them itself, if it is set up so.)
#[test]
fn kernel_log_has_the_messages() {
    let scratch = Scratch::new();
    let path = path_of(&scratch, "kmsg");
    let device = libc::makedev(1, 11);
    // SAFETY: a text with its end.
    let result = unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, device) };
    assert_eq!(result, 0, "mknod: {}", io::Error::last_os_error());
    for place in BOTH {
        let mut reader = File::open(scratch.path("kmsg")).expect("the kernel's log");
        reader.seek(SeekFrom::End(0)).expect("its end");
        let mut writer = File::options();
        let writer = writer.write(true).open(scratch.path("kmsg")).unwrap();
        let stderr = OwnedFd::from(writer);
        let watch = Watch::start(&stderr);
        let server = place.server("the kernel's log", stderr).start();
        let wanted = format!(";rot13d: listening on 127.0.0.1:{}\n", server.port());
        set_flags(&reader, libc::O_NONBLOCK);
        found("the message is in the kernel's log", || {
            let mut record = [0; 8192];
            let count = reader.read(&mut record).ok()?;
            let record = String::from_utf8_lossy(&record[..count]);
            record.contains(&wanted).then_some(())
        });
        assert_serves(&server);
        assert_drains(server);
        watch.assert_blocking();
    }
}

/// What may only be read is not written, by whatever way there may be.
#[test]
fn descriptor_for_reading_only_stops_nothing_and_stays_unwritten() {
    let scratch = Scratch::new();
    for place in BOTH {
        let (mut reader, writer) = pipe();
        let stderr = reader.try_clone().unwrap();
        assert_harmless(place, "the reader's end of a pipe", stderr);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "");

        let path = scratch.path("file");
        fs::write(&path, "as it was\n").unwrap();
        assert_harmless(place, "a file to be read", File::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "as it was\n");

        let terminal = Terminal::open();
        let screen = Lines::of(Some(terminal.screen()));
        let stderr = terminal.opened(libc::O_RDONLY);
        assert_harmless(place, "a terminal to be read", stderr);
        terminal.hang_up();
        assert_eq!(screen.text(), "");

        let device = File::open("/dev/null").unwrap();
        assert_harmless(place, "a device to be read", device);
        let folder = File::open(scratch.path("")).unwrap();
        assert_harmless(place, "a folder", folder);
        let terminal = Terminal::open();
        let name = terminal.opened(libc::O_PATH);
        assert_harmless(place, "no more than a name", name);
    }
}

#[test]
fn none_at_all_stops_nothing() {
    for place in BOTH {
        let server = place.server("none", File::open("/dev/null").unwrap().into());
        let server = server.closed(2).start();
        assert_serves(&server);
        assert_drains(server);
    }
}

/// Nothing of the above is seen in a system call of the server: it never asks
/// that what others have open shall not block.
#[test]
fn no_call_makes_a_description_of_others_non_blocking() {
    for kind in ["pipe", "terminal", "socket"] {
        let terminal = Terminal::open();
        let (_pipe, writer) = pipe();
        let (_socket, other) = UnixStream::pair().unwrap();
        let stderr = match kind {
            "pipe" => writer,
            "terminal" => terminal.program(),
            _ => other.into(),
        };
        let server = Server::new().args(["-v"]).stderr(stderr);
        let options = ["-e", "trace=fcntl,ioctl"];
        let mut server = server.strace(options).start();
        all_served_to_their_end(crowd(&server, 3));
        server.signal(libc::SIGTERM);
        server.wait_exit();
        for line in server.trace() {
            let sets = line.contains("F_SETFL") && line.contains("O_NONBLOCK");
            assert!(!sets && !line.contains("FIONBIO"), "{kind}: {line}");
        }
    }
}

/// The message of a start that fails is there as well, and the exit code does
/// not depend on it.
#[test]
fn last_words_are_heard_wherever_they_can_be() {
    in_own_network(|| {
        let _taken = TcpListener::bind("127.0.0.1:43211").unwrap();
        let fatal = "rot13d: fatal: bind 127.0.0.1:43211: address in use\n";
        let run = |stderr: OwnedFd| {
            let server = Server::new().exactly(["127.0.0.1", "43211"]);
            let mut server = server.ready(Ready::Unknown).stderr(stderr).start();
            assert_eq!(server.wait_exit().code(), Some(111));
        };
        let (reader, writer) = pipe();
        run(writer);
        assert_eq!(io::read_to_string(reader).unwrap(), fatal);

        let (reader, writer) = UnixStream::pair().unwrap();
        run(writer.into());
        assert_eq!(io::read_to_string(reader).unwrap(), fatal);

        let terminal = Terminal::open();
        let screen = Lines::of(Some(terminal.screen()));
        run(terminal.program());
        eventually("it is on the screen", || {
            screen.text().replace('\r', "") == fatal
        });

        let (reader, writer) = full_pipe();
        run(writer);
        let dots = ".".repeat(CAPACITY);
        assert_eq!(io::read_to_string(reader).unwrap(), dots);

        let held = Terminal::open();
        held.type_in(b"\x13");
        run(held.program());
        run(File::open("/dev/null").unwrap().into());
    });
}

/// The usage is as every message: written if it can be at once. All signals are
/// blocked by then, so whoever waits for room cannot be ended.
#[test]
fn wrong_usage_ends_the_program_whatever_standard_error_is() {
    for place in EVERYWHERE {
        let run = |what: &str, stderr: OwnedFd| {
            let server = place.server(what, stderr).exactly(["-x"]);
            let mut server = server.ready(Ready::Unknown).start();
            assert_eq!(server.wait_exit().code(), Some(100), "{what}, {place:?}");
        };
        let (_reader, writer) = full_pipe();
        run("a full pipe", writer);

        let (_reader, mut writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[b'.'; 64]).is_ok() {}
        while writer.write(b".").is_ok() {}
        writer.set_nonblocking(false).unwrap();
        run("a full socket", writer.into());

        let held = Terminal::open();
        held.type_in(b"\x13");
        run("a terminal that is held", held.program());
    }
}

/// With a slow reader there is room now and then, for some bytes: what is
/// written then is a whole line, and what is not is dropped as a whole.
#[test]
fn no_line_is_written_in_part() {
    for place in EVERYWHERE {
        let (reader, writer) = pipe();
        let server = place.server("a slow reader", writer).start();
        let lines = Lines::of(Some(Slow(reader)));
        thread::scope(|scope| {
            for source in 1..=4 {
                let server = &server;
                scope.spawn(move || {
                    for _ in 0..200 {
                        let mut client = server.connect_from(&format!("127.0.6.{source}"));
                        client.exchange(LINE);
                    }
                });
            }
        });
        assert_drains(server);
        let text = lines.to_end();
        assert!(text.ends_with('\n') && text.len() > 1000, "{text}");
        for line in text.lines() {
            assert_eq!(line.matches("rot13d: ").count(), 1, "{line:?}");
            assert!(line.starts_with("rot13d: "), "{line:?}");
        }
    }
}

struct Slow(File);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(1));
        self.0.read(&mut buffer[..100])
    }
}
